"""How well do the demo's three models do on later waves, trained as its vault trains them?

    python benchmarks/waves.py [--splits N] [--draws N] [--json FILE]

The units of the first wave are cut at random, 30 % held out, once a split; each model of configs/submissions on
`wy_crime` is trained so many times by its own manifest, and asked about the units held out and about every later
wave. AUC and calibration bias (mean of chances less share of yes): the mean over splits and its standard error, which
counts splits only.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np
import pyarrow.parquet as pq

from sandbox.catalogue.card import Card, load_card
from sandbox.catalogue.encoding import Encoding
from sandbox.catalogue.inputs import Inputs
from sandbox.privacy import accounting
from sandbox.submissions import admission
from sandbox.submissions.manifest import Manifest, load_manifest
from sandbox.training import loop, plan
from sandbox.training.fitting import Arrays, tensors
from sandbox.training.sampler import Randomness, UnitRows

DATASET, SUBMISSIONS = Path("configs/datasets/wy_crime"), Path("configs/submissions")
Side = tuple[Arrays, Any]
"""Encoded records and their answers."""


def measured(folder: Path, manifest: Manifest, card: Card, splits: int, draws: int) -> dict[str, Any]:
    """[waves] of the mean and the standard error of each measure."""
    encoding = Encoding(card, manifest.task)
    waves = [_side(encoding, card, file) for file in sorted(DATASET.glob("*.parquet"))]
    first, *later = waves
    found, before = np.zeros((splits, draws, 2, len(waves))), time.process_time()
    for split in range(splits):
        held = np.random.default_rng(split).random(len(first[1])) < card.training.held_out_share
        learn, asked = _some(first, ~held), [_some(first, held), *later]
        for draw in range(draws):
            model = trained(folder, manifest, card, encoding.inputs, learn)
            found[split, draw] = np.transpose([_measures(model, side) for side in asked])
    of_splits = found.mean(1)
    errors = of_splits.std(0, ddof=1) / splits**0.5
    return {
        "auc": of_splits.mean(0)[0].tolist(), "auc_error": errors[0].tolist(),
        "bias": of_splits.mean(0)[1].tolist(), "bias_error": errors[1].tolist(),
        "cpu_s": (time.process_time() - before) / (splits * draws),
    }  # fmt: skip


def trained(folder: Path, manifest: Manifest, card: Card, inputs: Inputs, learn: Side) -> Any:
    """By the vault's own plan and loop; a unit of this card has one row."""
    import torch

    from sandbox.submissions.export.exporter import export
    from sandbox.submissions.graph.document import RecordGraph
    from sandbox.submissions.graph.lift import Model

    torch.set_num_threads(1)
    features, target = learn
    if manifest.recipe:
        start = Model(
            RecordGraph.from_bytes(admission.from_recipe(manifest.recipe, manifest.model, inputs)[0])
        )
    else:
        start = Model(export(runpy.run_path(str(folder / "model.py"))["build"](inputs), inputs))
    chosen = plan.choose(
        inputs, manifest.recipe, manifest.training, units=len(target), max_rows_per_unit=1,
        epsilon=manifest.privacy.epsilon, budget_delta=card.budget.training.delta, settings=manifest.model,
    ).calibrated(accounting.noise_for)  # fmt: skip
    units = UnitRows(np.arange(len(target)), 1)
    weights = loop.fit(
        start, tensors(features), torch.from_numpy(target), units, chosen, Randomness.of_the_system()
    )
    return Model(start.graph_with(weights))


def _measures(model: Any, side: Side) -> tuple[float, float]:
    from sklearn.metrics import roc_auc_score

    features, target = side
    chances = model.answers(tensors(features))[:, 0].double().sigmoid().detach().numpy()
    return float(roc_auc_score(target, chances)), float(chances.mean() - target.mean())


def _side(encoding: Encoding, card: Card, file: Path) -> Side:
    table = pq.read_table(file, columns=list(card.columns))
    return encoding.features(table), encoding.target(table)


def _some(side: Side, rows: Any) -> Side:
    return {name: array[rows] for name, array in side[0].items()}, side[1][rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    card, lines = load_card(DATASET), {}
    for folder in sorted(SUBMISSIONS.iterdir()):
        manifest = load_manifest(folder)
        if manifest.dataset != DATASET.name:
            continue
        found = lines[manifest.name] = measured(folder, manifest, card, options.splits, options.draws)
        for measure in ("auc", "bias"):
            pairs = zip(found[measure], found[f"{measure}_error"], strict=True)
            shown = "  ".join(f"{mean:+.4f} ±{error:.4f}" for mean, error in pairs)
            print(f"{manifest.name:22}{measure:6}{shown}  {found['cpu_s']:.1f} s a training", flush=True)
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
