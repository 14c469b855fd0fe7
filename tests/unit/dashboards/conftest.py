"""A store filled with invented, realistic records: three models on 26, 3 and 4 waves, one of them drifting."""

import math
import shutil
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from sandbox.lifecycle import FindingState, RunState, Standing, SubmissionState, Verdict, WaveState
from sandbox.records import (
    AdmittedGraph,
    Dataset,
    Decision,
    Evaluation,
    Event,
    Finding,
    Measurement,
    ModelVersion,
    Submission,
    TrainingRun,
    Wave,
)
from sandbox.storage import Store, tables

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
BY = "operator"


class MadeUp:
    """Adds invented records to a store; every number follows from the seed."""

    def __init__(self, store, seed=7):
        self.store, self.rng = store, np.random.default_rng(seed)

    def dataset(self, name, title, features, groups, tasks, unit_means, epsilon=8.0):
        columns = {f: {"kind": "number", "title": t} for f, t in features.items()}
        columns |= {
            g: {"kind": "category", "categories": list(c), "sensitive": True} for g, c in groups.items()
        }
        card = {"name": title, "ndl:dataset": {
            "name": name, "population": f"{name}_people", "unit_means": unit_means, "columns": columns,
            "tasks": tasks,
        }}  # fmt: skip
        record = Dataset(
            name, title, f"{name}_people", card, "c" * 64, "x", 9000, 9000, "d" * 64, NOW, "dana"
        )
        with self.store.transaction() as tx:
            tx.add(record, Event("dana", "dataset added", name))
            budget = {
                "pool": f"training:{name}_people",
                "epsilon": epsilon,
                "delta": 1e-6,
                "rule": {"rule": "filter", "order": 9.0},
            }
            tx.connection.execute(sa.insert(tables.budgets), [budget])
        return record

    def wave(self, dataset, name, day, rows, state=WaveState.ACCEPTED, faults=(), at=NOW):
        report = {"rows": rows, "units": rows, "faults": list(faults), "notes": [], "delivered": "e" * 64}
        kept = rows if state is WaveState.ACCEPTED else 0
        wave = Wave(
            f"{dataset}/{name}", dataset, name, day, kept, kept, "e" * 64, "x", state, report, at, "dana"
        )
        with self.store.transaction() as tx:
            tx.add(wave, Event("dana", f"wave {state}", wave.id))
            pool = {
                "pool": f"held-out:{dataset}_people/{name}",
                "epsilon": 3.0,
                "delta": 1e-6,
                "rule": {"rule": "filter", "order": 9.0},
            }
            if state is WaveState.ACCEPTED:
                tx.connection.execute(sa.insert(tables.budgets), [pool])
        return wave

    def model(self, name, title, dataset, task, standing, developer="amara", epsilon=1.0, version=1,
              graph=""):  # fmt: skip
        key = f"{name}/{version}"
        manifest = {"name": name, "public": {"title": title}}
        certificate = {
            "epsilon": epsilon, "epsilon_opacus": epsilon * 1.08, "delta": 1e-6, "adjacency": "add/remove",
            "unit_means": "one person", "max_rows_per_unit": 4, "units": 9000,
            "noise_multiplier": 1.37, "sampling_rate": 0.0185, "steps": 648, "clip": 1.0,
            "epsilon_audited": 0.2719, "epsilon_audited_gaussian": 0.4655, "audit_confidence": 0.95,
            "audit_canaries": 2000, "gate": "passed: 27 checks", "population": f"{dataset}_people",
            "code_version": "0.1.0 (training 1f2e3d4c5b6a)",
        }  # fmt: skip
        submission = Submission(
            f"s-{key}", name, dataset, task, developer, manifest, {}, "f" * 64, "x",
            SubmissionState.TRAINED, "", NOW, graph,
        )  # fmt: skip
        run = TrainingRun(f"r-{key}", submission.id, "charge", RunState.FINISHED, {}, certificate, NOW, NOW)
        record = ModelVersion(
            key, name, version, dataset, task, run.id, developer, standing, "m-1", "a" * 64, NOW
        )
        with self.store.transaction() as tx:
            tx.add(submission, Event(developer, "submission.received", submission.id))
            tx.add(run, Event(BY, "training.finish", run.id))
            tx.add(record, Event(BY, "model.register", key))
        return record

    def graph(self, made_by, layers, unused=(), digest="9a" * 32):
        """An admitted graph; each layer is (module, kind, operators, shape, parameters)."""
        names = ("module", "kind", "operators", "shape", "parameters")
        told = [dict(zip(names, layer, strict=True)) for layer in layers]
        parameters = sum(layer["parameters"] for layer in told)
        summary = {
            "layers": told, "parameters": parameters + 1, "trainable": parameters, "outputs": 1, "nodes": 31,
            "inputs_used": ["numbers", "categories"], "inputs_unused": list(unused),
            "flops_per_record": 7083, "values_per_record": 900,
        }  # fmt: skip
        with self.store.transaction() as tx:
            admitted = AdmittedGraph(digest, "x", summary, made_by, NOW)
            tx.add(admitted, Event("amara", "graph.admit", digest))
        return digest

    def evaluation(self, model, wave, evaluator, measurements, findings=(), failure="", at=NOW):
        key = f"{model}|{wave}|{evaluator}|1"
        made = Evaluation(key, model, wave, evaluator, 1, failure, at)
        with self.store.transaction() as tx:
            tx.add_evaluation(made, measurements, Event(BY, "evaluation.finish", key))
            for rule, subject, verdict, level, sentence, value, limit in findings:
                state = FindingState.RESOLVED if verdict is Verdict.WITHIN else FindingState.OPEN
                finding = Finding(
                    f"{model}|{wave}|{rule}|{subject}", model, wave, rule, subject, verdict, level, sentence,
                    value, limit, state, at,
                )  # fmt: skip
                tx.add(finding, Event(BY, "finding.judge", finding.id))

    def decision(self, model, action, reason, at, person="omar"):
        made = Decision(f"{model}@{at.isoformat()}", model, action, person, reason, at)
        with self.store.transaction() as tx:
            tx.add(made, Event(person, "model.decide", model, reason))

    def judge(self, rule, subject, value, half, limit, words, level):
        """One finding: beyond or within when the interval says so, else nobody can tell."""
        low, high = abs(value) - half, abs(value) + half
        verdict = Verdict.BEYOND if low > limit else Verdict.WITHIN if high < limit else Verdict.UNKNOWN
        ending = {
            Verdict.BEYOND: f"which is beyond the limit of {limit:g}. Ask the custodian whether recording changed.",
            Verdict.WITHIN: f"which is within the limit of {limit:g}. Nothing to do.",
            Verdict.UNKNOWN: f"which may or may not pass the limit of {limit:g}. Watch the next wave.",
        }[verdict]
        sentence = f"{words}: {value:.3f} (95 % interval {value - half:.3f} to {value + half:.3f}), {ending}"
        return (rule, subject, verdict, level if verdict is Verdict.BEYOND else "Low", sentence, value, limit)

    def evaluate(self, model, wave, at_share, first, *, quality, bias, drift, groups, measure="auc", at=NOW):
        """All evaluators of one model on one wave; `first` is the first wave's quality, or None on it."""
        n, rng = wave.rows, self.rng
        half = 0.9 / math.sqrt(n)
        m = Measurement
        fall = [] if first is None else [
            self.judge("quality", measure, first - quality, half, 0.03, f"{measure.upper()} fell", "High")
        ]  # fmt: skip
        self.evaluation(model, wave.id, "discrimination", [
            m(measure, quality, n, quality - half, min(quality + half, 1)),
            m("log_loss", 0.41, n, 0.39, 0.43), m("f1", 0.31, n, 0.27, 0.36),
        ], fall, at=at)  # fmt: skip
        bins = [(f"{i:02d}", 0.03 + 0.09 * i, 0.03 + 0.075 * i + 0.02 * rng.random()) for i in range(10)]
        off = self.judge(
            "calibration", "calibration_bias", bias, 0.5 * half, 0.05, "Predictions were off", "High"
        )
        self.evaluation(model, wave.id, "calibration", [
            m("calibration_bias", bias, n, bias - 0.5 * half, bias + 0.5 * half),
            m("calibration_slope", 0.93, n, 0.86, 1.01), m("ece", 0.021, n, 0.012, 0.034),
            *(m("reliability", y, n // 10, max(y - 0.03, 0), y + 0.03, feature=f) for f, _, y in bins),
            *(m("reliability_mean", x, n // 10, feature=f) for f, x, _ in bins),
        ], [off], at=at)  # fmt: skip
        rows, judged = [], []
        for attribute, labels in groups.items():
            sizes = rng.dirichlet(np.full(len(labels), 6.0)) * n
            values = [quality + rng.normal(0, 0.012) - 0.04 * (i == 0) for i in range(len(labels))]
            for label, size, value in zip(labels, sizes, values, strict=True):
                group, g = f"{attribute}={label}", int(size) if label != labels[-1] else 8
                if label == labels[-1] and attribute != "digit":
                    rows.append(m(measure, None, g, group=group, status="too few"))
                    continue
                wide = 0.9 / math.sqrt(g)
                rows.append(m(measure, value, g, value - wide, min(value + wide, 1), group=group))
                if measure == "auc":
                    rows += [
                        m(name, v, g, v - 0.4 * wide, v + 0.4 * wide, group=group)
                        for name, v in (("outcome_rate", 0.12), ("selection_rate", 0.05), ("tpr", 0.21),
                                        ("fpr", 0.03), ("calibration_bias", bias + 0.004))
                    ]  # fmt: skip
            gap = max(values) - min(values)
            rows.append(m(f"{measure}_gap", gap, n, max(gap - 0.03, 0), gap + 0.03, group=attribute))
            judged.append(
                self.judge(
                    "fairness", attribute, gap, 0.03, 0.10, "Between the groups furthest apart", "High"
                )
            )
        self.evaluation(model, wave.id, "groups", rows, judged, at=at)
        rows, judged = [], []
        for feature, (start, strength) in drift.items():
            if first is None:
                rows.append(m("input_distance", None, n, feature=feature, status="reference"))
                continue
            moved = max(at_share - start, 0.0) / (1 - start) * strength if start < 1 else 0.0
            value = max(moved + abs(rng.normal(0.012, 0.008)), 0.0)
            rows.append(m("input_distance", value, n, max(value - 0.015, 0), value + 0.015, feature=feature))
            words = f"Input {feature} moved"
            judged.append(self.judge("input drift", feature, value, 0.015, 0.10, words, "Medium"))
        self.evaluation(model, wave.id, "input_drift", rows, judged, at=at)
        for name in ("score", "outcome", "relation"):
            value = 0.02 + 0.05 * at_share
            rows = [m(f"{name}_distance", value, n, value - 0.01, value + 0.012)]
            judged = [
                self.judge(f"{name} drift", name, value, 0.011, 0.10, f"{name.capitalize()}s moved", "Medium")
            ]
            if first is None:
                rows, judged = [m(f"{name}_distance", None, n, status="reference")], []
            self.evaluation(model, wave.id, f"{name}_drift", rows, judged, at=at)


FEATURES = {
    "gp_visits": "GP visits", "wait_days": "Days waited", "systolic_bp": "Systolic blood pressure",
    "bmi": "Body mass index", "imd_decile": "Deprivation decile", "age": "Age", "hba1c": "HbA1c",
    "med_count": "Medicines taken", "prior_admissions": "Earlier admissions",
}  # fmt: skip
DRIFT = dict.fromkeys(FEATURES, (1.0, 0.0)) | {
    "gp_visits": (0.55, 0.20),
    "wait_days": (0.7, 0.16),
    "bmi": (0.8, 0.07),
}
GROUPS = {
    "sex": ("Female", "Male", "Unknown"),
    "trust": ("Airedale", "Bradford", "Calderdale", "Leeds", "Craven"),
}
CRIME = {"longitude": "Longitude", "latitude": "Latitude", "crime_type": "Type of crime", "place": "Kind of place",
         "persons": "People living nearby"}  # fmt: skip
CRIME_DRIFT = dict.fromkeys(CRIME, (1.0, 0.0)) | {"crime_type": (0.2, 0.13)}
DISTRICTS = {"district": ("Bradford", "Calderdale", "Kirklees", "Leeds", "Wakefield", "Craven")}


def fill(store):
    """Three models on three datasets: weekly waves of people, yearly waves of crimes, digits."""
    made = MadeUp(store)
    task = {"kind": "binary", "target": "fall", "question": "Will this person fall within a year?"}
    made.dataset(
        "falls", "Falls in hospital (synthetic)", FEATURES, GROUPS, {"falls": task}, "one person", 6.0
    )
    made.model("falls-risk", "Falls risk", "falls", "falls", Standing.CHAMPION, "bilal", 2.0, version=3)
    task = {"kind": "binary", "target": "outcome", "question": "Will this crime get a formal outcome?"}
    made.dataset(
        "crime", "Recorded crimes in West Yorkshire", CRIME, DISTRICTS, {"formal": task}, "one recorded crime"
    )
    wall = {"backend": "bubblewrap", "layers": ["user namespace", "no network", "seccomp"]}
    layers = [
        ("", "ResidualTabular", ["aten.cat.default", "aten._to_copy.default"], [1, 67], 0),
        ("stem", "Linear", ["aten.linear.default"], [1, 32], 2176),
        ("head", "Linear", ["aten.linear.default"], [1, 1], 33),
    ]
    graph = made.graph(wall, layers, unused=["notes"])
    made.model(
        "formal-outcome", "Formal outcome of a recorded crime", "crime", "formal", Standing.CHAMPION, "chiara",
        graph=graph,
    )  # fmt: skip
    task = {"kind": "multiclass", "target": "digit", "question": "Which digit is this?"}
    digit = {"digit": tuple("0123456789")}
    made.dataset("digits", "Handwritten digits", {"image": "Image"}, digit, {"digit": task}, "one image")
    made.model(
        "digit-reader", "Reader of handwritten digits", "digits", "digit", Standing.CANDIDATE, "amara", 4.0
    )
    fill_falls(made, 26)
    for number, (year, quality, bias) in enumerate(
        ((2016, 0.757, -0.002), (2017, 0.726, 0.023), (2018, 0.687, 0.067))
    ):
        at = NOW - timedelta(hours=30 - 10 * number)
        wave = made.wave("crime", f"{year}-07", date(year, 7, 31), (6412, 21560, 21988)[number], at=at)
        made.evaluate("formal-outcome/1", wave, number / 2, None if number == 0 else 0.757, quality=quality,
                      bias=bias, drift=CRIME_DRIFT, groups=DISTRICTS, at=at)  # fmt: skip
    for number in range(4):
        wave = made.wave(
            "digits", f"2026-{8 + number:02d}", date(2026, 8 + number, 15), 310 + 14 * number, at=NOW
        )
        first = None if number == 0 else 0.957
        made.evaluate("digit-reader/1", wave, number / 3, first, quality=0.957 - 0.004 * number, bias=0.01,
                      drift={"image": (1.0, 0.0)}, groups=digit, measure="accuracy")  # fmt: skip
    made.evaluation("digit-reader/1", "digits/2026-11", "robustness", [], failure="evaluator:MemoryError")
    faults = [{"column": "wait_days", "what": "lie above the maximum", "count": 112},
              {"column": "trust", "what": "have a category the card does not list", "count": 9}]  # fmt: skip
    made.wave("falls", "2026-w48", date(2026, 11, 23), 3391, WaveState.QUARANTINED, faults)
    made.decision(
        "falls-risk/3",
        "champion",
        "Within every limit on the first held-out wave.",
        NOW - timedelta(days=170),
    )
    made.decision("formal-outcome/1", "champion", "Best of two on the first wave.", NOW - timedelta(hours=25))
    return made


def fill_falls(made, waves):
    for number in range(waves):
        share = number / 25
        day = date(2026, 5, 25) + timedelta(days=7 * number)
        at = datetime(day.year, day.month, day.day, 7, 30, tzinfo=UTC)
        rows = int(made.rng.normal(3300, 260))
        wave = made.wave("falls", f"2026-w{22 + number}", day, rows, at=at)
        quality = 0.812 - 0.055 * max(share - 0.6, 0) / 0.4 + made.rng.normal(0, 0.004)
        made.evaluate("falls-risk/3", wave, share, None if number == 0 else 0.812, quality=quality,
                      bias=0.01 * share, drift=DRIFT, groups=GROUPS, at=at)  # fmt: skip


@pytest.fixture
def empty_store(ready_url):
    store = Store(ready_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """A database with the whole invented story, to be copied."""
    file = tmp_path_factory.mktemp("made-up") / "ndl.db"
    store = Store(f"sqlite:///{file}")
    fill(store)
    store.close()
    return file


@pytest.fixture
def made_up(filled, tmp_path):
    """The whole invented story in a store of its own; `made_up.store` is the store."""
    store = Store(f"sqlite:///{shutil.copy(filled, tmp_path)}")
    yield MadeUp(store)
    store.close()
