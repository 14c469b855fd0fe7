"""The live dashboard's entry script: finds the store, routes to a screen, and watches for new results.

Started by dashboards.live.serve; settings come from NDL_CONFIG and the environment, as everywhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import streamlit as st  # noqa: TID253 - Streamlit runs this file, nobody imports it

from dashboards import views
from dashboards.live import reports
from dashboards.live.markup import block, tag
from dashboards.live.screens import model as model_screen
from dashboards.live.screens import overview as overview_screen
from dashboards.live.screens import work as work_screen
from dashboards.panels import ModelName, ModelPanel, OverviewPanel
from dashboards.work import work
from evaluators.policy import load_policy
from evaluators.reports import reported
from sandbox import settings
from sandbox.storage import Store

_STATIC = Path(__file__).parent / "static"
_INSIDE = (
    "Inside view: exact figures, for overseers and custodians only. It answers on this machine alone and "
    "nothing on it may be published; the public pages are made from cleared releases."
)


@st.cache_resource
def _store(url: str) -> Store:
    return Store(url)


@lru_cache(maxsize=4)
def _overview(url: str, _number: int) -> OverviewPanel:
    policy = load_policy(settings.load().evaluation.policy)
    return views.overview(_store(url), policy.monitoring)


@lru_cache(maxsize=4)
def _names(url: str, _number: int) -> tuple[ModelName, ...]:
    return views.model_names(_store(url))


@lru_cache(maxsize=64)
def _model(url: str, model_version: str, _number: int) -> ModelPanel:
    return views.model(_store(url), model_version)


def main() -> None:
    st.set_page_config("NDL Sandbox", str(_STATIC / "icon.png"), layout="wide")
    st.html(_STATIC / "live.css")
    url = settings.load().database_url
    number = _store(url).change_number()
    pages = [
        st.Page(lambda: _all_models(url, number), title="All models", url_path="overview", default=True),
        st.Page(lambda: _one_model(url, number), title="One model", url_path="model"),
    ]
    page = st.navigation(pages, position="top")
    st.html(block(tag("p", _INSIDE, css="note")))
    page.run()
    _watch(url, number)


def _all_models(url: str, number: int) -> None:
    overview_screen.render(_overview(url, number), datetime.now(UTC), lambda: _jobs(url))


@st.fragment(run_every="2s")
def _jobs(url: str) -> None:
    """Drawn again by itself: how far a job is changes nothing that is audited."""
    work_screen.render(work(_store(url)), datetime.now(UTC))


def _one_model(url: str, number: int) -> None:
    names = {name.id: name for name in _names(url, number)}
    if not names:
        overview_screen.render(_overview(url, number), datetime.now(UTC))
        return
    title, choice = st.columns([2.4, 1], gap="large", vertical_alignment="bottom")
    with choice:
        chosen = _choice(names)
    panel = _model(url, chosen, number)
    made = {wave: reports.address(chosen, wave) for wave in reported(settings.load(), chosen)}
    with title:
        st.html(model_screen.heading(panel, datetime.now(UTC), made))
    model_screen.render(panel)


def _choice(names: dict[str, ModelName]) -> str:
    """The selected model version, which the address names too so that it can be sent to a colleague."""
    asked, keys = st.query_params.get("model", ""), list(names)
    chosen: str = st.selectbox(
        "Model", keys, index=keys.index(asked) if asked in names else 0,
        format_func=lambda key: f"{names[key].title} {names[key].version}",
    )  # fmt: skip
    st.query_params["model"] = chosen
    return chosen


@st.fragment(run_every="2s")
def _watch(url: str, drawn: int) -> None:
    """Draws the page again when something has changed since it was drawn."""
    if _store(url).change_number() != drawn:
        st.rerun()
    at = datetime.now(UTC)
    st.html(block(tag("p", f"Live · checked for new results at {at:%H:%M:%S} UTC", css="quiet small")))


main()
