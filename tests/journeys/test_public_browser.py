"""The public pages in a real browser: accessible, reachable by keyboard, and alone with our server."""

import asyncio
import hashlib
import json
import shutil
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dashboards.public.serve import app
from dashboards.public.site import build
from sandbox.records import Release

CHROMIUM = "/usr/bin/chromium"
RELEASES = Path(__file__).parents[1] / "unit/dashboards/releases.json"
PAGES = [
    "",
    "models/formal-outcome/",
    "models/digits/",
    "models/falls-risk/",
    "models/burden/",
    "no-such-page",
]
WIDTHS = [1200, 320]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium here (apt-get install chromium)"),
]


def release(of):
    digest = hashlib.sha256(json.dumps(of, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return Release(digest, of["model"], f"{of['model']}/{of['version']}", of, at, "omar")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The register, served by the real server on a free port."""
    import uvicorn

    folder = tmp_path_factory.mktemp("site") / "public"
    build([release(of) for of in json.loads(RELEASES.read_text()).values()], folder)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app(folder), log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    arguments = [
        "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page()
    yield page
    page.close()


def show(page, address, width=1200, unfold=True):
    """Goes there; unfolds what is folded, so that it is looked at too."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    if unfold:
        for summary in page.locator("summary").all():
            summary.click()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_fault_and_nothing_sticks_out_sideways(page, address, path, width):
    from axe_playwright_python.sync_playwright import Axe

    show(page, address + path, width)
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_asks_only_our_server_and_only_for_itself_and_its_style(page, address):
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    for path in PAGES[:-1]:
        asked.clear()
        show(page, address + path)
        page.wait_for_load_state("networkidle")
        assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}
        named = {url.removeprefix(address) for url in asked} - {"static/icon.svg"}
        assert named == {path, "static/site.css"}
    assert complaints == []


def test_a_page_has_no_script_and_would_run_none(page, address):
    show(page, address + PAGES[1])
    assert page.locator("script").count() == 0
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.ran = true\">');"
        "document.head.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))"
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None


def test_everything_to_act_on_is_reached_by_tab_in_order_with_a_visible_focus(page, address):
    show(page, address + PAGES[1], unfold=False)
    wanted = page.locator("a, summary, [tabindex]").evaluate_all(
        "all => all.filter(e => !e.closest('details:not([open])') || e.tagName == 'SUMMARY').map(e => e.outerHTML)"
    )
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML"))
        style = page.evaluate("getComputedStyle(document.activeElement).backgroundColor")
        assert style == "rgb(255, 221, 0)", reached[-1]
    assert reached == wanted
    assert "Skip to main content" in reached[0]


def test_the_tables_behind_the_chart_open_by_keyboard(page, address):
    show(page, address + PAGES[1], unfold=False)
    table = page.get_by_role("table", name="Every test")
    assert not table.is_visible()
    page.locator("summary", has_text="Show these figures as a table").focus()
    page.keyboard.press("Enter")
    assert table.is_visible()
    assert table.get_by_role("row").count() == 4


def test_the_chart_is_told_in_words_and_its_marks_stand_where_the_figures_say(page, address):
    show(page, address + PAGES[1])
    chart = page.get_by_role("img", name="Chart: 0.757 on 31 Jul 2016, 0.687 on 31 Jul 2018.")
    heights = [c.bounding_box()["y"] for c in chart.locator("circle").all()]
    assert len(heights) == 3
    fell = (heights[1] - heights[0]) / (heights[2] - heights[0])
    assert fell == pytest.approx((0.757 - 0.726) / (0.757 - 0.687), abs=0.02)


def test_from_the_register_to_a_model_and_back(page, address):
    show(page, address)
    page.get_by_role("link", name="Formal outcome of a recorded crime").click()
    assert page.get_by_role("heading", level=1).inner_text().endswith("Formal outcome of a recorded crime")
    with page.expect_response("**/record.json") as response:
        page.get_by_role("link", name="get this record as data (JSON)").click()
    assert response.value.json()["model"] == "formal-outcome"
    page.go_back()
    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Register").click()
    assert page.get_by_role("link", name="Handwritten digits").is_visible()
