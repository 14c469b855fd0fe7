"""The live dashboard, served as people serve it, in a real browser."""

import os
import runpy
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox.storage import Store

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]
MADE_UP = Path(__file__).parents[1] / "unit" / "dashboards" / "conftest.py"
READY = "text=checked for new results"
DRAWN = "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    store = Store(f"sqlite:///{folder}/ndl.db")
    names = runpy.run_path(str(MADE_UP))
    made = names["fill"](store)
    yield SimpleNamespace(folder=folder, made=made, **{k: names[k] for k in ("CRIME_DRIFT", "DISTRICTS")})
    store.close()


@pytest.fixture(scope="module")
def address(story):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NDL_")}
    environment |= {"NDL_STORAGE__FOLDER": str(story.folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sandbox.cli", "dashboard", "--port", str(port)]
    with (story.folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/", server, story.folder / "log")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(20)


def _wait_until_it_answers(address, server, log):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page that remembers every request it made and every error it reported."""
    page = browser.new_page(viewport={"width": 1440, "height": 1300})
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("websocket", lambda channel: page.asked.append(channel.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: _keep(page.errors, message))
    yield page
    page.close()


def _keep(errors, message):
    # Opened at /model, Streamlit's page first looks for its server below /model, then finds it above.
    probing = "/model/_stcore/" in message.location.get("url", "")
    if message.type == "error" and not probing:
        errors.append(message.text)


def test_all_models_are_shown_and_a_link_leads_to_the_one_that_drifts(page, address):
    page.goto(address)
    page.wait_for_selector(READY)
    body = page.inner_text("body")
    for words in ("Falls risk 3", "Formal outcome of a recorded crime 1", "Reader of handwritten digits 1",
                  "Needs a decision.", "0.687", "quarantined", "Inside view"):  # fmt: skip
        assert words in body
    page.click("table >> text=Formal outcome of a recorded crime 1")
    page.wait_for_selector("h1:has-text('Formal outcome of a recorded crime, version 1 · champion')")
    page.wait_for_selector(DRAWN)
    assert "1 of 5" in page.inner_text("body")


@pytest.mark.parametrize("path", ["", "model?model=falls-risk%2F3", "model?model=digit-reader%2F1"])
@pytest.mark.parametrize("width", [1440, 800])
def test_a_page_asks_only_this_machine_reports_no_error_and_is_accessible(page, address, path, width):
    from axe_playwright_python.sync_playwright import Axe

    page.set_viewport_size({"width": width, "height": 1300})
    page.goto(address + path)
    page.wait_for_selector(READY)
    if path:
        page.wait_for_selector(DRAWN)
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [
        (v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert page.errors == []
    outside = [
        u
        for u in page.asked
        if not u.startswith((address, address.replace("http", "ws", 1), "data:", "blob:"))
    ]
    assert outside == []


def test_a_new_wave_appears_by_itself(page, address, story):
    page.goto(address + "model?model=formal-outcome%2F1")
    page.wait_for_selector("text=Wave 2018-07 of 31 July 2018")
    page.evaluate("window.neverReloaded = true")
    wave = story.made.wave("crime", "2019-07", date(2019, 7, 31), 20114, at=story.made.store.clock())
    story.made.evaluate("formal-outcome/1", wave, 1.0, 0.757, quality=0.641, bias=0.09, drift=story.CRIME_DRIFT,
                        groups=story.DISTRICTS, at=story.made.store.clock())  # fmt: skip
    page.wait_for_selector("text=Wave 2019-07 of 31 July 2019", timeout=15000)
    page.wait_for_selector(".card >> text=0.641", timeout=15000)
    assert page.evaluate("window.neverReloaded") is True
    assert page.errors == []


def test_the_model_in_the_address_is_the_one_shown_and_choosing_another_changes_it(page, address):
    page.goto(address + "model?model=digit-reader%2F1")
    page.wait_for_selector("h1:has-text('Reader of handwritten digits')")
    page.click("[data-testid=stSelectbox] [role=combobox], [data-testid=stSelectbox] input")
    page.click("[role=option]:has-text('Falls risk 3')")
    page.wait_for_selector("h1:has-text('Falls risk, version 3')")
    assert "falls-risk" in page.url


def test_headers_forbid_everything_from_elsewhere_and_another_host_name_is_refused(address):
    with urllib.request.urlopen(address) as answer:
        headers = answer.headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "script-src 'self' 'sha256-" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    asked = urllib.request.Request(address, headers={"Host": "rebound.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(asked)


def test_it_listens_on_the_loopback_address_only(address):
    port = f"{int(address.rsplit(':', 1)[1].strip('/')):04X}"
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line
    ]
    assert [a for a in listening if a.endswith(f":{port}")] == [f"0100007F:{port}"]
