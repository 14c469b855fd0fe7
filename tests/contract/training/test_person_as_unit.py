"""The unit is the person: shown on real people with up to five years, and on made-up ones with up to four rows."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from sandbox.catalogue.card import load_card
from sandbox.catalogue.encoding import Encoding
from sandbox.catalogue.people import PeoplePlan, generate
from sandbox.submissions import recipes
from sandbox.submissions.export.exporter import export
from sandbox.submissions.graph.lift import Model
from sandbox.training import loop
from sandbox.training.engines import Tapped
from sandbox.training.sampler import UnitRows

CLIP = 0.8
TASKS = {"rand_hie": "saw_doctor", "synthetic_health": "admitted"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, pytestconfig):
    made = generate(tmp_path_factory.mktemp("people") / "health", PeoplePlan(rows=1_200, waves=0))
    return {"rand_hie": pytestconfig.rootpath / "configs/datasets/rand_hie", "synthetic_health": made}


class People:
    """The records of one dataset, a gam far from its optimum, and sums of gradients of some of the people."""

    def __init__(self, folder, rows=1_200):
        card = load_card(folder)
        table = pq.read_table(folder / card.training.file).slice(0, rows)
        encoding = Encoding(card, TASKS[card.name])
        self.most = card.max_rows_per_unit
        self.owners = encoding.units(table)
        self.features = {name: torch.from_numpy(a) for name, a in encoding.features(table).items()}
        self.target = torch.from_numpy(encoding.target(table))
        torch.manual_seed(2)
        module = recipes.build("gam", {}, encoding.inputs)
        for weight in module.parameters():
            torch.nn.init.normal_(weight, std=20.0)
        self.model = Model(export(module, encoding.inputs))

    def sum_of(self, owners, rows=slice(None), most=None, clip=CLIP):
        """All weights' sums in one vector; `owners` say whose each of these rows is."""
        features = {name: tensor[rows] for name, tensor in self.features.items()}
        units = UnitRows(owners, most or self.most)
        everybody = np.arange(len(units))
        engine = Tapped(self.model, "binary")
        sums = loop.clipped_sums(
            engine, self.model.weights, features, self.target[rows], units, everybody, clip
        )
        return torch.cat([total.flatten() for total in sums.values()])

    def those_with_most_rows(self, count):
        return np.argsort(np.bincount(self.owners), kind="stable")[::-1][:count]


@pytest.fixture(params=TASKS, scope="module")
def people(request, folders):
    return People(folders[request.param])


def test_a_person_with_many_rows_changes_the_clipped_sum_by_at_most_the_clip(people):
    whole = people.sum_of(people.owners)
    changes, without_units = [], []
    for person in people.those_with_most_rows(12):
        others = np.flatnonzero(people.owners != person)
        changes.append(float((whole - people.sum_of(people.owners[others], others)).norm()))
        own = np.flatnonzero(people.owners == person)
        assert len(own) == people.most
        without_units.append(float(people.sum_of(np.arange(len(own)), own, most=1).norm()))
    assert max(changes) <= CLIP * (1 + 1e-4)
    assert max(changes) > 0.5 * CLIP
    assert max(without_units) > 2 * CLIP  # what the same people could do if each row were a unit


def test_rows_of_a_person_beyond_the_cards_limit_change_nothing(people):
    person = people.those_with_most_rows(1)[0]
    own = np.flatnonzero(people.owners == person)
    more = np.concatenate([np.arange(len(people.owners)), np.repeat(own[-1:], 50)])
    whole = people.sum_of(people.owners)
    assert torch.allclose(people.sum_of(people.owners[more], more), whole, atol=1e-4)


def test_a_person_counts_as_the_mean_of_their_rows(people):
    person = people.those_with_most_rows(1)[0]
    own = np.flatnonzero(people.owners == person)
    alone = people.sum_of(np.zeros(len(own), np.int64), own, clip=100.0)
    rows = [people.sum_of(np.zeros(1, np.int64), own[at : at + 1], clip=100.0) for at in range(len(own))]
    assert torch.allclose(alone, torch.stack(rows).mean(0), atol=1e-5)
