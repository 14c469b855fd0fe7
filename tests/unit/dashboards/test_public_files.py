"""The public site is written all at once, the same bytes for the same releases, and leads nowhere else."""

import gzip
import hashlib
import json
import re
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dashboards.public.record import document
from dashboards.public.site import build, render
from sandbox.errors import Invalid, Refused
from tests.unit.dashboards.releases import CONTENTS, content, every, release

ATOM = "{http://www.w3.org/2005/Atom}"


def test_the_published_record_has_the_digest_the_page_names(tmp_path):
    cleared = release(content())
    build([cleared], tmp_path / "public")
    folder = tmp_path / "public/models/formal-outcome"
    digest = hashlib.sha256((folder / "record.json").read_bytes()).hexdigest()
    assert digest == cleared.id
    assert f"<code>{digest[:16]}</code>" in (folder / "index.html").read_text()
    assert json.loads(document(cleared)) == cleared.content


def test_the_same_releases_give_the_same_bytes_in_any_order(tmp_path):
    assert render(every()) == render(every()[::-1])
    for name in ("one", "two"):
        build(every(), tmp_path / name)
    one, two = (
        {f.relative_to(tmp_path / n): f.read_bytes() for f in (tmp_path / n).rglob("*") if f.is_file()}
        for n in ("one", "two")
    )
    assert one == two


def test_every_page_weighs_less_than_15_kb_gzipped():
    for name, file in render(every()).items():
        assert len(gzip.compress(file)) < 15_000, name


def test_building_again_removes_pages_of_models_that_are_gone_and_leaves_nothing_behind(tmp_path):
    build(every(), tmp_path / "public")
    written = build([release(content())], tmp_path / "public")
    assert sorted(written) == sorted(f for f in (tmp_path / "public").rglob("*") if f.is_file())
    assert not (tmp_path / "public/models/digits").exists()
    assert [f.name for f in tmp_path.iterdir()] == ["public"]


def test_a_failed_build_leaves_the_old_site_as_it_was(tmp_path):
    build(every(), tmp_path / "public")
    before = (tmp_path / "public/index.html").read_bytes()
    with pytest.raises(Invalid):
        build([release(content(format="other"))], tmp_path / "public")
    assert (tmp_path / "public/index.html").read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["public"]


def test_a_folder_that_holds_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(Refused, match="holds something else"):
        build(every(), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_builders_at_the_same_time_leave_one_whole_site(tmp_path):
    sites = [[release(content(name))] for name in CONTENTS]
    threads = [threading.Thread(target=build, args=(s, tmp_path / "public")) for s in sites * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    built = {
        f.relative_to(tmp_path / "public").as_posix() for f in (tmp_path / "public").rglob("*") if f.is_file()
    }
    assert built in [set(render(s)) for s in sites]
    assert [f.name for f in tmp_path.iterdir()] == ["public"]


def test_every_link_and_anchor_of_every_page_leads_somewhere():
    files = render(every())
    for name, file in files.items():
        if name.endswith(".html") and name != "404.html":
            text = file.decode()
            for link in re.findall(r'(?:href|src)="([^"]*)"', text):
                if link.startswith("#"):
                    assert f'id="{link[1:]}"' in text
                elif not link.startswith("mailto:"):
                    folder = Path("/site", name).parent
                    assert (folder / link).resolve().relative_to("/site").as_posix() in files, (name, link)


def test_the_feed_is_atom_with_lasting_ids_newest_first():
    first, again = (ElementTree.fromstring(render(every()[:n])["changes.atom"]) for n in (1, 4))
    entries = first.findall(f"{ATOM}entry")
    assert [e.find(f"{ATOM}updated").text for e in entries] == [
        "2018-08-02T00:00:00Z", "2016-08-19T00:00:00Z", "2016-08-11T00:00:00Z"
    ]  # fmt: skip
    for feed in (first, again):
        assert all(feed.find(f"{ATOM}{tag}") is not None for tag in ("id", "title", "updated", "link"))
    ids = [e.find(f"{ATOM}id").text for e in again.findall(f"{ATOM}entry")]
    assert len(set(ids)) == len(ids)
    assert {e.find(f"{ATOM}id").text for e in entries} <= set(ids)
    assert first.find(f"{ATOM}id").text == again.find(f"{ATOM}id").text


def test_nothing_is_fetched_from_elsewhere():
    for name, file in render(every()).items():
        if name.endswith((".html", ".css", ".svg")):
            outward = re.sub(r"http://www\.w3\.org/\d+/svg", "", file.decode())
            assert "http:" not in outward
            assert "https:" not in outward
            assert "@import" not in outward
            assert " style=" not in outward
