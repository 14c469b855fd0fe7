"""An evaluator is a function: named once, honest about what it cannot say, the same every time."""

import pytest

from evaluators import base
from evaluators.base import Context, Evaluator, evaluator
from evaluators.catalogue import all_evaluators, evaluators_for
from evaluators.counting import EVERYDAY, builder_of, count_batches
from sandbox.records import Measurement
from sandbox.tally import Tally


def measured(*measurements):
    return Evaluator("x", 1, base.KINDS, lambda _context: measurements).measure(None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_is_undefined(value):
    (m,) = measured(Measurement("auc", value, 10, low=0.1, high=0.2))
    assert (m.value, m.low, m.high, m.status) == (None, None, None, "undefined")


def test_a_bound_that_is_no_number_is_left_out():
    (m,) = measured(Measurement("auc", 0.5, 10, low=float("nan"), high=1.0))
    assert (m.value, m.low, m.high, m.status) == (0.5, None, 1.0, "ok")


def test_measuring_the_same_thing_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        measured(Measurement("auc", 0.5, 10), Measurement("auc", 0.6, 10))


def test_two_modules_cannot_take_one_name():
    all_evaluators()
    with pytest.raises(ValueError, match="two evaluators"):

        @evaluator("discrimination", version=1)
        def mine(_context):
            yield from ()


def test_random_numbers_are_a_function_of_the_key():
    a, b, c = (Context(None, None, None, key=key).rng("ece").random() for key in ("k", "k", "l"))
    assert a == b != c


def test_every_kind_of_task_has_evaluators_and_names_are_unique():
    for kind in base.KINDS:
        assert "discrimination" in {e.name for e in evaluators_for(kind)}
    names = [e.name for e in all_evaluators()]
    assert len(names) == len(set(names))
    assert "expected" not in {e.name for e in evaluators_for("regression")}


@pytest.mark.parametrize("kind", sorted(base.KINDS))
@pytest.mark.parametrize("rows", [0, 1, 5, 3000])
def test_every_evaluator_answers_for_waves_of_any_size(card, scorer, people, kind, rows):
    from evaluators import scoring
    from sandbox.catalogue.encoding import Encoding

    name = {"binary": "fell", "multiclass": "kind", "regression": "cost"}[kind]
    encoding = Encoding(card, name)
    scorer.encoding = encoding

    builders = [EVERYDAY, *(b for e in evaluators_for(kind) if (b := builder_of(e)))]

    def tally(n, seed):
        (batch,) = scoring.score([people(n, seed=seed)], scorer, encoding)
        made = count_batches([batch], builders, n, f"{kind} {seed}")
        assert not [each for each in made if isinstance(each, Exception)]
        return Tally({name: table for each in made for name, table in each.tables.items()})

    now = Context(tally(rows, 2), card, card.task(name), tally(3000, 1), "key")
    for each in evaluators_for(kind):
        found = each.measure(now)
        assert found, each.name
        for m in found:
            assert (m.value is None) == (m.status != "ok"), m
            if rows < 10:
                assert m.status != "ok", m
            if m.low is not None:
                assert m.low <= m.value <= m.high, m
        assert each.measure(now) == found
