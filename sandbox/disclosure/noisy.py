"""What may the outside know of a wave's tally? A noisy one, drawn once, charged first, replayed for ever.

Of what a model said, for each model version, with scores merged to 32 bins (of a group to 16: fewer records, fewer
noisy cells) and residuals to 32; a group column of the card adds one:

    binary       scores, scores:<group>
    multiclass   confusion, confusion:<group>
    regression   residual, residual:<group>

Of the records themselves, once for all models that read the same columns, with numbers merged to 16 bins:

    every kind   input:<column>
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sandbox.errors import Refused
from sandbox.lifecycle import ChargeState, WaveState
from sandbox.privacy import ledger
from sandbox.privacy.mechanisms import DiscreteGaussian, discrete_gaussian, l2_sensitivity
from sandbox.records import Charge, Event, Json, ModelVersion, Wave
from sandbox.settings import Settings
from sandbox.tally import Axis, Table, Tally

if TYPE_CHECKING:
    from sandbox.catalogue.card import Card
    from sandbox.storage import Store

SCORE_BINS, GROUP_SCORE_BINS, RESIDUAL_BINS, INPUT_BINS = 32, 16, 32, 16
BASES = {"binary": "scores", "multiclass": "confusion", "regression": "residual"}
VERSIONS = {"binary": 2, "multiclass": 1, "regression": 2}
"""Of a release's cells, by the kind of task: grows when they change, so that a wave is drawn and charged anew."""
_MERGED = {"score": SCORE_BINS, "residual": RESIDUAL_BINS}
_MERGED_OF_GROUPS = {**_MERGED, "score": GROUP_SCORE_BINS}
_INPUT = "input:"
_LISTED = frozenset({"category", "boolean"})


@dataclass(frozen=True)
class NoisyTally:
    """Counts with noise of standard deviation `sigma` in every cell, (epsilon, delta)-DP together."""

    tally: Tally
    sigma: float
    epsilon: float
    delta: float
    charge: str

    def to_bytes(self) -> bytes:
        head: Json = {k: v for k, v in asdict(self).items() if k != "tally"}
        return json.dumps(head, sort_keys=True).encode() + b"\n" + self.tally.to_bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> NoisyTally:
        head, _, body = content.partition(b"\n")
        return cls(Tally.from_bytes(body), **json.loads(head))


def key(model_version: str, wave: str, kind: str) -> str:
    """Under which the store keeps the noisy tally of this model version, of this kind of task, and wave."""
    return f"release|{model_version}|{wave}|v{VERSIONS[kind]}"


def inputs_key(wave: str, columns: Iterable[str]) -> str:
    """Under which the store keeps the noisy counts of these columns of the wave, whatever the model."""
    names = hashlib.sha256("\0".join(sorted(columns)).encode()).hexdigest()
    return f"inputs|{wave}|{names[:16]}|v1"


def noisy_tally(
    store: Store, settings: Settings, card: Card, model_version: ModelVersion, wave: Wave, tally: Tally,
    person_name: str,
) -> NoisyTally:  # fmt: skip
    """The one noisy tally of this model version and wave: drawn now and charged to the wave, or replayed.

    The charge is durable before noise is drawn, and the noisy tally before its charge is settled and it
    is returned. A crash before the tally is stored leaves the charge in full, never to be drawn from
    again, and the next call pays anew; after, the next call replays the tally and settles. Raises
    BudgetExhausted, or Refused for a wave or tally that is not this model's, or where what is kept has other cells
    than this release would have.
    """
    if wave.state is not WaveState.ACCEPTED or wave.dataset != model_version.dataset:
        raise Refused("Only accepted waves of a model's own dataset are released.")
    kind = card.task(model_version.task).kind
    name, epsilon = key(model_version.id, wave.id, kind), settings.publication.epsilon
    tables = released_tables(card, model_version.task, tally)
    return _once(store, settings, card, wave, name, tables, epsilon, person_name)


def noisy_inputs(
    store: Store, settings: Settings, card: Card, wave: Wave, tally: Tally, person_name: str
) -> NoisyTally:
    """The one noisy tally of a wave's inputs, shared by every model that reads the same columns.

    Drawn, charged and replayed as `noisy_tally` is, at `publication.input_epsilon`. Raises BudgetExhausted, or
    Refused for a wave that was not accepted and for other cells.
    """
    if wave.state is not WaveState.ACCEPTED:
        raise Refused("Only accepted waves are released.")
    tables = released_inputs(card, tally)
    name, epsilon = inputs_key(wave.id, columns_of(tables)), settings.publication.input_epsilon
    return _once(store, settings, card, wave, name, tables, epsilon, person_name)


def released_tables(card: Card, task: str, tally: Tally) -> dict[str, Table]:
    """The tables of a tally that a release is made from, merged; raises Refused when one is missing."""
    base = BASES[card.task(task).kind]
    names = [base, *(f"{base}:{group}" for group in card.groups)]
    if missing := [name for name in names if name not in tally.tables]:
        raise Refused(f"This tally lacks what a release is made from: {', '.join(missing)}.")
    return {name: _merged(tally[name], _MERGED if name == base else _MERGED_OF_GROUPS) for name in names}


def released_inputs(card: Card, tally: Tally) -> dict[str, Table]:
    """The tables of inputs, merged; raises Refused where there is none."""
    found = {name: table for name, table in tally.tables.items() if name.startswith(_INPUT)}
    if not found:
        raise Refused("This tally counts no input.")
    for name, column in zip(found, columns_of(found), strict=True):
        if card.columns[column].kind not in _LISTED:
            found[name] = _merged_axis(
                found[name], found[name].axes[0], INPUT_BINS, spared=1
            )  # the last is `missing`
    return found


def columns_of(tables: Iterable[str]) -> list[str]:
    """The columns that these tables of inputs count."""
    return [name.removeprefix(_INPUT) for name in tables]


def _merged(table: Table, bins: Mapping[str, int]) -> Table:
    for axis in table.axes:
        if axis.name in bins:
            table = _merged_axis(table, axis, bins[axis.name])
    return table


def _merged_axis(table: Table, axis: Axis, bins: int, spared: int = 0) -> Table:
    """Neighbours on this axis added together until so many are left, beside the last `spared`."""
    size = len(axis) - spared
    if size <= bins:
        return table
    if size % bins:
        raise Refused(f"The axis {axis.name!r} does not merge into {bins} bins.")
    width = size // bins
    groups = [range(start, start + width) for start in range(0, size, width)]
    groups += [range(at, at + 1) for at in range(size, len(axis))]
    return table.merged(axis.name, groups, (*axis.labels[:size:width], *axis.labels[size:]))


def _once(
    store: Store, settings: Settings, card: Card, wave: Wave, name: str, tables: dict[str, Table], epsilon: float,
    person_name: str,
) -> NoisyTally:  # fmt: skip
    if (stored := _stored(store, name)) is not None:
        if _cells(stored.tally.tables) != _cells(tables):
            raise Refused(
                f"The noisy counts kept as {name!r} have other cells than a release has now, and are not read."
                " Whoever changed the cells has to raise their version, so that they are drawn and charged anew."
            )
        _settle(store, stored.charge, person_name)
        return stored
    delta = settings.publication.delta
    sensitivity = l2_sensitivity(card.max_rows_per_unit, len(tables))
    mechanism = discrete_gaussian(epsilon, delta, sensitivity)
    mechanism.prepare()  # whatever can fail here fails before anything is charged
    pool = ledger.held_out_pool(card, wave.name)
    charge = ledger.reserve(store, pool, mechanism.event, card.unit, name, person_name)
    return _draw(store, name, mechanism, tables, epsilon, delta, charge.id, person_name)


def _cells(tables: Mapping[str, Table]) -> dict[str, tuple[Axis, ...]]:
    return {name: table.axes for name, table in tables.items()}


def _draw(
    store: Store, name: str, mechanism: DiscreteGaussian, tables: dict[str, Table], epsilon: float, delta: float,
    charge: str, person_name: str,
) -> NoisyTally:  # fmt: skip
    ledger.touch(store, charge, person_name)
    drawn = NoisyTally(Tally(mechanism.release(tables)), mechanism.sigma, epsilon, delta, charge).to_bytes()
    with store.transaction() as tx:
        earlier = tx.tally(name)  # another process may have been quicker: its answer is the answer
        if earlier is None:
            tx.put_tally(name, drawn)
            tx.log(
                Event(person_name, "release.noise", name, "", {"charge": charge, "sigma": mechanism.sigma})
            )
    _settle(store, charge, person_name)
    return NoisyTally.from_bytes(drawn if earlier is None else earlier)


def _settle(store: Store, charge: str, person_name: str) -> None:
    """Ends the charge of a tally that is stored: it costs what was reserved. Again changes nothing."""
    for found in store.all(Charge, id=charge):
        if found.state is ChargeState.TOUCHED:
            ledger.settle(store, charge, found.event, person_name)


def _stored(store: Store, name: str) -> NoisyTally | None:
    with store.reading() as view:
        content = view.tally(name)
    return None if content is None else NoisyTally.from_bytes(content)
