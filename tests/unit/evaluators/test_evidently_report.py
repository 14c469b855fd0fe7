"""An overseer gets Evidently's whole report, on a bounded sample; it stays inside and asks nobody for anything."""

import re
import stat

import numpy as np
import pyarrow as pa
import pytest

from evaluators import evidently_report
from evaluators.evidently_report import make_report
from evaluators.reports import report_file, reported
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NotFound, Refused
from sandbox.lifecycle import WaveState
from sandbox.roles import Person, Role

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


def test_the_same_records_are_drawn_again_and_never_more_than_allowed(
    world, people, scorer, card, monkeypatch
):
    monkeypatch.setattr(evidently_report, "AT_MOST", 200)
    wave = world.wave("w1", people(1200, seed=3))
    one, two = (evidently_report.sample(wave, scorer, Encoding(card, "fell"), "key") for _ in range(2))
    assert len(one.frame) == 200
    assert one.frame.equals(two.frame)
    assert not one.frame.equals(evidently_report.sample(wave, scorer, Encoding(card, "fell"), "other").frame)


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


def test_a_report_is_refused_in_words(world, store, settings, people, scorer):
    world.wave("w1", people(9))
    world.wave("w2", people(50), state=WaveState.QUARANTINED)
    world.model()
    developer = Person("amara", frozenset({Role.DEVELOPER}))
    for wave, person, words in (
        ("w1", OMAR, "has 9 records; a report needs 10"),
        ("w2", OMAR, "not an accepted wave"),
        ("w1", developer, "make a report that shows single values"),
    ):
        with pytest.raises(Refused, match=words):
            make_report(store, settings, "age/1", wave, person, load=lambda *_: scorer)
    with pytest.raises(NotFound):
        make_report(store, settings, "age/1", "w9", OMAR, load=lambda *_: scorer)
    assert reported(settings, "age/1") == []


@pytest.mark.parametrize(
    "names", [("age/1", "../x"), ("age", "w1"), ("../../age/1", "w1"), ("age/1", ".hidden")]
)
def test_no_name_leads_out_of_the_folder_of_reports(settings, names):
    with pytest.raises(ValueError, match="names no model"):
        report_file(settings, *names)
