"""A registered model is a description and a record graph, and answers as the trained module did."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sandbox.catalogue.encoding import Encoding
from sandbox.errors import Invalid, NotFound, Refused
from sandbox.registry import mlflow_door, registry
from sandbox.registry.pyfunc import Predictor

ELSEWHERE = """
import sys, mlflow, numpy, pandas
table = pandas.read_parquet("records.parquet")
model = mlflow.pyfunc.load_model("models:/falls@champion")
numpy.save("answer.npy", model.predict(table))
try:
    model.predict(table.drop(columns="age"))
except Exception as error:
    print(error)
print("submissions" if any("offered" in p for p in sys.path) else "alone")
"""


def location(clinic, version):
    client = mlflow_door.client(clinic.settings)
    return Path(client.get_logged_model(version.logged_model).artifact_location.removeprefix("file://"))


@pytest.mark.parametrize("task", ["fell", "kind", "cost"])
def test_a_scorer_answers_as_the_trained_module_did(clinic, register, task):
    module, version = register(task=task, name=f"clinic-{task}")
    features = Encoding(clinic.card, task).features(clinic.table)
    with torch.no_grad():
        logits = module(**{name: torch.from_numpy(array) for name, array in features.items()})
    expected = {
        "fell": lambda: torch.sigmoid(logits[:, 0]),
        "kind": lambda: torch.softmax(logits, 1),
        "cost": lambda: logits[:, 0].clamp(-1, 1),
    }[task]()
    found = registry.load_scorer(clinic.settings, version).probabilities(features)
    assert np.allclose(found, expected.numpy(), atol=1e-6)
    assert found.std() > 0.01


def test_the_champion_answers_in_a_process_that_never_saw_the_submission(clinic, register, tmp_path):
    _, version = register()
    registry.set_alias(clinic.settings, "falls", "champion", version.version)
    place = tmp_path / "elsewhere"
    place.mkdir()
    table = clinic.table.to_pandas().assign(extra=1.0)
    table.loc[:5, "ward"] = "a ward of tomorrow"
    table.to_parquet(place / "records.parquet")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(place), "MLFLOW_TRACKING_URI": clinic.settings.mlflow_url,
        "OMP_NUM_THREADS": "1", **mlflow_door.SAFE,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "missing inputs ['age']" in done.stdout
    assert done.stdout.endswith("alone\n")
    scorer = registry.load_scorer(clinic.settings, version)
    assert np.array_equal(
        np.load(place / "answer.npy"), scorer.probabilities(scorer.encoding.features(table))
    )


def test_nothing_of_a_model_could_run(clinic, register):
    _, version = register()
    files = {
        p.relative_to(location(clinic, version)).as_posix(): p for p in location(clinic, version).rglob("*.*")
    }
    assert set(files) == {"data/model.json", "data/model.ndlgraph"}
    every = [p for p in location(clinic, version).rglob("*") if p.is_file()]
    assert {p.name for p in every} == {"MLmodel", "model.json", "model.ndlgraph"}
    for path in every:
        content = path.read_bytes()
        assert not content.startswith((b"\x80", b"PK"))  # neither a pickle nor a zip of pickles
    described = (location(clinic, version) / "MLmodel").read_text()
    assert "loader_module: sandbox.registry.pyfunc" in described
    assert "code:" not in described


def test_weights_that_changed_since_are_refused(clinic, register):
    _, version = register()
    weights = location(clinic, version) / "data" / "model.ndlgraph"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Refused, match="not those that were registered"):
        registry.load_scorer(clinic.settings, version)
    weights.unlink()
    (weights.parent / "model.json").unlink()
    with pytest.raises(NotFound):
        registry.load_scorer(clinic.settings, version)


def test_scoring_with_what_lies_as_registered_loads_no_compiler(clinic, register):
    _, version = register(recipe="mlp")
    code = (
        "import sys, numpy; from pathlib import Path; from sandbox.registry import artifact;"
        f" scorer = artifact.read(Path({str(location(clinic, version) / 'data')!r}), {version.digest!r});"
        " blank = {n: numpy.zeros((70, *s), t) for n, (t, s) in scorer.encoding.inputs.tensors.items()};"
        " assert len(scorer.probabilities(blank)) == 70;"
        " print(*{'torch', 'torch._dynamo', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["torch"]


def test_swapped_weights_with_a_matching_description_are_refused_too(clinic, register):
    _, first = register()
    _, second = register(name="falls-other", recipe="mlp")
    for name in ("model.ndlgraph", "model.json"):
        other = location(clinic, second) / "data" / name
        (location(clinic, first) / "data" / name).write_bytes(other.read_bytes())
    with pytest.raises(Refused, match="not those that were registered"):
        registry.load_scorer(clinic.settings, first)


def test_columns_in_another_order_than_at_training_are_refused(clinic, register):
    _, version = register()
    file = location(clinic, version) / "data" / "model.json"
    import json

    file.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True))
    with pytest.raises(Refused, match="another order"):
        registry.load_scorer(clinic.settings, version)


def test_missing_values_are_answered_and_missing_columns_refused(clinic, register):
    _, version = register()
    predictor = Predictor(registry.load_scorer(clinic.settings, version))
    table = clinic.table.to_pandas()
    table["weight"] = np.nan
    table["ward"] = None
    answer = predictor.predict(table)
    assert np.isfinite(answer).all()
    with pytest.raises(Invalid, match="alone: column is absent"):
        predictor.predict(table.drop(columns="alone"))
    with pytest.raises(Invalid, match="age: its type cannot be read as a number"):
        predictor.predict(table.assign(age="old"))


def test_a_number_is_predicted_on_the_cards_own_scale(clinic, register):
    _, version = register(task="cost", name="costs")
    answer = Predictor(registry.load_scorer(clinic.settings, version)).predict(clinic.table.to_pandas())
    assert answer.min() >= 0
    assert answer.max() <= 10
    assert answer.max() > 1.5


def test_mlflow_knows_the_certificate_the_data_and_the_columns(clinic, register):
    _, version = register()
    client = mlflow_door.client(clinic.settings)
    found = client.get_model_version_by_alias("falls", "candidate")
    assert int(found.version) == version.version
    stated = {k: found.tags[f"ndl.{k}"] for k in ("epsilon", "delta", "adjacency", "unit", "charge")}
    assert stated == {
        "epsilon": "0.99",
        "delta": "1e-06",
        "adjacency": "add/remove",
        "unit": "patient",
        "charge": "c1",
    }
    assert len(found.tags["ndl.graph_sha256"]) == 64
    run = client.get_run(found.run_id)
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("clinic", clinic.dataset.training_digest[:36])
    assert run.outputs.model_outputs[0].model_id == version.logged_model
    assert run.info.status == "FINISHED"

    from mlflow.models import Model

    signature = Model.load(str(location(clinic, version))).signature
    assert signature.inputs.input_names() == ["weight", "age", "ward", "alone"]


def test_registering_says_nothing(register, capfd):
    register()
    said = capfd.readouterr()
    assert said.out + said.err == ""
