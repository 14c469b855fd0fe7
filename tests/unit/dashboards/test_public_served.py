"""The public site answers questions only, from its own folder, and its commands say what they did."""

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from dashboards.public.cli import latest_releases, site
from dashboards.public.serve import app
from dashboards.public.site import build
from sandbox.errors import NotFound
from sandbox.records import Event
from sandbox.storage.store import Store
from tests.unit.dashboards.releases import content, every, release


@pytest.fixture
def client(tmp_path):
    build(every(), tmp_path / "public")
    return TestClient(app(tmp_path / "public"))


@pytest.mark.parametrize(
    "path", ["/", "/models/digits/", "/static/site.css", "/no-such-page", "/models/digits"]
)
def test_every_answer_carries_the_security_headers(client, path):
    headers = client.get(path, follow_redirects=False).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/models/digits/record.json", "application/json"), ("/static/icon.svg", "image/svg+xml"),
     ("/models/digits/changes.atom", "application/atom+xml"), ("/static/site.css", "text/css")],
)  # fmt: skip
def test_files_are_served_gzipped_under_their_type(client, path, kind):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert len(answer.content) < 500 or answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/static/../../secret.txt"]
)
def test_nothing_outside_the_folder_is_served(client, tmp_path, path):
    (tmp_path / "secret.txt").write_text("secret")
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Page not found" in answer.text
    assert client.get("/static/%00").status_code == 404


def test_the_site_only_answers_questions(client):
    assert client.post("/").status_code == 405


def test_serving_what_was_never_built_says_how_to_build_it(tmp_path):
    with pytest.raises(NotFound, match="ndl site build"):
        app(tmp_path)


class Box:
    """What the commands use of sandbox.api.Sandbox."""

    def __init__(self, folder):
        from rich.console import Console

        self.folder = folder
        self.store = Store(f"sqlite:///{folder}/ndl.db")
        self.console = Console()


def test_ndl_site_build_shows_the_latest_release_of_each_model(tmp_path):
    box = Box(tmp_path)
    with box.store.transaction() as tx:
        for each in (
            release(content(), day=3),
            release(content(version=3), day=9),
            release(content("digits")),
        ):
            tx.add(each, Event("omar", "release", each.model))
    assert [(r.model, r.content["version"]) for r in latest_releases(box.store)] == [
        ("digits", 1), ("formal-outcome", 3)
    ]  # fmt: skip
    outcome = CliRunner().invoke(site, ["build"], obj=box, catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "2 models" in outcome.output
    assert "Version 3," in (tmp_path / "public/models/formal-outcome/index.html").read_text()


def test_ndl_site_build_before_any_release_says_so_on_the_page(tmp_path):
    CliRunner().invoke(
        site, ["build", "--out", str(tmp_path / "out")], obj=Box(tmp_path), catch_exceptions=False
    )
    assert "No model has been released" in (tmp_path / "out/index.html").read_text()
