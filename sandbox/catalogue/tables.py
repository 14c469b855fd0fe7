"""How are datasets, cards and waves shown in a terminal? Tables in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from sandbox.catalogue.card import Card, Column, Guarantee
from sandbox.catalogue.waves import lines_of
from sandbox.lifecycle import WaveState
from sandbox.privacy import wording
from sandbox.privacy.accounting import ADJACENCY
from sandbox.records import Dataset, Wave


def datasets_table(datasets: Iterable[Dataset], waves: Iterable[Wave]) -> Table:
    table = _table("Dataset", "Title")
    for heading in ("Trained on", "Units", "Waves"):
        table.add_column(heading, justify="right")
    table.add_column("Last wave", no_wrap=True)
    listed = list(waves)
    for dataset in datasets:
        own = [w for w in listed if w.dataset == dataset.name and w.state is WaveState.ACCEPTED]
        counts = (f"{dataset.training_rows:,}", f"{dataset.training_units:,}", str(len(own)))
        names = (dataset.name, escape(dataset.title))
        table.add_row(*names, *counts, str(max((w.day for w in own), default="-")))
    return table


def waves_table(waves: Iterable[Wave]) -> Table:
    table = _table("Wave", "Day")
    table.add_column("Records", justify="right")
    table.add_column("Units", justify="right")
    for heading in ("State", "Faults", "Brought by"):
        table.add_column(heading)
    for wave in waves:
        faults = len(wave.report["faults"])
        counts = (f"{wave.rows:,}", f"{wave.units:,}", str(wave.state), str(faults) if faults else "none")
        table.add_row(wave.name, str(wave.day), *counts, escape(wave.added_by))
    return table


def report_tables(wave: Wave) -> Iterator[RenderableType]:
    """A wave, then its faults and notes."""
    yield plain(
        [
            ("Wave", wave.id),
            ("Day", str(wave.day)),
            ("State", str(wave.state)),
            ("Delivered", f"{wave.report['rows']:,} records of {wave.report['units']:,} units"),
            ("Kept for evaluation", f"{wave.rows if wave.state is WaveState.ACCEPTED else 0:,} records"),
            ("Arrived", f"{wave.arrived_at:%Y-%m-%d %H:%M} UTC, brought by {escape(wave.added_by)}"),
        ]
    )
    for heading, entries in (("Faults", wave.report["faults"]), ("Notes", wave.report["notes"])):
        table = Table(title=heading, title_justify="left", show_header=False, box=None)
        for line in lines_of(entries) or ["none"]:
            table.add_row(escape(line))
        yield table


def card_tables(card: Card) -> Iterator[RenderableType]:
    """A card: the whole, its columns, its tasks."""
    sides = (("training", card.budget.training), ("held-out data", card.budget.held_out))
    yield plain(
        [
            ("Dataset", f"{card.name}: {escape(card.title)}" + (" (synthetic)" if card.synthetic else "")),
            ("Unit of privacy", f"{card.unit}, {escape(card.unit_means)}; {_recurrence(card)}"),
            ("Population", card.population),
            ("Custodian", escape(f"{card.custodian.name}, {card.custodian.contact}")),
            ("Licence", escape(f"{card.licence}. {card.attribution}")),
            ("Purposes", escape(", ".join(card.purposes))),
            *((f"{wording.PROMISED}, {side}", _promised(card, wish)) for side, wish in sides),
        ]
    )
    columns = _table("Column", "Kind", "May be", "Used as")
    for name, column in card.columns.items():
        may_be = _may_be(column) + (" or missing" if column.missing else "")
        columns.add_row(name, column.kind, may_be, _use(card, name))
    yield columns
    for name, task in card.tasks.items():
        features = ", ".join(card.features(name))
        yield plain(
            [
                (f"Task {name}", escape(task.question)),
                ("", f"{task.kind}; target {task.target}; from {features}"),
            ]
        )


def plain(rows: Iterable[tuple[str, str]]) -> Table:
    """Names beside what they stand for."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return table


def _table(*headings: str) -> Table:
    from rich import box

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, no_wrap=position == 0)
    return table


def _promised(card: Card, wish: Guarantee) -> str:
    said = wording.stated(wish.epsilon, wish.delta, ADJACENCY, card.unit)
    return said + (f"; a plan of {sum(s.count for s in wish.slots)} slots" if wish.slots else "")


def _recurrence(card: Card) -> str:
    times = "once" if card.max_rows_per_unit == 1 else f"at most {card.max_rows_per_unit} times"
    return f"{times} in a file, {'and again in later waves' if card.recurs else 'and in one file only'}"


def _may_be(column: Column) -> str:
    if column.kind in ("number", "date"):
        low, high = (f"{b:g}" if isinstance(b, float) else str(b) for b in (column.minimum, column.maximum))
        return f"{low} to {high}"
    if column.kind == "category":
        return f"{len(column.categories)} categories" + (" or a new one" if column.open else "")
    if column.kind == "image":
        return " × ".join(str(side) for side in column.shape)
    if column.kind == "sequence":
        return f"{column.length} numbers"
    return f"up to {column.length} bytes" if column.kind == "text" else ""


def _use(card: Card, name: str) -> str:
    uses = [
        ("unit", name == card.unit),
        ("target", name in {task.target for task in card.tasks.values()}),
        ("forbidden", name in card.forbidden),
        ("weight", name == card.weight),
        ("feature", any(name in card.features(task) for task in card.tasks)),
        ("group", name in card.groups),
        ("site", name == card.site),
    ]
    return ", ".join(use for use, applies in uses if applies) or "not used"
