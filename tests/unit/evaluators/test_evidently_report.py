"""An overseer's report is on a bounded sample; who may not have it is refused in words, and no name leads elsewhere."""

import pytest

from evaluators import evidently_report
from evaluators.evidently_report import make_report
from evaluators.reports import report_file, reported
from sandbox.catalogue.encoding import Encoding
from sandbox.errors import NotFound, Refused
from sandbox.lifecycle import WaveState
from sandbox.roles import Person, Role

OMAR = Person("omar", frozenset({Role.OVERSEER}))


def test_the_same_records_are_drawn_again_and_never_more_than_allowed(
    world, people, scorer, card, monkeypatch
):
    monkeypatch.setattr(evidently_report, "AT_MOST", 200)
    wave = world.wave("w1", people(1200, seed=3))
    one, two = (evidently_report.sample(wave, scorer, Encoding(card, "fell"), "key") for _ in range(2))
    assert len(one.frame) == 200
    assert one.frame.equals(two.frame)
    assert not one.frame.equals(evidently_report.sample(wave, scorer, Encoding(card, "fell"), "other").frame)


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
