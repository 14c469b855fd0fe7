"""Many records are streamed into mapped files: the same tensors, none of them left behind, little memory."""

import os

import numpy as np
import pytest
import torch

from sandbox.catalogue import stored
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NDLError
from sandbox.training import encoded


@pytest.mark.parametrize("task", ["fell", "kind", "cost"])
def test_records_that_are_streamed_are_those_read_at_once(clinic, tmp_path, monkeypatch, task):
    encoding = Encoding(clinic.card, task)
    whole = encoded.of(clinic.dataset, encoding, tmp_path)
    monkeypatch.setattr(encoded, "IN_MEMORY", 0)
    monkeypatch.setattr(encoded, "_PORTION", 7)
    mapped = encoded.of(clinic.dataset, encoding, tmp_path / "vault")
    assert whole.features.keys() == mapped.features.keys()
    for name, tensor in whole.features.items():
        assert torch.equal(tensor, mapped.features[name]), name
        assert tensor.dtype == mapped.features[name].dtype
    assert torch.equal(whole.target, mapped.target)
    assert np.array_equal(whole.codes, mapped.codes)


def test_nothing_of_the_records_is_left_on_the_disk(clinic, tmp_path):
    encoding, folder = Encoding(clinic.card, "fell"), tmp_path / "vault"
    found = encoded.streamed(clinic.dataset, encoding, folder)
    assert list(folder.rglob("*")) == []
    assert float(found.features["numbers"].abs().max()) <= 1.0  # and still there to read


def test_nothing_is_left_when_the_reading_fails(clinic, tmp_path, monkeypatch):
    folder, kept = tmp_path / "vault", []

    def fail(*_):
        kept.extend(os.stat(place).st_mode & 0o777 for place in folder.iterdir())
        raise RuntimeError

    monkeypatch.setattr(stored, "portions_of_training", fail)
    with pytest.raises(RuntimeError):
        encoded.streamed(clinic.dataset, Encoding(clinic.card, "fell"), folder)
    assert kept == [0o700]
    assert list(folder.rglob("*")) == []


def test_a_file_that_was_changed_is_not_streamed(clinic, tmp_path):
    with open(clinic.dataset.training_path, "ab") as file:
        file.write(b"x")
    with pytest.raises(NDLError, match="not the one that was accepted"):
        encoded.streamed(clinic.dataset, Encoding(clinic.card, "fell"), tmp_path / "vault")
