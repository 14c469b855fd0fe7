"""Membership attacks, each worked out with pencil and paper: who would be taken for a member?"""

import math

import numpy as np
import pytest

from evaluators import attacks
from evaluators.membership import found_at
from sandbox.privacy import telling
from sandbox.training.membership import Said


def logit(p):
    return math.log(p / (1 - p))


def said(kind, model, shadows, target, owners=None):
    """Logits by record, and by shadow and record; each record of one unit unless said."""
    model, shadows, target = np.array(model, float), np.array(shadows, float), np.array(target)
    owners = np.arange(len(target)) if owners is None else np.array(owners)
    return Said(kind, owners, np.zeros(owners.max() + 1, bool), target, model, shadows)


#  what happened | the model's probability of it | two shadows' | ratio a = 1 | a = 0 | log odds above the mean
BINARY = [
    ("yes, learned by heart", 1, 0.8, (0.4, 0.6), 0.8 / 0.5, 0.8 / 0.75, logit(0.8) - 0),
    ("yes, easy for all", 1, 0.9, (0.9, 0.9), 1.0, 0.9 / 0.95, 0),
    ("no, worse than others say", 0, 0.5, (0.6, 0.9), 0.5 / 0.75, 0.5 / 0.875, -logit(0.6) / 2 - logit(0.9) / 2),
]  # fmt: skip


@pytest.fixture
def binary():
    def positive(p, happened):
        return logit(p if happened else 1 - p)

    model = [[positive(p, y)] for _, y, p, *_ in BINARY]
    shadows = [[[positive(pair[s], y)] for _, y, _, pair, *_ in BINARY] for s in (0, 1)]
    return said("binary", model, shadows, [y for _, y, *_ in BINARY])


def test_the_loss_threshold_is_the_probability_of_what_happened(binary):
    assert attacks.loss(binary) == pytest.approx([math.log(p) for _, _, p, *_ in BINARY])


@pytest.mark.parametrize(("scale", "column"), [(1.0, 4), (0.0, 5)])
def test_rmia_divides_by_how_likely_the_record_is_in_general(binary, scale, column):
    assert np.exp(attacks.rmia(binary, scale)) == pytest.approx([row[column] for row in BINARY])


def test_lira_counts_standard_deviations_above_models_that_never_saw_the_record(binary):
    # variances of the log odds: 0.4 and 0.6 lie logit(0.6) either side of 0, so 2 logit(0.6)²; 0; half the gap squared
    variances = [2 * logit(0.6) ** 2, 0, (logit(0.9) - logit(0.6)) ** 2 / 2]
    deviation = math.sqrt(sum(variances) / 3)
    assert attacks.lira(binary) == pytest.approx([row[6] / deviation for row in BINARY])


def test_of_several_classes_the_odds_are_against_all_the_others_together():
    probabilities = np.log([[0.5, 0.3, 0.2]])
    assert attacks.losses("multiclass", probabilities, np.array([1])) == pytest.approx([-math.log(0.3)])
    assert attacks.confidences("multiclass", probabilities, np.array([1])) == pytest.approx([logit(0.3)])


@pytest.mark.parametrize(("error", "loss"), [(0.0, 0.0), (0.3, 0.09), (-0.3, 0.09), (0.5, 0.25), (1.5, 1.25)])
def test_of_numbers_the_loss_is_that_of_training(error, loss):
    import torch

    from sandbox.training.gradients import loss_of_one

    assert attacks.losses("regression", np.array([[0.2 + error]]), np.array([0.2])) == pytest.approx([loss])
    assert float(loss_of_one(torch.tensor([0.2 + error]), torch.tensor(0.2), "regression")) == pytest.approx(
        loss
    )
    assert attacks.confidences("regression", np.array([[0.2 + error]]), np.array([0.2])) == pytest.approx(
        [-abs(error)]
    )


def test_records_of_one_person_stand_together():
    # a person with records of ratio 0.8 / 0.5 and 0.6 / 0.5, and one with a single record of 0.5 / 0.5
    p = [0.8, 0.6, 0.5]
    both = said("binary", [[logit(x)] for x in p], [[[0]] * 3, [[0]] * 3], [1, 1, 1], owners=[0, 0, 1])
    assert np.exp(attacks.rmia(both, 1.0)) == pytest.approx([1.6 * 1.2, 1.0])
    assert attacks.loss(both) == pytest.approx([(math.log(0.8) + math.log(0.6)) / 2, math.log(0.5)])
    spread = said(
        "binary", [[logit(x)] for x in p], [[[-1]] * 3, [[1]] * 3], [1, 1, 1], owners=[0, 0, 1]
    )  # mean 0, variance 2
    assert attacks.lira(spread) == pytest.approx([(logit(0.8) + logit(0.6)) / math.sqrt(2) / math.sqrt(2), 0])


#  epsilon | delta | false positives | most found
ALLOWED = [
    (0.0, 0.0, 0.01, 0.01),  # nobody can tell: guessing
    (math.log(2), 0.0, 0.01, 0.02),
    (math.log(2), 0.001, 0.01, 0.021),
    (math.log(4), 0.0, 0.2, 0.8),  # where both bounds meet: 1 / (1 + 4)
    (math.log(4), 0.0, 0.6, 0.9),  # beyond, by the other bound: 1 - 0.4 / 4
    (800.0, 0.0, 0.0, 0.0),
    (800.0, 0.1, 0.0, 0.1),
    (800.0, 0.0, 0.01, 1.0),
]


@pytest.mark.parametrize(("epsilon", "delta", "false_positives", "found"), ALLOWED)
def test_no_attack_finds_more_than_epsilon_allows(epsilon, delta, false_positives, found):
    assert telling.most_found(epsilon, delta, false_positives) == pytest.approx(found)


@pytest.mark.parametrize(
    ("epsilon", "delta", "auc"),
    [(0, 0, 0.5), (math.log(3), 0, 0.75), (0, 0.1, 0.595), (800, 0, 1), (0, 1, 1)],
)
def test_the_best_auc_is_the_area_under_that(epsilon, delta, auc):
    assert telling.best_auc(epsilon, delta) == pytest.approx(auc)


def test_the_share_found_is_read_off_where_so_many_others_are_mistaken():
    # ranks from low to high: of 1,000 others 10 lie above 40 of 100 members, and 5 of these above none
    others, members = np.zeros(4, int), np.zeros(4, int)
    others[:], members[:] = [900, 90, 5, 5], [30, 30, 40, 0]
    found = found_at(np.array([others, members]), 0.01)
    assert (found.value, found.n) == (0.4, 100)
    assert found.low < 0.05  # the 1 % may lie beyond the 40 ...
    assert found.high > 0.7  # ... or within the 30 before them
