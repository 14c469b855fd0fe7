"""What does the record graph cost? Training steps beside Opacus, and scoring beside the eager module.

    python benchmarks/record_graph.py [--json FILE] [--check] [--only NAME] [--rounds 7] [--batch 256 --batch 1024]

For each model, in one run and turn about: CPU time of a private training step (every record's gradient,
clipped at 1 and summed) through the record graph and through Opacus's hooks, both in portions that stay
near the processor, Opacus also all at once and the better of its two counted; and of scoring 8,192
records through the graph and through the module that was handed in. One thread, the quickest of several
rounds. `apart` is how
far the graph's gradients are from those of a plain loop over the eager module, relative to the largest.

Goals, for models whose step takes Opacus over 3 ms: a step at most 1.3 x Opacus, scoring at most
1.3 x eager; for all: `apart` under 1e-4. Opacus gets its own replacements for layers
(`ModuleValidator.fix`) where it asks for them.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # this folder last: the standard library has a `statistics` too

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from architectures import ALL, Architecture
from torch import Tensor, nn
from torch.nn import functional as F

from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import engines, loop
from sandbox.training.gradients import record_gradients
from sandbox.training.sampler import UnitRows

GOAL, FLOOR_SECONDS, APART = 1.3, 0.003, 1e-4
MOST_ROUNDS, ENOUGH_SECONDS = 50, 2.0
SCORED, COMPARED = 8_192, 8
PORTION_FLOATS = engines._GRADIENT_FLOATS

Features = Mapping[str, Tensor]
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", action="append", choices=[a.name for a in ALL])
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # what Opacus and torch always say
    torch.set_num_threads(1)
    torch.manual_seed(20261124)
    print(_line("model", "batch", "step ms", "Opacus", "ratio", "scoring", "eager", "ratio", "apart"))
    rows = []
    for architecture in ALL:
        if not options.only or architecture.name in options.only:
            for row in measured(architecture, options.batch or [256, 1024], options.rounds):
                rows.append(row)
                print(_line(*(_shown(value) for value in row.values())), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    missed = [goal for row in rows for goal in goals_missed(row)]
    for goal in missed:
        print(f"MISSED: {goal}")
    return 1 if options.check and missed else 0


def measured(architecture: Architecture, batches: list[int], rounds: int) -> list[Row]:
    """One row a batch size; milliseconds, and ratios of ours to the other's."""
    module = architecture.make()
    model = Model(export(module, architecture.inputs))
    kind = architecture.inputs.kind
    features, target = random_records(architecture, COMPARED)
    apart = difference(
        record_gradients(model, features, target, kind), plain_loop(module, features, target, kind)
    )
    features, _ = random_records(architecture, SCORED)
    with torch.no_grad():
        scoring = quickest(
            {"graph": lambda: model.answers(features), "eager": lambda: module(**features)}, rounds
        )
    rows = []
    for batch in batches:
        features, target = random_records(architecture, batch)
        steps = quickest(
            {
                "graph": graph_step(model, features, target, kind),
                **opacus_steps(module, features, target, kind),
            },
            rounds,
        )
        ours = steps.pop("graph")
        theirs = min(steps.values()) if steps else None
        rows.append(
            {
                "model": architecture.name,
                "batch": batch,
                "step_ms": ours * 1e3,
                "opacus_ms": None if theirs is None else theirs * 1e3,
                "step_ratio": None if theirs is None else ours / theirs,
                "scoring_ms": scoring["graph"] * 1e3,
                "eager_ms": scoring["eager"] * 1e3,
                "scoring_ratio": scoring["graph"] / scoring["eager"],
                "apart": apart,
            }
        )
    return rows


def goals_missed(row: Row) -> list[str]:
    name = f"{row['model']}, {row['batch']}"
    missed = []
    ratio, opacus_ms = row["step_ratio"], row["opacus_ms"]
    counts = (row["step_ms"] if opacus_ms is None else opacus_ms) > FLOOR_SECONDS * 1e3
    if counts and ratio is not None and ratio > GOAL:
        missed.append(f"{name}: a step takes {ratio:.2f} x Opacus, more than {GOAL}")
    if counts and row["scoring_ratio"] > GOAL:
        missed.append(f"{name}: scoring takes {row['scoring_ratio']:.2f} x eager, more than {GOAL}")
    if not row["apart"] <= APART:
        missed.append(f"{name}: gradients are {row['apart']:.1e} from a plain loop's, more than {APART}")
    return missed


def graph_step(model: Model, features: Features, target: Tensor, kind: str) -> Callable[[], object]:
    """As the training takes it, by the training's own engine and portions."""
    everybody = np.arange(len(target))
    units = UnitRows(everybody, 1)
    weights = {name: model.weights[name] for name in model.trainable}
    engine = engines.choose(model, kind)
    return lambda: loop.clipped_sums(engine, weights, features, target, units, everybody, 1.0)


def opacus_steps(
    module: nn.Module, features: Features, target: Tensor, kind: str
) -> dict[str, Callable[[], None]]:
    """In portions and, where its gradients take at most 2 GB, all at once; nothing where Opacus gives up."""
    from opacus.grad_sample import GradSampleModule
    from opacus.validators import ModuleValidator

    try:
        private = GradSampleModule(ModuleValidator.fix(module).train(), loss_reduction="sum")
    except (NotImplementedError, RuntimeError, ValueError):
        return {}
    parameters = [p for p in private.parameters() if p.requires_grad]
    size = sum(p.numel() for p in parameters)

    def step(portion: int) -> None:
        for at in range(0, len(target), portion):
            some = {name: tensor[at : at + portion] for name, tensor in features.items()}
            loss_sum(private(**some), target[at : at + portion], kind).backward()
            clip_and_sum([p.grad_sample for p in parameters])
            for parameter in parameters:
                parameter.grad_sample = parameter.grad = None

    sizes = {"portions": max(1, PORTION_FLOATS // size)}
    if size * len(target) <= 2**29:
        sizes["whole"] = len(target)
    try:
        step(2)
    except (RuntimeError, IndexError, NotImplementedError, AttributeError, TypeError):
        private.remove_hooks()
        return {}
    return {name: lambda portion=portion: step(portion) for name, portion in sizes.items()}


def loss_sum(logits: Tensor, target: Tensor, kind: str) -> Tensor:
    if kind == "multiclass":
        return F.cross_entropy(logits, target, reduction="sum")
    return F.binary_cross_entropy_with_logits(logits.squeeze(1), target.float(), reduction="sum")


def clip_and_sum(gradients: list[Tensor]) -> list[Tensor]:
    flat = [g.detach().flatten(1) for g in gradients]
    norms = torch.stack([g.square().sum(1) for g in flat]).sum(0).sqrt()
    factors = (1 / norms.clamp_min(1e-12)).clamp_max(1)
    return [factors @ g for g in flat]


def plain_loop(module: nn.Module, features: Features, target: Tensor, kind: str) -> dict[str, Tensor]:
    """The gradient of every record by itself, the plain way."""
    module.train()
    found: dict[str, list[Tensor]] = {name: [] for name, _ in module.named_parameters()}
    for at in range(len(target)):
        module.zero_grad()
        one = {name: tensor[at : at + 1] for name, tensor in features.items()}
        loss_sum(module(**one), target[at : at + 1], kind).backward()
        for name, parameter in module.named_parameters():
            found[name].append(
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            )
    return {name: torch.stack(gradients) for name, gradients in found.items()}


def difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    largest = max(float(g.abs().max()) for g in theirs.values())
    return max(float((ours[name] - g).abs().max()) for name, g in theirs.items()) / largest


def random_records(architecture: Architecture, records: int) -> tuple[dict[str, Tensor], Tensor]:
    """Made-up records in the shape the catalogue encodes."""
    inputs = architecture.inputs
    features = {name: torch.rand(records, *shape) for name, shape in inputs.arrays.items()}
    features |= {name: torch.randint(0, 257, (records, length)) for name, length in inputs.texts.items()}
    if inputs.numbers:
        features["numbers"] = torch.rand(records, inputs.numbers) * 2 - 1
    if inputs.categories:
        features["categories"] = torch.stack([torch.randint(0, n, (records,)) for n in inputs.categories], 1)
    return features, torch.randint(0, max(2, inputs.outputs), (records,))


def quickest(tasks: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least CPU seconds of each task over at least `rounds` rounds, and more of tasks that take little.

    In a round all tasks have their turn, each time another one first, so that load falls on all alike;
    the least is what the task takes when nothing else disturbs it. One warm-up each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    names, spent, turn = list(tasks), 0.0, 0
    for task in tasks.values():
        task()
    while turn < rounds or (turn < MOST_ROUNDS and spent < ENOUGH_SECONDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.process_time()
            tasks[name]()
            seconds[name].append(time.process_time() - start)
            spent += seconds[name][-1]
        turn += 1
    return {name: min(values) for name, values in seconds.items()}


def _shown(value: Any) -> str:
    if value is None:
        return "cannot"
    if isinstance(value, float):
        return f"{value:.1e}" if value < 1e-2 else f"{value:.2f}"
    return str(value)


def _line(*cells: str) -> str:
    return f"{cells[0]:18}" + "".join(f"{cell:>9}" for cell in cells[1:])


if __name__ == "__main__":
    sys.exit(main())
