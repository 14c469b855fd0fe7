"""How alike two versions are, on ten records that a reader can follow, and against scipy.

before   .1 .2 .3 .4 .6 .7 .8 .9 .9 .9
now      .1 .2 .3 .6 .4 .7 .8 .9 .9 .1      two decisions differ on .4 and .6, one on the last
"""

import numpy as np
import pytest

from evaluators import scoring
from evaluators.base import Context
from evaluators.cases import Cases
from evaluators.counting import Builder, count_batches
from evaluators.stability import count, rank_correlation, stability
from sandbox.catalogue.encoding import Encoding
from tests.spec.test_robustness_by_hand import CARD, people

BEFORE = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9])
NOW = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9, 0.9, 0.1])


class Says:
    def __init__(self, answers):
        self.answers = answers

    def probabilities(self, features):
        assert len(features["numbers"]) == len(self.answers)
        return self.answers


def measured(task, now, before, champion=None):
    encoding = Encoding(CARD, task)
    batches = scoring.score([people().slice(0, len(now))], Says(now), encoding)
    builder = Builder("stability", 1, count, sample=100, beside=True)
    others = {"before": before, "champion": champion}
    beside = {other: Says(said) for other, said in others.items() if said is not None}
    (tally,) = count_batches(batches, [builder], len(now), "k", beside)
    return {m.name: m for m in stability(Context(tally, CARD, CARD.task(task), minimum=3))}


def test_two_classes_by_hand():
    found = measured("fell", NOW, BEFORE)
    assert (found["version_flips"].value, found["version_flips"].n) == (0.3, 10)
    assert found["version_shift"].value == pytest.approx((0.2 + 0.2 + 0.8) / 10, abs=0.002)
    assert -1 < found["version_ranks"].low < found["version_ranks"].value < found["version_ranks"].high < 1


def test_several_classes_by_hand():
    before = np.array([[0.6, 0.4, 0.0]] * 10)
    now = np.array([[0.6, 0.4, 0.0]] * 6 + [[0.4, 0.6, 0.0]] * 4)
    found = measured("kind", now, before)
    assert found["version_flips"].value == 0.4
    assert found["version_shift"].value == pytest.approx(0.4 * 0.2, abs=0.002)
    assert "version_ranks" not in found


def test_a_number_by_hand():
    found = measured("cost", 1 - 2 * NOW, 1 - 2 * BEFORE)
    assert found["version_shift"].value == pytest.approx(2 * (0.2 + 0.2 + 0.8) / 10, abs=0.004)
    assert "version_flips" not in found


def test_the_same_answers_do_not_differ():
    found = measured("fell", BEFORE, BEFORE)
    assert found["version_flips"].value == found["version_shift"].value == 0
    assert found["version_ranks"].value == pytest.approx(1)


def test_the_champion_is_another_than_the_version_before_by_hand():
    champion = np.where(np.arange(10) < 2, 0.9, NOW)  # decides two records otherwise
    found = measured("fell", NOW, BEFORE, champion)
    assert (found["version_flips"].value, found["champion_flips"].value) == (0.3, 0.2)
    assert found["champion_shift"].value == pytest.approx((0.8 + 0.7) / 10, abs=0.002)
    assert found["champion_flips"].low < 0.2 < found["champion_flips"].high
    assert -1 < found["champion_ranks"].low < found["champion_ranks"].value < found["version_ranks"].high


def test_a_first_version_has_none_before_it_and_no_champion_and_says_so():
    found = measured("fell", NOW, None)
    for name in ("flips", "shift", "ranks"):
        assert (found[f"version_{name}"].value, found[f"version_{name}"].status) == (
            None,
            "no earlier version",
        )
        assert (found[f"champion_{name}"].value, found[f"champion_{name}"].status) == (
            None,
            "no other version is champion",
        )


def test_the_rank_correlation_is_scipys():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(4)
    joint = rng.integers(0, 5, (6, 8))
    first, second = np.nonzero(np.ones_like(joint))
    times = joint.ravel()
    expected = spearmanr(np.repeat(first, times), np.repeat(second, times)).statistic
    assert rank_correlation(Cases.plain(joint)).value == pytest.approx(expected)
    assert rank_correlation(Cases.plain(np.array([[3, 4]]))) is None


def test_the_interval_of_the_rank_correlation_covers():
    from scipy.stats import norm

    rng, held, tried = np.random.default_rng(5), 0, 400
    true = 6 / np.pi * np.arcsin(0.7 / 2)  # Spearman's of a bivariate normal with correlation 0.7
    for _ in range(tried):
        x = rng.normal(size=200)
        y = 0.7 * x + np.sqrt(1 - 0.49) * rng.normal(size=200)
        joint = np.histogram2d(norm.cdf(x), norm.cdf(y), 64, ((0, 1), (0, 1)))[0].astype(int)
        found = rank_correlation(Cases.plain(joint))
        held += found.low <= true <= found.high
    assert held / tried >= 0.945 - 3.2 * np.sqrt(0.945 * 0.055 / tried)
