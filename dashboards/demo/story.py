"""The steps of the demo, in the order in which people would take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sandbox.api import Sandbox
from sandbox.lifecycle import Standing
from sandbox.records import Dataset, Finding, ModelVersion, Release, Submission, Wave

DATASET = Path("configs/datasets/wy_crime")
SUBMISSIONS = {
    "amara": Path("configs/submissions/suspect-identified"),
    "bilal": Path("configs/submissions/suspect-residual"),
    "chiara": Path("configs/submissions/formal-outcome"),
}
DECISIONS = (
    ("suspect-identified/1", Standing.CHAMPION, "Best on the first held-out wave, and simple to explain."),
    ("suspect-residual/1", Standing.CHALLENGER, "Runs beside the champion until the evidence is in."),
    (
        "formal-outcome/1",
        Standing.CHAMPION,
        "Within its limits for quality and calibration; it leans on one input, to be watched.",
    ),
)


@dataclass(frozen=True)
class Story:
    """The demo's verbs, each done by the person whose job it is."""

    box: Sandbox

    def bring_in_data(self) -> Dataset:
        return self.box.acting_as("dana").add_dataset(DATASET)

    def submit(self) -> list[Submission]:
        return [self.box.acting_as(who).submit(folder) for who, folder in SUBMISSIONS.items()]

    def train(self, submission: Submission, progress: Callable[[int, int], None]) -> ModelVersion:
        return self.box.acting_as("operator").train(submission.id, progress)

    def evaluate(self) -> list[Finding]:
        """Does what is due; returns the findings it led to."""
        from evaluators.harness import evaluate_due

        known = {finding.id for finding in self.box.store.all(Finding)}
        evaluate_due(self.box.store, self.box.settings, "operator")
        return [finding for finding in self.box.store.all(Finding) if finding.id not in known]

    def decide(self) -> list[ModelVersion]:
        omar = self.box.acting_as("omar")
        return [omar.decide(key, standing, reason) for key, standing, reason in DECISIONS]

    def later_waves(self, dataset: Dataset) -> list[tuple[str, Callable[[], Wave]]]:
        """The waves that had not arrived when training began: name, and the act of bringing it in."""
        from sandbox.catalogue.intake import card_of

        dana = self.box.acting_as("dana")
        return [
            (
                source.name,
                partial(dana.add_wave, dataset.name, DATASET / source.file, source.name, source.day),
            )
            for source in card_of(dataset).waves
        ]

    def publish(self) -> list[Release]:
        from evaluators.publication import publish_all

        omar = self.box.acting_as("omar")
        return publish_all(omar.store, omar.settings, omar.person)

    def build_pages(self) -> list[Path]:
        from dashboards.public.cli import latest_releases
        from dashboards.public.site import build

        return build(latest_releases(self.box.store), self.box.folder / "public")
