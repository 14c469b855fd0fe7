"""How good are private models on real tables, next to models without privacy and to other private ones?

    python benchmarks/utility.py [--card PATH ...] [--seeds N] [--draws N] [--epsilon E ...]
                                 [--only MODEL ...] [--quick] [--json FILE] [--check]

Every task of every card (the bundled ones, unless cards are named): its units are split at random, 30 %
held out, once a seed, and each model learns from the rest. Nothing is tuned: recipes have their defaults.
A figure is the mean over seeds with its standard error.

Without privacy: logistic regression (or ridge) on raw features, the same on 16 bins, gradient boosting, and
the twin: what `gam` would learn from the same vectors without noise. Private, beside our recipes: interpret's
DP-EBM, where `interpret` is installed, and DP-SGD as tutorials have it (Opacus, logistic regression on raw features,
SGD at 0.1, 20 epochs of batches of 512, clip 1). These two do not know units: they get one row of each.

Goals, for each yes-or-no task at epsilon 1: `gam` at least as good (AUC) as logistic regression without
privacy on raw features, and within 0.01 of its own twin. One training's noise moves an AUC by up to
.004, so what is judged is trained several times a split, and a split's figure is the mean.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np
import pyarrow.parquet as pq

from sandbox.catalogue.card import Card, load_card
from sandbox.catalogue.encoding import Encoding
from sandbox.catalogue.inputs import Inputs
from sandbox.submissions import recipes
from sandbox.submissions.manifest import Wishes
from sandbox.training import fitting

BUNDLED = ("adult", "wy_crime", "rand_hie", "digits")
EPSILONS = (0.5, 1.0, 3.0, 8.0)
HELD_OUT = 0.3
DELTA = 1e-5
JUDGED = ("gam", 1.0)
"""The model and epsilon that the goals are about."""
Table = dict[str, Any]
Scores = Any
"""Binary: the chance of yes. Multiclass: a chance for each class. Regression: an answer on [-1, 1]."""


@dataclass(frozen=True)
class Side:
    """Some units of a task: their encoded records, answers, and whose each row is."""

    features: dict[str, Any]
    target: Any
    units: Any

    def of(self, chosen: Any) -> Side:
        some = {name: array[chosen] for name, array in self.features.items()}
        return Side(some, self.target[chosen], self.units[chosen])

    def one_row_a_unit(self) -> Side:
        return self.of(np.unique(self.units, return_index=True)[1])


@dataclass(frozen=True)
class Question:
    """One task of a card with all its records."""

    card: Card
    task: str
    inputs: Inputs
    whole: Side

    @property
    def name(self) -> str:
        return f"{self.card.name}/{self.task}"

    def split(self, seed: int) -> tuple[Side, Side]:
        held = np.random.default_rng(seed).random(int(self.whole.units.max()) + 1) < HELD_OUT
        rows = held[self.whole.units]
        return self.whole.of(~rows), self.whole.of(rows)


def questions(folder: Path) -> Iterator[Question]:
    card = load_card(folder)
    home = folder if folder.is_dir() else folder.parent
    table = pq.read_table(home / card.training.file)
    for task in card.tasks:
        encoding = Encoding(card, task)
        whole = Side(encoding.features(table), encoding.target(table), encoding.units(table))
        yield Question(card, task, encoding.inputs, whole)


def measured(kind: str, scores: Scores, target: Any) -> dict[str, float]:
    """The measures of a task's kind; the first is the one that counts."""
    from sklearn import metrics

    if kind == "regression":
        return {"r2": float(metrics.r2_score(target, scores))}
    if kind == "multiclass":
        labels = np.arange(scores.shape[1])
        return {
            "accuracy": float((scores.argmax(1) == target).mean()),
            "log_loss": float(metrics.log_loss(target, scores, labels=labels)),
        }
    return {
        "auc": float(metrics.roc_auc_score(target, scores)),
        "accuracy": float(((scores > 0.5) == target).mean()),
        "log_loss": float(metrics.log_loss(target, scores)),
    }


def recipe(name: str) -> Callable[[Question, Side, Side, float], Scores]:
    """A recipe of ours with its defaults."""

    def run(question: Question, learn: Side, held: Side, epsilon: float) -> Scores:
        asked = fitting.Asked(name, {}, epsilon, DELTA, Wishes(), question.card.max_rows_per_unit)
        found = fitting.fit(asked, question.inputs, learn.features, learn.target, learn.units)
        return chances(question.inputs.kind, found.answers(held.features).astype(np.float64))

    return run


def chances(kind: str, logits: Any) -> Scores:
    if kind == "regression":
        return logits[:, 0]
    if kind == "binary":
        return 1 / (1 + np.exp(-logits[:, 0]))
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def plain(view: Callable[[Question, Side], Any]) -> Callable[[Question, Side, Side], Scores]:
    """Logistic regression or ridge on a view of the records; without privacy."""

    def run(question: Question, learn: Side, held: Side) -> Scores:
        from sklearn.linear_model import LogisticRegression, Ridge

        if question.inputs.kind == "regression":
            return Ridge().fit(view(question, learn), learn.target).predict(view(question, held))
        fitted = LogisticRegression(max_iter=3_000).fit(view(question, learn), learn.target)
        return _of(question, fitted.predict_proba(view(question, held)))

    return run


def boosting(question: Question, learn: Side, held: Side) -> Scores:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if question.inputs.kind == "regression":
        return HistGradientBoostingRegressor().fit(columns(learn), learn.target).predict(columns(held))
    fitted = HistGradientBoostingClassifier().fit(columns(learn), learn.target)
    return _of(question, fitted.predict_proba(columns(held)))


def tutorial(question: Question, learn: Side, held: Side, epsilon: float) -> Scores:
    """Opacus as its tutorials use it."""
    import torch
    from opacus import PrivacyEngine
    from torch import nn

    learn = learn.one_row_a_unit()
    X, y = (torch.from_numpy(a) for a in (raw(question, learn).astype(np.float32), learn.target))
    model: Any = nn.Linear(X.shape[1], question.inputs.outputs)
    optimiser: Any = torch.optim.SGD(model.parameters(), lr=0.1)
    loader: Any = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, y), batch_size=512)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, optimiser, loader = PrivacyEngine().make_private_with_epsilon(
            module=model, optimizer=optimiser, data_loader=loader, target_epsilon=epsilon,
            target_delta=min(DELTA, len(y) ** -1.1), epochs=20, max_grad_norm=1.0,
        )  # fmt: skip
        several = question.inputs.kind == "multiclass"
        loss = nn.CrossEntropyLoss() if several else nn.BCEWithLogitsLoss()
        for _ in range(20):
            for some, answers in loader:
                if len(some):
                    optimiser.zero_grad()
                    logits = model(some)
                    (loss(logits, answers) if several else loss(logits[:, 0], answers.float())).backward()
                    optimiser.step()
    with torch.no_grad():
        logits = model(torch.from_numpy(raw(question, held).astype(np.float32)))
    return chances(question.inputs.kind, logits.numpy().astype(np.float64))


def dp_ebm(question: Question, learn: Side, held: Side, epsilon: float) -> Scores:
    """interpret's DP-EBM as it is used: it takes the words of categories from the data, at no charge of its own."""
    from interpret.privacy import DPExplainableBoostingClassifier

    learn, numbers = learn.one_row_a_unit(), question.inputs.numbers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = DPExplainableBoostingClassifier(
            random_state=None, epsilon=epsilon, delta=min(DELTA, len(learn.target) ** -1.1), n_jobs=1,
            feature_types=["continuous"] * numbers + ["nominal"] * len(question.inputs.categories),
            privacy_bounds=dict.fromkeys(range(numbers), (-1.0, 1.0)),
        ).fit(columns(learn), learn.target)  # fmt: skip
        return fitted.predict_proba(columns(held))[:, 1]


def raw(question: Question, side: Side) -> Any:
    """Numbers as they are (on [-1, 1]), categories one of many, arrays value by value."""
    return np.concatenate([*_numbers(side), *_arrays(side), *_places(question, side)], 1)


def bins(question: Question, side: Side, count: int = 16) -> Any:
    """As `raw`, but each number in one of so many equal parts of its public range."""
    binned = [
        np.eye(count)[np.clip((column + 1) * count / 2, 0, count - 1).astype(int)]
        for numbers in _numbers(side)
        for column in numbers.T
    ]
    return np.concatenate([*binned, *_arrays(side), *_places(question, side)], 1)


def curves(question: Question, side: Side) -> Any:
    """The vectors that `gam` sees, times the root of their parts, so that ridge penalties mean the same."""
    import torch

    from sandbox.submissions.layers import RecordVector
    from sandbox.submissions.layers_additive import Curves

    vector = RecordVector(question.inputs, Curves(recipes.Gam().bins))
    seen: Any = vector(**{name: torch.from_numpy(array) for name, array in side.features.items()})
    return seen.numpy() / vector.scale


def columns(side: Side) -> Any:
    """Every column as a number."""
    return np.concatenate([*_numbers(side), side.features.get("categories", np.empty((len(side.target), 0))),
                           *_arrays(side)], 1)  # fmt: skip


def _numbers(side: Side) -> list[Any]:
    return [side.features["numbers"]] if "numbers" in side.features else []


def _places(question: Question, side: Side) -> list[Any]:
    sizes = question.inputs.categories
    return [np.eye(size)[side.features["categories"][:, at]] for at, size in enumerate(sizes)]


def _arrays(side: Side) -> list[Any]:
    return [a.reshape(len(a), -1) for n, a in side.features.items() if n not in ("numbers", "categories")]


def _of(question: Question, shares: Any) -> Scores:
    return shares[:, 1] if question.inputs.kind == "binary" else shares


FREE = {"raw": plain(raw), "binned": plain(bins), "twin of gam": plain(curves), "boosting": boosting}


def private(question: Question) -> dict[str, Any]:
    """The private models that are for this question."""
    suited = [name for name in recipes.RECIPES if not recipes.problems_with_task(name, question.inputs)]
    found: dict[str, Any] = {name: recipe(name) for name in suited}
    if question.inputs.kind != "regression":
        found["tutorial DP-SGD"] = tutorial
    tables = question.inputs.kind == "binary" and not question.inputs.arrays and not question.inputs.texts
    if tables and importlib.util.find_spec("interpret"):
        found["interpret's DP-EBM"] = dp_ebm
    return found


def compare(
    question: Question, seeds: int, draws: int, epsilons: tuple[float, ...], only: set[str]
) -> list[Table]:
    """One line a model and epsilon: each measure's mean and standard error over the seeds, and CPU seconds.

    What the goals judge is trained `draws` times a seed, all else once; seconds are those of one training.
    """
    lines = []
    models: list[tuple[str, float | None, Any]] = [(name, None, run) for name, run in FREE.items()]
    models += [(n, e, run) for n, run in private(question).items() for e in epsilons]
    for name, epsilon, run in models:
        if only and epsilon is not None and name not in only:
            continue
        times = draws if question.inputs.kind == "binary" and (name, epsilon) == JUDGED else 1
        given = () if epsilon is None else (epsilon,)
        found, before = [], time.process_time()
        for seed in range(seeds):
            learn, held = question.split(seed)
            drawn = [
                measured(question.inputs.kind, run(question, learn, held, *given), held.target)
                for _ in range(times)
            ]
            found.append({m: float(np.mean([d[m] for d in drawn])) for m in drawn[0]})
        seconds = (time.process_time() - before) / (seeds * times)
        figures = {m: _mean([f[m] for f in found]) for m in found[0]}
        line = {"task": question.name, "model": name, "epsilon": epsilon, "cpu_s": seconds, **figures}
        lines.append({**line, "of_seeds": found})
        shown = "  ".join(f"{m} {mean:.4f} ±{error:.4f}" for m, (mean, error) in figures.items())
        print(f"{question.name:28}{name:21}{epsilon or 'none':>5}  {shown}  {seconds:6.1f} s", flush=True)
    return lines


def goals(lines: list[Table]) -> list[tuple[bool, str]]:
    """Whether each goal is reached, and by how much: the mean over seeds, whose splits both sides share."""
    found = []
    for task in dict.fromkeys(line["task"] for line in lines if "auc" in line):
        auc = {
            (x["model"], x["epsilon"]): np.array([f["auc"] for f in x["of_seeds"]])
            for x in lines
            if x["task"] == task and "auc" in x
        }
        for other, room in (("raw", 0.0), ("twin of gam", 0.01)):
            if JUDGED in auc:
                ahead, error = _mean(list(auc[JUDGED] - auc[other, None]))
                said = f"{task}: AUC of gam at epsilon 1 less that of {other}: {ahead:+.4f} ±{error:.4f}"
                found.append((ahead >= -room, f"{said}, goal {-room:+.2f}"))
    return found


def _mean(values: list[float]) -> tuple[float, float]:
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
    return float(np.mean(values)), error


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--card", type=Path, action="append", help="a dataset's folder (default: the bundled ones)"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--draws", type=int, default=8, help="trainings a seed of what the goals judge: `gam` at epsilon 1"
    )
    parser.add_argument("--epsilon", type=float, action="append")
    parser.add_argument(
        "--only", action="append", default=[], help="of the private models, this one (again for more)"
    )
    parser.add_argument("--quick", action="store_true", help="two seeds, one draw, epsilon 1, `gam` alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    options = parser.parse_args()
    here = Path(__file__).parents[1] / "configs/datasets"
    cards = options.card or [here / name for name in BUNDLED]
    seeds, draws, epsilons = options.seeds, options.draws, tuple(options.epsilon or EPSILONS)
    if options.quick:
        seeds, draws, epsilons, options.only = 2, 1, (1.0,), ["gam"]
    lines = [
        line
        for card in cards
        for question in questions(card)
        for line in compare(question, seeds, draws, epsilons, set(options.only))
    ]
    if options.json:
        options.json.write_text(json.dumps({"seeds": seeds, "draws": draws, "lines": lines}, indent=1))
    judged = goals(lines)
    for held, said in judged:
        print(f"{'held' if held else 'MISSED'}: {said}, {draws} draws a split")
    return 1 if options.check and not all(held for held, _ in judged) else 0


if __name__ == "__main__":
    sys.exit(main())
