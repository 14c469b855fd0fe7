"""Where does a training go on after a crash? A file inside the vault: its noisy weights, and how far it was.

Steps that began after it was written are taken again, with fresh noise: the streams are keyed anew. What came
of them the first time is gone with the process and in nothing that leaves. But whether they are taken again may
have depended on it (weights that bring a crash about), and whoever picks one of two answers by looking at the
first has seen both: so steps that may have run twice are charged twice (see `service`).
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.records import Dataset, Submission, TrainingRun
from sandbox.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from sandbox.training.boosting import Boosting
    from sandbox.training.loop import Training

_PARTS = 20
"""A training is kept so often; so at most a twentieth of its steps is ever charged again."""


@dataclass(frozen=True)
class Checkpoint:
    """The one file of a run. `mark` names the run, its plan, data, graph and code: a file with another is not read."""

    place: Path
    mark: str
    every: int
    steps: int

    @classmethod
    def of(
        cls, settings: Settings, run: TrainingRun, submission: Submission, dataset: Dataset, code: str
    ) -> Checkpoint:
        parts = [run.id, run.plan, submission.graph, dataset.card_digest, dataset.training_digest, code]
        mark = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        folder = settings.storage.folder.absolute() / "checkpoints"
        steps = run.plan.get("steps", 0)
        return cls(folder / f"{run.id}.safetensors", mark, max(1, steps // _PARTS), steps)

    def note(self, training: Training | Boosting) -> None:
        """Told after every step; writes the file when it is time, whole or not at all, durably.

        Not after the last: whatever goes on has a step to take, which the release gate can look at.
        """
        if training.done % self.every == 0 and training.done < self.steps:
            self._write(training.state())

    def read(self) -> dict[str, Tensor] | None:
        """The state that was kept; None where there is none of this very run."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.place, "pt") as file:
                if (file.metadata() or {}).get("mark") != self.mark:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (OSError, SafetensorError):
            return None

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            self.place.unlink()

    def _write(self, state: dict[str, Tensor]) -> None:
        from safetensors.torch import save

        self.place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.place.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(save(state, {"mark": self.mark}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.place)

    def at_risk(self, done: int) -> int:
        """How many steps may have begun after the state that was read: until the next checkpoint, or the end."""
        return min(self.every, self.steps - done)
