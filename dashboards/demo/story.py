"""The steps of the demo, in the order in which people would take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.api import Sandbox
from sandbox.lifecycle import Standing, Verdict
from sandbox.records import Dataset, Finding, ModelVersion, Release, Submission, Wave
from sandbox.roles import Person

if TYPE_CHECKING:
    from sandbox.catalogue.card import WaveSource

DATASET = Path("configs/datasets/wy_crime")
SUBMISSIONS = {
    "amara": Path("configs/submissions/suspect-identified"),
    "bilal": Path("configs/submissions/suspect-residual"),
    "chiara": Path("configs/submissions/formal-outcome"),
}
DECISIONS = (
    ("suspect-identified/1", Standing.CHAMPION, "Best on the first held-out wave, and simple to explain."),
    ("suspect-residual/1", Standing.CHALLENGER, "Runs beside the champion until the evidence is in."),
    ("formal-outcome/1", Standing.CHAMPION, "Within every limit on the first held-out wave."),
)


@dataclass(frozen=True)
class Story:
    """The demo's verbs, each done by the person whose job it is."""

    box: Sandbox

    def _person(self, name: str) -> Person:
        return self.box.settings.person(name)

    def bring_in_data(self) -> Dataset:
        from sandbox.catalogue.intake import add_dataset

        return add_dataset(self.box.store, self.box.settings, DATASET, self._person("dana"))

    def submit(self) -> list[Submission]:
        from sandbox.submissions.intake import submit

        store, settings = self.box.store, self.box.settings
        return [submit(store, settings, folder, self._person(who)) for who, folder in SUBMISSIONS.items()]

    def train(self, submission: Submission, progress: Callable[[int, int], None]) -> ModelVersion:
        from sandbox.training.service import train

        operator = self._person("operator")
        return train(self.box.store, self.box.settings, submission.id, operator, progress)

    def evaluate(self) -> list[Finding]:
        """Does what is due; returns the findings it led to."""
        from evaluators.harness import evaluate_due

        known = {finding.id for finding in self.box.store.all(Finding)}
        evaluate_due(self.box.store, self.box.settings, "operator")
        return [finding for finding in self.box.store.all(Finding) if finding.id not in known]

    def decide(self) -> list[ModelVersion]:
        from sandbox.registry.standing import decide

        store, settings, omar = self.box.store, self.box.settings, self._person("omar")
        return [decide(store, settings, key, to, omar, reason) for key, to, reason in DECISIONS]

    def later_waves(self, dataset: Dataset) -> list[tuple[str, Callable[[], Wave]]]:
        """The waves that had not arrived when training began: name, and the act of bringing it in."""
        from sandbox.catalogue.intake import add_wave, card_of

        store, settings, dana = self.box.store, self.box.settings, self._person("dana")

        def bring(source: WaveSource) -> Wave:
            file = DATASET / source.file
            return add_wave(store, settings, dataset.name, file, source.name, source.day, dana)

        return [(source.name, partial(bring, source)) for source in card_of(dataset).waves]

    def publish(self) -> list[Release]:
        from evaluators.publication import publish_all

        return publish_all(self.box.store, self.box.settings, self._person("omar"))

    def build_pages(self) -> list[Path]:
        from dashboards.public.site import build

        releases = {r.model: r for r in sorted(self.box.store.all(Release), key=lambda r: r.released_at)}
        return build(list(releases.values()), self.box.folder / "public")


def worst(findings: list[Finding]) -> dict[str, dict[str, Verdict]]:
    """For each model version and rule the worst verdict among its subjects."""
    order = [Verdict.WITHIN, Verdict.UNKNOWN, Verdict.BEYOND]
    table: dict[str, dict[str, Verdict]] = {}
    for finding in findings:
        row = table.setdefault(finding.model_version, {})
        row[finding.rule] = max(row.get(finding.rule, Verdict.WITHIN), finding.verdict, key=order.index)
    return table
