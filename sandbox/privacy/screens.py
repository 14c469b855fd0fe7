"""How do budgets look on a terminal? A promise and a reading never share a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sandbox.lifecycle import ChargeState
from sandbox.privacy import wording
from sandbox.privacy.accounting import ADJACENCY
from sandbox.privacy.budgets import MOST
from sandbox.privacy.gaussian_dp import FLOOR
from sandbox.privacy.history import mechanism_of
from sandbox.privacy.reports import MOST_DIFFERENT, rule_words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sandbox.privacy.forecast import Forecast
    from sandbox.privacy.history import Entry
    from sandbox.privacy.ledger import BudgetStatus
    from sandbox.privacy.quote import Fit, Quote
    from sandbox.privacy.reports import Population, Report

NO_FIGURE = f"not worked out (“best of K”, discrete noise, or more than {MOST_DIFFERENT} different charges)"
RULE = {"filter": "filter", "slots": "plan of slots"}


def overview(
    found: Sequence[BudgetStatus], units: Mapping[str, str], states: Mapping[str, Mapping[str, int]]
) -> Table:
    """Every pool on a line; its charges counted as reserved/touched/settled/released."""
    heads = (
        "pool",
        "rule",
        "unit",
        "adjacency",
        wording.PROMISED,
        "δ",
        "used",
        "charges\nr/t/s/r",
        "one more\nrequest",
    )
    table = Table(*heads, box=None, padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"  # the name of a pool is never cut
    for column in table.columns[1:]:
        column.no_wrap = True
    for column in table.columns[4:]:
        column.justify = "right"
    for s in found:
        counts = states.get(s.pool, {})
        table.add_row(
            s.pool, "slots" if s.slots else "filter", units.get(_population(s.pool), "?"), ADJACENCY,
            f"{s.epsilon:g}", f"{s.delta:g}", f"{s.share:.1%}",
            "/".join(str(counts.get(str(state), 0)) for state in ChargeState), f"ε ≤ {_down(s.largest)}",
        )  # fmt: skip
    return table


def report_tables(report: Report) -> Iterator[RenderableType]:
    """One pool: the promise, then what can be read off its charges."""
    s, r = report.status, report.readings
    yield _title(f"The promise of {s.pool}")
    promise = _facts()
    promise.add_row(wording.PROMISED, wording.stated(s.epsilon, s.delta, report.adjacency, report.unit))
    promise.add_row("kept by a", rule_words(s))
    for slot in s.slots:
        promise.add_row(f"  slot {escape(slot.name)}", f"{slot.taken} of {slot.count} taken")
    promise.add_row("used", wording.part(s.share, s.epsilon))
    promise.add_row(
        "left", f"{100 * (1 - s.share):.1f} %; one further request: at most ε = {_down(s.largest)}"
    )
    counts = ", ".join(f"{count} {state}" for state, count in report.states.items()) or "none"
    promise.add_row("charges", f"{counts} (released ones no longer count)")
    yield promise
    yield _note(f"{wording.PROMISE_NOTE} {wording.USED_NOTE}")
    yield _note("")
    yield _title("Readings of what was charged: no promises")
    table = _facts()
    table.add_row(
        wording.ODOMETER,
        wording.stated(r.odometer, r.delta, report.adjacency, report.unit),
    )
    rest = f", {wording.FIXED}"
    for name, epsilon, adjacency in (
        ("by PLD", r.pld, report.adjacency),
        ("by PLD", r.pld_replace_one, "replace-one"),
        ("by RDP, at its best order", r.rdp, report.adjacency),
    ):
        said = NO_FIGURE
        if epsilon is not None:
            said = wording.stated(epsilon, r.delta, adjacency, report.unit)
        table.add_row(f"{name}{rest}", said)
    near = wording.neighbours(report.adjacency, report.unit)
    said = NO_FIGURE if r.mu is None else f"μ ≤ {r.mu:.4g} for every δ ≥ {FLOOR:g}, {near}"
    table.add_row(f"μ of Gaussian DP, from the PLD{rest}", said)
    said = NO_FIGURE if r.mu_central_limit is None else f"μ ≈ {r.mu_central_limit:.4g}, {near}"
    table.add_row(f"μ by the central limit, no bound{rest}", said)
    yield table
    yield _note(f"{wording.ODOMETER_NOTE} {wording.FIXED_NOTE}")


def population_lines(found: Iterable[Population]) -> Iterator[RenderableType]:
    """Which pools compose in parallel, and which share people."""
    for p in found:
        datasets = f" (datasets {', '.join(p.datasets)} share it)" if len(p.datasets) > 1 else ""
        said = wording.stated(p.epsilon, p.delta, ADJACENCY, p.unit)
        unit = wording.word(p.unit)
        yield Text(f"Population {p.name}{datasets}: across all its pools one {unit} is promised {said}.")
        if len(p.disjoint) > 1:
            pools = ", ".join(s.pool for s in p.disjoint)
            yield Text(f"  Nobody is in two of {pools}: they compose in parallel.", style="dim")
        for s in p.shared:
            yield Text(f"  {s.pool} holds people of single waves too: those promises add.", style="dim")
    yield Text(
        "Promises of different populations add for who is in both; the ledger cannot know.", style="dim"
    )


def history_table(entries: Sequence[Entry], delta: float, unit: str) -> Iterator[RenderableType]:
    """Every charge; the odometer has a column of its own and the promise none."""
    heads = ("no.", "charge", "reserved (UTC)", "for what, by whom", "steps", "state")
    table = Table(*heads, f"{wording.ODOMETER}\nε", box=None, padding=(0, 1, 0, 0))
    for at in (0, 4, 6):
        table.columns[at].justify = "right"
    for at in (0, 1, 2, 4, 6):
        table.columns[at].no_wrap = True
    table.columns[3].overflow = "fold"  # what was charged for is never cut
    for e in entries:
        table.add_row(
            str(e.number), e.charge.id[:12], f"{e.charge.reserved_at:%Y-%m-%d %H:%M}", _what(e), _steps(e),
            _state(e), f"{wording.rounded_up(e.odometer):.4g}",
        )  # fmt: skip
    yield table
    near = wording.neighbours(ADJACENCY, unit)
    yield _note(f"Odometer at δ = {delta:g}, {near}. {wording.ODOMETER_NOTE}")


def quote_tables(quote: Quote) -> Iterator[RenderableType]:
    """What was asked, and what each rule says."""
    yield _title(f"Quote for {quote.pool}: nothing was spent")
    table = _facts()
    m = mechanism_of(quote.event)
    one, many = ("release", "releases") if m.name.endswith("Gaussian release") else ("training", "trainings")
    samples = (
        "everybody"
        if quote.sampling_rate == 1
        else f"each {wording.word(quote.unit)} with probability {quote.sampling_rate:.4g}"
    )
    table.add_row("asked for", f"{m.name}, {quote.steps:,} step{'' if quote.steps == 1 else 's'}, {samples}")
    if quote.epsilon_asked is not None:
        table.add_row("epsilon asked", f"{quote.epsilon_asked:g}")
    table.add_row(
        "noise multiplier", f"{quote.noise_multiplier:.4g}" + (" needed" if quote.epsilon_asked else "")
    )
    table.add_row(wording.alone(one), wording.stated(quote.epsilon, quote.delta, quote.adjacency, quote.unit))
    table.add_row(
        f"{wording.alone(one)}, other adjacency",
        wording.stated(quote.epsilon_replace_one, quote.delta, "replace-one", quote.unit),
    )
    yield table
    yield _title(f"By the pool's own rule, a {RULE[quote.own.rule]}: the promise")
    own = _facts()
    promised = wording.stated(quote.budget_epsilon, quote.budget_delta, quote.adjacency, quote.unit)
    own.add_row(wording.PROMISED, promised)
    if quote.own.share and quote.own.largest:
        before, after = quote.own.share
        own.add_row("used", f"{100 * before:.1f} % now, {100 * after:.1f} % after it")
        largest = quote.own.largest
        own.add_row(
            "one further request", f"at most ε = {_down(largest[0])} now, {_down(largest[1])} after it"
        )
    if quote.own.slot:
        own.add_row("takes the slot", escape(quote.own.slot))
    own.add_row(f"such {many} still fit", _count(quote.own))
    if quote.refusal:
        own.add_row("would be refused", escape(quote.refusal))
    for slot, noise in quote.to_fill:
        own.add_row(f"to take slot {escape(slot)}", f"noise multiplier {noise:.4g} or more")
    yield own
    yield _title(f"What if it had been a {RULE[quote.other.rule]}? Binds nobody")
    other = _facts()
    other.add_row(f"such {many} would still fit", _count(quote.other))
    yield other
    if quote.other.rule == "slots":
        yield _note(
            f"What if: a plan made in advance of exactly these charges and as many such {many} as it holds."
        )
    else:
        yield _note("What if: the same charges under a filter with this promise.")


def forecast_table(found: Forecast) -> Iterator[RenderableType]:
    """The pace, and where it leads."""
    yield _title(f"Forecast for {found.pool}")
    table = _facts()
    table.add_row("used", f"{100 * found.share:.1f} % of the promise")
    late = f"{found.charges_of_late} charge{'' if found.charges_of_late == 1 else 's'}"
    days = "day" if found.days < 1.5 else f"{found.days:.0f} days"
    table.add_row(f"in the last {days}", f"{late}, {100 * found.share_of_late:.1f} % of the promise")
    table.add_row("used up, at this pace", _when(found.ends_at))
    if found.event is not None and found.remaining is not None:
        m = mechanism_of(found.event)
        words = (
            f"{m.name}, noise {_or_dash(m.noise_multiplier, '.4g')}, rate {_or_dash(m.sampling_rate, '.4g')}"
        )
        table.add_row("a training like", f"{words}, {_or_dash(m.steps, ',d')} steps")
        table.add_row(
            "such trainings still fit", f"{found.remaining:,}" if found.remaining < MOST else "without end"
        )
        table.add_row("the last of them, as often as of late", _when(found.lasts_until))
    for slot in found.slots:
        table.add_row(
            f"slot {escape(slot.name)}", f"{slot.free:,} free; the last taken {_when(slot.ends_at)}"
        )
    yield table
    yield _note(
        "A forecast goes by what was charged of late and promises nothing; the rule stops in any case."
    )


def _title(words: str) -> Text:
    return Text(words, style="bold")


def _facts() -> Table:
    return Table(show_header=False, box=None, padding=(0, 2, 0, 2))


def _note(words: str) -> Text:
    return Text(words, style="dim")


def _what(e: Entry) -> str:
    m = e.mechanism
    numbers = (("noise", m.noise_multiplier), ("rate", m.sampling_rate))
    known = [f"{name} {number:.4g}" for name, number in numbers if number is not None]
    slot = [f"slot {e.charge.slot}"] if e.charge.slot else []
    return escape(f"{e.charge.purpose}, by {e.charge.reserved_by}\n") + escape(
        ", ".join([m.name, *known, *slot])
    )


def _steps(e: Entry) -> str:
    if e.mechanism.steps is None:
        return "–"
    whole = e.reserved_steps
    return f"{e.mechanism.steps:,}" + (f"\nof {whole:,}" if whole not in (None, e.mechanism.steps) else "")


def _state(e: Entry) -> str:
    why = f", by {e.ended_by}: {e.reason}" if e.reason else ""
    return escape(f"{e.charge.state}{why}")


def _count(found: Fit) -> str:
    if found.fits is None:
        return NO_FIGURE
    return f"{found.fits:,}" if found.fits < MOST else f"{MOST:,} or more"


def _when(at: datetime | None) -> str:
    return "not foreseen" if at is None else f"{at:%Y-%m-%d}"


def _or_dash(number: float | None, form: str) -> str:
    return "–" if number is None else format(number, form)


def _population(pool: str) -> str:
    return pool.partition(":")[2].partition("/")[0]


def _down(epsilon: float) -> str:
    return f"{int(epsilon * 100) / 100:.2f}"
