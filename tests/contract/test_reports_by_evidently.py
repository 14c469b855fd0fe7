"""Evidently's own report of any kind of task is made, loads nothing from anywhere and says what it is of."""

import re
import stat

import numpy as np
import pyarrow as pa
import pytest

from evaluators import evidently_report
from evaluators.evidently_report import make_report
from evaluators.reports import report_file, reported
from sandbox.catalogue.encoding import Encoding
from sandbox.roles import Person, Role
from tests.unit.evaluators.conftest import card, people, scorer, settings, store, world

__all__ = ["card", "people", "scorer", "settings", "store", "world"]

OMAR = Person("omar", frozenset({Role.OVERSEER}))


def remote_resources(page):
    return re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:)[^"]+"', page)


@pytest.mark.parametrize("task", ["fell", "kind", "cost"])
def test_a_report_of_any_kind_of_task_is_a_page_that_loads_nothing(
    world, store, settings, people, scorer, card, task, monkeypatch
):
    monkeypatch.setattr(evidently_report, "AT_MOST", 300)
    world.wave("w1", people(700, seed=1))
    world.wave("w2", people(800, seed=2, shift=10))
    world.model(task=task)
    scorer.encoding = Encoding(card, task)
    file = make_report(store, settings, "age/1", "w2", OMAR, load=lambda *_: scorer)
    page = file.read_text()
    assert file == report_file(settings, "age/1", "w2")
    assert reported(settings, "age/1") == ["w2"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "age/1 on 300 records of wave w2, beside 300 of wave w1." in page
    assert "no verdict of the sandbox" in page
    assert "Data Drift Summary" in page
    assert remote_resources(page) == []
    line = store.audit_lines()[-1]
    assert (line.by, line.action, line.subject) == ("omar", "report.make", "age/1|falls/w2")


def test_the_first_wave_a_column_without_values_and_unknown_outcomes_make_a_report_too(
    world, store, settings, people, scorer
):
    table = people(60, seed=4)
    nothing = pa.nulls(60, table.column("ward").type)
    table = table.set_column(table.schema.get_field_index("ward"), "ward", nothing)
    fell = pa.array(table.column("fell").to_pylist(), mask=np.arange(60) < 5)
    world.wave("w1", table.set_column(table.schema.get_field_index("fell"), "fell", fell))
    world.model()
    page = make_report(store, settings, "age/1", "falls/w1", OMAR, load=lambda *_: scorer).read_text()
    assert "age/1 on 60 records of wave w1. " in page
    assert "Classification" not in page.split("</p>", 1)[1].split("<script", 1)[0]
