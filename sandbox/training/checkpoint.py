"""Where does a training go on after a crash? A file inside the vault: how far it and the gate beside it were.

Of the training it holds noisy weights, and of the gate (sandbox.training.gate) what it has seen of the steps that made
them, so that in the end every step is judged whose noise is in the model. The file is as secret as the records: the
gate's part holds noise that could be taken off the weights. No state of a random stream is in it.

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
from sandbox.training.resumable import State, Stateful, part_of, together

if TYPE_CHECKING:
    from torch import Tensor


_PARTS = 20
"""A training is kept so often; so at most a twentieth of its steps is ever charged again."""
_FORMAT = "2"
"""Format 1 had nothing of the gate. A file of another format is not read: its training begins anew."""


@dataclass(frozen=True)
class Kept:
    """The state of a training after `done` steps, and that of the gate beside it."""

    done: int
    training: State
    gate: State


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

    def note(self, done: int, training: Stateful, gate: Stateful) -> None:
        """Told after every step; writes the file when it is time, whole or not at all, durably.

        Not after the last: whatever goes on has a step to take.
        """
        if done % self.every == 0 and done < self.steps:
            self._write(done, together({"training": training, "gate": gate}))

    def read(self) -> Kept | None:
        """What was kept; None where there is nothing of this very run in today's format."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.place, "pt") as file:
                said = file.metadata() or {}
                if (said.get("format"), said.get("mark")) != (_FORMAT, self.mark):
                    return None
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
                return Kept(int(said["done"]), part_of(state, "training"), part_of(state, "gate"))
        except (OSError, SafetensorError):
            return None

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            self.place.unlink()

    def _write(self, done: int, state: dict[str, Tensor]) -> None:
        from safetensors.torch import save

        self.place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.place.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(save(state, {"format": _FORMAT, "mark": self.mark, "done": str(done)}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.place)

    def at_risk(self, done: int) -> int:
        """How many steps may have begun after the state that was read: until the next checkpoint, or the end."""
        return min(self.every, self.steps - done)
