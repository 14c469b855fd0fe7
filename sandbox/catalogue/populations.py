"""Which datasets are about the same people, and is what they claim of these people true?

A population's pools hold side by side only if nobody is in two of them: not on the training side of one
dataset and in a wave of another, nor, where units do not recur, in two waves of different names. (Waves of
one name share a pool, so people may be in both.) Where units recur, all waves share one pool and the keyed
split keeps training apart from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from sandbox.catalogue import files, vectors
from sandbox.catalogue.card import Card
from sandbox.catalogue.stored import card_of
from sandbox.errors import Problem
from sandbox.lifecycle import WaveState
from sandbox.records import Dataset, Wave

if TYPE_CHECKING:
    from sandbox.storage import Store, Transaction

_WHY = {
    "recurs": "whether people come again is a fact about them",
    "unit": "units are compared by their names in this column",
    "unit_means": "a budget protects one kind of unit",
    "training.held_out_share": "else somebody is trained on in one and held out in the other",
}


@dataclass(frozen=True)
class Sisters:
    """The other datasets of a population and the accepted waves of each, as they are at one moment."""

    datasets: tuple[Dataset, ...]
    waves: tuple[Wave, ...]

    def trained_on(self) -> Iterator[pa.ChunkedArray]:
        """The units of every training side."""
        return (files.units_in(Path(d.training_path), card_of(d).unit) for d in self.datasets)

    def held_out(self, but: str = "") -> Iterator[pa.ChunkedArray]:
        """The units of every wave that is not called `but`."""
        units = {d.name: card_of(d).unit for d in self.datasets}
        return (files.units_in(Path(w.path), units[w.dataset]) for w in self.waves if w.name != but)

    def apart_from_wave(self, name: str) -> Iterator[pa.ChunkedArray]:
        """The units that a wave of this name may not have where units do not recur."""
        yield from self.trained_on()
        yield from self.held_out(but=name)


def sisters(view: Store | Transaction, card: Card) -> Sisters:
    """The other datasets of this card's population, by name."""
    found = [d for d in view.all(Dataset, population=card.population) if d.name != card.name]
    waves = (w for d in found for w in view.all(Wave, dataset=d.name, state=WaveState.ACCEPTED))
    return Sisters(tuple(found), tuple(waves))


def disagreements(card: Card, known: Sisters) -> Iterator[Problem]:
    """Where the card says something else of its population than a dataset that is here; each field once."""
    said: set[str] = set()
    for sister in known.datasets:
        other = card_of(sister)
        pairs = {
            "recurs": (card.recurs, other.recurs),
            "unit": (card.unit, other.unit),
            "unit_means": (card.unit_means, other.unit_means),
            "training.held_out_share": (card.training.held_out_share, other.training.held_out_share),
        }
        for field, (mine, theirs) in pairs.items():
            if mine != theirs and field not in said:
                said.add(field)
                yield Problem(
                    field,
                    f"{_json(mine)} here, but {_json(theirs)} in the dataset {other.name!r} of the same population "
                    f"{card.population!r}: {_WHY[field]}",
                    "Say the same as that dataset, or name another population.",
                )


def overlaps(
    card: Card, training: pa.ChunkedArray, first_wave: pa.ChunkedArray, known: Sisters
) -> Iterator[Problem]:
    """Where a new dataset of people who do not recur has somebody whom a sister has in another pool."""
    if card.recurs or not known.datasets:
        return
    todo = 'Take these units out, or name another population; if people do come again, say "recurs": true in all.'
    if count := among(training, known.held_out()):
        what = f"{_units(count)} of the training side {_is(count)} held out in a wave of the same population"
        yield Problem("training.file", what, todo)
    if count := among(first_wave, known.trained_on()):
        what = (
            f"{_units(count)} of the held-out side {_is(count)} on the training side of the same population"
        )
        yield Problem("training.file", what, todo)
    if count := among(first_wave, known.held_out(but=card.training.wave)):
        what = f"{_units(count)} of the held-out side {_is(count)} in a wave of the same population with another name"
        yield Problem("training.wave", what, f"Give waves of the same people the same name. {todo}")


def among(units: pa.ChunkedArray, earlier: Iterable[pa.ChunkedArray]) -> int:
    """How many different units are among the earlier ones."""
    seen = [vectors.words(column) for column in earlier]
    if not seen or not len(units):
        return 0
    mine = pc.unique(vectors.words(units))
    return int(pc.sum(pc.is_in(mine, value_set=pa.concat_arrays(seen))).as_py() or 0)


def budget_notes(store: Store, card: Card, wave: str, since: int) -> list[str]:
    """What happened to budgets that this dataset shares, after the change of this number: kept, or lowered for all."""
    from sandbox.privacy.ledger import held_out_pool, training_pool

    pools = (training_pool(card), held_out_pool(card, wave))
    with store.reading() as view:
        lines = view.audit_lines(max(0, store.change_number() - since))
    said = {
        "privacy.keep": "{reason}",
        "privacy.lower": "{pool} has a smaller budget now, for every dataset of these people. {reason}",
    }
    return [
        said[line.action].format(reason=line.reason, pool=line.subject)
        for line in lines
        if line.number > since and line.subject in pools and line.action in said
    ]


def _json(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


def _units(count: int) -> str:
    return f"{count:,} unit{'' if count == 1 else 's'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
