"""Hostile words stay words on the public pages, and a release with a fault is refused with every fault named."""

import html
from xml.etree import ElementTree

import pytest

from dashboards.public.site import build, render
from sandbox.errors import Invalid
from tests.unit.dashboards.releases import Visible, content, page, release

HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "{{ 7 * 191 }}",
    "]]> & </title>", "javascript:alert(1)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_stay_words(text):
    of = content()
    of["words"] = dict.fromkeys(of["words"], text)
    of["dataset"] |= {"title": text, "attribution": text, "licence": text, "unit_means": text}
    of["task"]["question"] = of["privacy"]["unit"] = of["purpose"] = text
    of["findings"][0]["sentence"] = of["history"][0]["what"] = text
    of["waves"][-1]["groups"][0] |= {"label": text, "attribute_title": text}
    files = render([release(of)])
    for name in ("index.html", "models/formal-outcome/index.html"):
        written = files[name].decode()
        seen = Visible(written)
        assert seen.tags <= Visible(page(content())).tags | {"ul", "li"}
        assert not [
            a for a, value in seen.attributes if a.startswith("on") or (value or "").startswith("java")
        ]
        assert text in html.unescape(written)
    assert text in "".join(ElementTree.fromstring(files["models/formal-outcome/changes.atom"]).itertext())


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\x00", "\x1b", "\x85"])
def test_words_with_controls_or_direction_overrides_reach_no_page(character):
    of = content()
    of["words"]["title"] = of["waves"][-1]["groups"][0]["label"] = f"safe{character}elif"
    with pytest.raises(Invalid, match="words.title") as refusal:
        page(of)
    assert "waves.2.groups.0.label" in str(refusal.value)
    assert character not in str(refusal.value)


@pytest.mark.parametrize("model", ["../../etc", "a/b", "", "..", "A", "a\n", ".x", "a b"])
def test_a_model_name_that_is_no_folder_name_is_refused(model, tmp_path):
    with pytest.raises(Invalid, match="model"):
        build([release(content(model=model))], tmp_path / "public")
    assert not (tmp_path / "public").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_no_number_is_refused(value):
    of = content()
    of["waves"][0]["measures"]["auc"]["value"] = value
    with pytest.raises(Invalid, match="waves.0.measures.auc.value"):
        page(of)


def test_a_day_that_never_was_is_refused():
    with pytest.raises(Invalid, match="updated: is no day of the calendar"):
        page(content(updated="2026-02-30"))


def test_a_release_with_several_faults_is_refused_with_all_of_them():
    of = content(standing="great", format="ndl-release/9")
    del of["words"]["contact"]
    with pytest.raises(Invalid) as refusal:
        page(of)
    assert {p.where for p in refusal.value.problems} == {"standing", "format", "words.contact"}


def test_a_content_changed_after_it_was_cleared_is_refused():
    cleared = release(content())
    cleared.content["waves"][-1]["measures"]["auc"]["value"] = 0.99
    with pytest.raises(Invalid, match="digest"):
        render([cleared])


def test_two_releases_of_one_model_are_refused():
    with pytest.raises(Invalid, match="formal-outcome: has two releases"):
        render([release(content()), release(content(version=3))])
