"""Would this submission be admitted, and what would training it take? Asked of dummy records; nothing is kept.

The functions that decide here are those that decide at admission and train for real, so what is refused
here is refused there. Where this machine has no complete wall, a developer's `model.py` is not run: what
reading alone can tell is checked, and the report says what was not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.catalogue.card import Card
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import Invalid, Problem, Refused, Unfit
from sandbox.privacy import ledger
from sandbox.records import Json
from sandbox.settings import Settings
from sandbox.submissions import admission, files
from sandbox.submissions.check_quote import Quote, quote_of
from sandbox.submissions.check_syntax import problems_of_code
from sandbox.submissions.intake import problems_with_card
from sandbox.submissions.manifest import Manifest, parse_manifest
from sandbox.threads import one_thread
from sandbox.training import plan

if TYPE_CHECKING:
    from sandbox.submissions.admission import Made

STEPS = 3
MOST_DUMMY_UNITS = 2_048
"""A step on more units than this is timed on so many, and taken to grow in proportion."""


@dataclass(frozen=True)
class Finding:
    """One part of the check. Where `checked` is false it was not looked at, and `words` say why."""

    part: str
    checked: bool
    words: str


@dataclass(frozen=True)
class Report:
    """Everything `ndl check` says; `missing`, where there is no wall, is what to mend, layer by layer."""

    manifest: Manifest
    digest: str
    found: tuple[Finding, ...]
    quote: Quote
    graph: str = ""
    summary: Json = field(default_factory=dict)
    missing: str = ""

    def must_be_whole(self) -> None:
        """Raises Unfit when something could not be checked on this machine."""
        if self.missing:
            raise Unfit(self.missing)

    def to_json(self) -> Json:
        asked = self.manifest
        return {
            "model": asked.name,
            "dataset": asked.dataset,
            "task": asked.task,
            "sha256": self.digest,
            "found": [asdict(finding) for finding in self.found],
            "graph_sha256": self.graph,
            "summary": self.summary,
            "quote": self.quote.to_json(),
            "missing": self.missing,
        }


def read(folder: Path) -> tuple[dict[str, bytes], Manifest]:
    """A submission's files and its manifest; raises NotFound or Invalid as `ndl submit` does."""
    contents = files.read(folder)
    return contents, parse_manifest(contents, str(folder))


def check(
    settings: Settings, contents: Mapping[str, bytes], manifest: Manifest, card: Card, units: int
) -> Report:
    """Checks a submission that `read` gave, for a training side of so many units.

    Raises Invalid or Refused where admission or training would. Needs no store and writes to none.
    """
    _must_suit(manifest, card, contents)
    encoding = Encoding(card, manifest.task)
    found = [
        Finding("manifest", True, f"sound; {card.name} has the task and permits the purpose"),
        Finding("files", True, f"{len(contents)}, {sum(map(len, contents.values())) / 1000:,.1f} kB"),
    ]
    chosen = plan.choose(
        encoding.inputs,
        manifest.recipe,
        manifest.training,
        units=units,
        max_rows_per_unit=card.max_rows_per_unit,
        epsilon=manifest.privacy.epsilon,
        budget_delta=card.budget.training.delta,
        settings=manifest.model,
    ).calibrated(ledger.budget_asked(ledger.training_pool(card), card.budget.training).noise_for)
    quote = quote_of(chosen, card)
    digest = files.digest(files.digests(contents))
    if admission.needs_wall(manifest):
        try:
            admission.wall(settings.isolation)
        except Unfit as error:
            return Report(manifest, digest, (*found, *_not_run()), quote, missing=str(error))
    made = admission.make(settings.isolation, manifest, contents, encoding.inputs)
    seconds, dummies = _three_steps(made, encoding, chosen)
    summary = made.checked.summary
    found += [
        Finding("record graph", True, f"made {_how(made)}; every operator, shape and size is allowed"),
        Finding(
            "training", True, f"{STEPS} steps with noise on {dummies:,} dummy records, all weights finite"
        ),
    ]
    quote = replace(quote, parameters=summary.trainable, seconds_per_step=seconds)
    return Report(manifest, digest, tuple(found), quote, made.checked.digest, summary.to_json())


def _must_suit(manifest: Manifest, card: Card, contents: Mapping[str, bytes]) -> None:
    problems = problems_with_card(manifest, card)
    if card.name != manifest.dataset:
        what = f"{manifest.dataset!r}, and the card is of {card.name!r}"
        problems.insert(0, Problem("dataset", what, "Give the card of the dataset that the manifest names."))
    if problems := problems + problems_of_code(contents):
        raise Invalid("This submission", problems)


def _not_run() -> list[Finding]:
    no_wall = "no wall is complete on this machine, and without one a model.py is never run"
    return [
        Finding("code", True, "read, not run: it is Python and names build"),
        Finding("record graph", False, no_wall),
        Finding("training", False, "there is no graph to train; time and parameters stay unknown"),
    ]


def _how(made: Made) -> str:
    if "recipe" in made.made_by:
        return f"here from the recipe {made.made_by['recipe']}"
    return f"behind {made.made_by['backend']} ({', '.join(made.made_by['layers'])})"


def _three_steps(made: Made, encoding: Encoding, chosen: plan.Plan) -> tuple[float, int]:
    """Trains on dummy records; gives the seconds a step of the real size takes, and how many records there were."""
    import numpy as np
    import torch

    from sandbox.catalogue.dummy import dummy_table
    from sandbox.submissions.graph.document import RecordGraph
    from sandbox.submissions.graph.lift import Model
    from sandbox.training import loop
    from sandbox.training.sampler import Randomness, UnitRows

    batch = max(1, round(chosen.expected_batch))
    units = min(batch, MOST_DUMMY_UNITS)
    table = dummy_table(encoding.card, units * chosen.max_rows_per_unit)
    features = {name: torch.from_numpy(array) for name, array in encoding.features(table).items()}
    target = torch.from_numpy(encoding.target(table))
    rows = UnitRows(encoding.units(table), chosen.max_rows_per_unit)
    short = replace(chosen, units=len(rows), sampling_rate=1.0, steps=STEPS)
    ticks = [time.perf_counter()]
    with one_thread():
        trained = loop.fit(
            Model(RecordGraph.from_bytes(made.data)), features, target, rows, short,
            Randomness.of_the_system(), lambda *_: ticks.append(time.perf_counter()),
        )  # fmt: skip
    if not all(bool(torch.isfinite(values).all()) for values in trained.values()):
        raise Refused("After three steps a weight is not finite. Use a smaller learning rate or clip.")
    return statistics.median(np.diff(ticks)) * batch / len(rows), table.num_rows
