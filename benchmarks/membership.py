"""How well do attackers tell who was in a training, with privacy and without, and what does it cost to find out?

    python benchmarks/membership.py [--seeds N] [--json FILE] [--check]

Each case is a table of real people, cut at random in those trained on and others, once a seed; a model is trained with
each epsilon (infinite: neither noise nor clipping), and attacked as the evaluator does, with sixteen shadows. The AUC
is 0.5 for guessing; TPR is the share of members found at a false alarm for 1 % of others. Mean over seeds.
`seconds` are of the CPU, for all attacks together. In the last line members and others are exchanged at random.

Goals: RMIA under 10 CPU seconds on the demo's table; models without privacy found out (RMIA above 0.6, and better
than a loss threshold); no private model surely beyond what its epsilon allows; intervals that hold the AUC of 0.5 of
a random exchange in at least 95 %.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluators.attacks import ATTACKS
from evaluators.membership import measured, ranked
from sandbox.catalogue import files
from sandbox.catalogue.card import load_card
from sandbox.catalogue.encoding import Encoding
from sandbox.privacy import accounting, telling
from sandbox.records import Measurement
from sandbox.submissions import admission
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.manifest import Wishes
from sandbox.training import loop, membership, plan
from sandbox.training.fitting import tensors
from sandbox.training.membership import Said, Side
from sandbox.training.sampler import Randomness, UnitRows

GOAL_SECONDS, GOAL_AUC, GOAL_HELD = 10.0, 0.6, 0.95
EPSILONS = (None, 8.0, 1.0)
DELTA = 1e-6


@dataclass(frozen=True)
class Case:
    """A dataset, how many of its units are trained on (None: 70 %), and what learns from them, as in a manifest."""

    dataset: str
    task: str
    recipe: str
    units: int | None
    wishes: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.dataset}, {self.recipe}, {self.units or 'all'} units"


DEMO = Case("wy_crime", "suspect_identified", "gam", None, {})
CASES = (
    DEMO,
    Case("adult", "over_50k", "mlp", 1_500, {"epochs": 60, "batch_size": 200, "learning_rate": 0.02}),
    Case("digits", "digit", "mlp", 500, {"epochs": 40, "batch_size": 100, "learning_rate": 0.02}),
    Case("rand_hie", "visits", "mlp", 1_000, {"epochs": 40, "batch_size": 200, "learning_rate": 0.02}),
)


@dataclass(frozen=True)
class Row:
    case: Case
    epsilon: float | None
    figures: dict[str, tuple[Measurement, Measurement | None]]
    """Of each attack the AUC, and the share found where enough were there to say."""
    seconds: float


def attacked(case: Case, epsilon: float | None, seed: int, folder: Path) -> tuple[Row, Said]:
    """Trains and attacks one model."""
    import torch

    from sandbox.submissions.graph.lift import Model

    torch.set_num_threads(1)
    source = Path("configs/datasets") / case.dataset
    card = load_card(source)
    encoding, table = Encoding(card, case.task), pq.read_table(source / card.training.file)
    sides = _cut(table.select(list(card.columns)), encoding, case.units, seed, folder)
    records = pq.read_table(sides[0].path)
    units = UnitRows(encoding.units(records), card.max_rows_per_unit)
    chosen = plan.choose(
        encoding.inputs, case.recipe, Wishes.model_validate({} if epsilon else case.wishes), units=len(units),
        max_rows_per_unit=card.max_rows_per_unit, epsilon=epsilon or 1.0, budget_delta=DELTA,
    )  # fmt: skip
    exact = replace(chosen, noise_multiplier=1e-9, clip=1e3)
    chosen = chosen.calibrated(accounting.noise_for) if epsilon else exact
    start = Model(RecordGraph.from_bytes(admission.from_recipe(case.recipe, {}, encoding.inputs)[0]))
    target = torch.from_numpy(encoding.target(records))
    weights = loop.fit(
        start, tensors(encoding.features(records)), target, units, chosen, Randomness.of_the_system()
    )
    began = time.process_time()
    model = Model(start.graph_with(weights))
    said = membership.said_of(start, model, chosen, encoding, *sides, np.random.default_rng(seed))
    tally = ranked(said)
    seconds = time.process_time() - began
    figures = {}
    for name in ATTACKS:
        auc, found, _ = measured(tally[name].counts, "", 10)
        figures[name] = auc, found if found.value is not None else None
    return Row(case, epsilon, figures, seconds), said


def _cut(
    table: pa.Table, encoding: Encoding, units: int | None, seed: int, folder: Path
) -> tuple[Side, Side]:
    """So many units at random, and of the others as many at most."""
    codes = encoding.units(table)
    count = int(codes.max()) + 1
    inside = units or int(0.7 * count)
    place = np.random.default_rng(seed).permutation(count)[codes]
    made = []
    for name, rows in (("training", place < inside), ("others", (place >= inside) & (place < 2 * inside))):
        file = folder / f"{name}.parquet"
        made.append(Side(str(file), files.write_parquet(table.filter(pa.array(rows)), file), name))
    return made[0], made[1]


def held(said: Said, times: int = 1_000) -> dict[str, float]:
    """How often the AUC's interval holds 0.5 when members and others are exchanged at random."""
    rng, found = np.random.default_rng(0), dict.fromkeys(ATTACKS, 0)
    for _ in range(times):
        tally = ranked(replace(said, member=rng.permutation(said.member)))
        for name in ATTACKS:
            auc, *_ = measured(tally[name].counts, "", 10)
            assert auc.low is not None
            assert auc.high is not None
            found[name] += auc.low <= 0.5 <= auc.high
    return {name: count / times for name, count in found.items()}


def mean(rows: list[Row], attack: str, at: int) -> float | None:
    values = [m.value for row in rows if (m := row.figures[attack][at]) and m.value is not None]
    return float(np.mean(values)) if values else None


def missed(groups: list[list[Row]], coverage: dict[str, float]) -> list[str]:
    wrong = [f"{name} held 0.5 in {share:.1%}" for name, share in coverage.items() if share < GOAL_HELD]
    for rows in groups:
        case, epsilon = rows[0].case, rows[0].epsilon
        rmia, plain = mean(rows, "rmia", 0) or 0.0, mean(rows, "loss", 0) or 0.0
        if case == DEMO and max(row.seconds for row in rows) > GOAL_SECONDS:
            wrong.append(f"{case}: {max(row.seconds for row in rows):.1f} s")
        if epsilon is None and case != DEMO and not rmia > max(GOAL_AUC, plain):
            wrong.append(f"{case} without privacy: RMIA reached {rmia:.3f}, a loss threshold {plain:.3f}")
        if epsilon is not None:
            limits = telling.best_auc(epsilon, DELTA), telling.most_found(epsilon, DELTA, 0.01)
            for row in rows:
                wrong += [
                    f"{case} at epsilon {epsilon:g}: {name} surely beyond what it allows"
                    for name, figures in row.figures.items()
                    if any(
                        m and m.low is not None and m.low > most
                        for m, most in zip(figures, limits, strict=True)
                    )
                ]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    groups, exchanged = [], None
    heads = [f"{'AUC' if at == 0 else 'TPR'} {name}" for at in (0, 1) for name in ATTACKS]
    print(
        f"{'case':<32}{'epsilon':>8}{'allowed':>9}" + "".join(f"{h:>10}" for h in heads) + f"{'seconds':>9}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            for epsilon in EPSILONS:
                done = [attacked(case, epsilon, seed, Path(folder)) for seed in range(asked.seeds)]
                rows = [row for row, _ in done]
                exchanged = exchanged or done[0][1]
                groups.append(rows)
                allowed = 1.0 if epsilon is None else telling.best_auc(epsilon, DELTA)
                values = [mean(rows, name, at) for at in (0, 1) for name in ATTACKS]
                cells = "".join(f"{'too few' if v is None else f'{v:.3f}':>10}" for v in values)
                seconds = np.mean([row.seconds for row in rows])
                print(f"{case!s:<32}{epsilon or 'inf':>8}{allowed:>9.3f}{cells}{seconds:>9.1f}", flush=True)
    assert exchanged is not None
    coverage = held(exchanged)
    print(
        "exchanged at random, 0.5 held by: " + ", ".join(f"{n} {share:.1%}" for n, share in coverage.items())
    )
    if asked.json:
        asked.json.write_text(json.dumps(_as_json(groups, coverage), indent=1))
    if asked.check and (wrong := missed(groups, coverage)):
        raise SystemExit("\n".join(wrong))


def _as_json(groups: list[list[Row]], coverage: dict[str, float]) -> dict[str, Any]:
    rows = [
        {
            "case": str(rows[0].case), "epsilon": rows[0].epsilon, "seconds": [row.seconds for row in rows],
            **{f"auc_{name}": mean(rows, name, 0) for name in ATTACKS},
            **{f"tpr_{name}": mean(rows, name, 1) for name in ATTACKS},
        }
        for rows in groups
    ]  # fmt: skip
    return {"rows": rows, "held": coverage}


if __name__ == "__main__":
    main()
