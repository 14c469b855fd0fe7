"""The checking process: what it accepts and refuses, and what happens when it does not behave."""

import importlib.util
import os
from pathlib import Path

import pytest

from sandbox.catalogue.inputs import Inputs
from sandbox.errors import Invalid, Unfit
from sandbox.submissions.graph import checker
from sandbox.submissions.graph.terms import Ref
from sandbox.submissions.isolation.backend import Limits

_spec = importlib.util.spec_from_file_location(
    "graph_cases", Path(__file__).parents[2] / "unit/submissions/graph/cases.py"
)
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

INPUTS = Inputs("binary", 1, numbers=12, categories=(6,) * 12)


def sound():
    made = cases.Builder()
    return made.graph(made.node("aten.relu.default", made.x)).to_bytes()


def test_a_sound_graph_is_accepted_under_its_sha256_and_remembered(monkeypatch):
    checked = checker.check(sound(), INPUTS)
    assert checked.summary.trainable == 12
    monkeypatch.setattr(checker, "_run", None)
    assert checker.check(sound(), INPUTS) is checked


def test_one_graph_with_every_operator_passes_the_sealed_checker():
    made = cases.Builder()
    results = []
    for op, number in cases.EVERY:
        case = cases.CASES[op][number]
        kwargs = case[-1] if case and isinstance(case[-1], dict) else {}
        result = made.node(op, *[made.argument(a) for a in (case[:-1] if kwargs else case)], **kwargs)
        result = made.node("getitem", result, 0) if op in cases.MANY else result
        floats = made.node("aten._to_copy.default", result, dtype=cases.F32)
        results.append(made.node("aten.sum.default", floats))
    total = made.node("aten.stack.default", tuple(results), 0)
    assert checker.check(made.graph(total).to_bytes(), INPUTS).summary.nodes == len(made.nodes)


def test_a_refusal_comes_back_with_the_developers_own_line():
    made = cases.Builder()
    graph = made.graph(made.node("aten.select.int", Ref("numbers"), 1, 12))
    with pytest.raises(Invalid, match=r"at model\.py:7: cannot run"):
        checker.check(graph.to_bytes(), INPUTS)


def test_bytes_that_are_no_graph_are_refused():
    """Which bytes are one is asked without a process, in tests of the document and of hostile ones."""
    with pytest.raises(Invalid):
        checker.check(os.urandom(500), INPUTS)


def test_a_process_that_takes_too_long_is_ended_and_the_graph_not_blamed_before_it_started():
    with pytest.raises(Unfit, match="does not start here"):
        checker.check(b"x", INPUTS, Limits(wall_seconds=0))


def answering(monkeypatch, said, code=0, timed_out=False):
    answer = checker._Answer(code, timed_out, b"ready", said)
    monkeypatch.setattr(checker, "_run", lambda request, limits: answer)


@pytest.mark.parametrize(
    "said",
    [b"", b"ok", b"null", b"[]", b"{}", b'{"summary":{}}', b'{"summary":1}', b'{"problems":[]}',
     b'{"problems":[["a","b"]]}', b'{"problems":[["a","b",1]]}', b'{"summary":{},"problems":[]}',
     b"[" * 10_000, b'{"problems":[["a","b","' + b"c" * 900 + b'"]]}'],
)  # fmt: skip
def test_an_odd_answer_is_a_refusal(monkeypatch, said):
    answering(monkeypatch, said)
    with pytest.raises(Invalid):
        checker.check(b"odd" + said, INPUTS)


@pytest.mark.parametrize(("code", "timed_out"), [(-11, False), (1, False), (-24, False), (0, True)])
def test_a_crash_or_a_hang_is_a_refusal_whatever_was_said_before(monkeypatch, code, timed_out):
    answering(monkeypatch, b'{"summary":{}}', code, timed_out)
    with pytest.raises(Invalid, match="was ended"):
        checker.check(b"crash", INPUTS)


def test_what_the_process_says_is_escaped(monkeypatch):
    answering(monkeypatch, b'{"problems":[["a","\\u001b[31m","c"]]}')
    with pytest.raises(Invalid) as refusal:
        checker.check(b"escape", INPUTS)
    assert "\x1b" not in str(refusal.value)
