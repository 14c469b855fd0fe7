"""Charts are valid Vega-Lite, say in words what they show, and draw nothing that was not measured."""

import json
from dataclasses import replace
from datetime import date, timedelta

import altair
import pytest
from jsonschema import ValidationError

from dashboards import charts, views
from dashboards.panels import HeatMap, Moved, Point, Reliability, Trend
from sandbox.lifecycle import Verdict


def points(values, half=0.02):
    start = date(2026, 1, 5)
    return tuple(
        Point(f"w{i}", start + timedelta(days=7 * i), v, v - half, v + half, 100)
        if v is not None
        else Point(f"w{i}", start + timedelta(days=7 * i), None, status="too few")
        for i, v in enumerate(values)
    )


def quality(values, **more):
    return Trend("auc", "AUC", "score", points(values), **more)


def marks(spec):
    return [layer["mark"]["type"] for layer in spec["layer"]]


@pytest.mark.parametrize("key", ["falls-risk/3", "formal-outcome/1", "digit-reader/1"])
def test_every_chart_of_every_kind_of_model_is_valid(made_up, key):
    panel = views.model(made_up.store, key)
    specs = [charts.heat_map(panel.inputs), charts.reliability(panel.reliability)]
    specs += [charts.trend(t) for t in (panel.headline, panel.bias, panel.gap, *panel.changes.values())]
    for spec in specs:
        altair.LayerChart.from_dict(spec)
        json.dumps(spec, allow_nan=False)
        assert len(spec["description"]) > 20


def test_a_broken_chart_would_be_noticed():
    spec = charts.trend(quality([0.7, 0.8]))
    spec["layer"][0]["mark"]["type"] = "banana"
    with pytest.raises(ValidationError):
        altair.LayerChart.from_dict(spec)


def test_few_waves_are_points_with_error_bars_and_many_are_a_band():
    few, many = charts.trend(quality([0.7, 0.72, 0.69])), charts.trend(quality([0.7] * 26))
    assert marks(few) == ["rule", "line", "point"]
    assert marks(many) == ["area", "line", "point"]
    assert few["layer"][0]["encoding"]["x"]["type"] == "ordinal"
    assert many["layer"][0]["encoding"]["x"]["type"] == "temporal"


def test_the_limit_is_drawn_and_inside_the_picture():
    spec = charts.trend(quality([0.80, 0.79], limits=(0.60,)))
    assert [v["limit"] for layer in spec["layer"] for v in layer.get("data", {}).get("values", [])] == [0.60]
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert low < 0.60 < 0.82 < high


def test_a_missing_value_stays_missing():
    rows = charts.trend(quality([0.7, None, 0.6]))["data"]["values"]
    assert [r["value"] for r in rows] == [0.7, None, 0.6]
    assert rows[1]["words"] == "too few"


def test_words_tell_what_the_picture_shows():
    assert charts.trend_words(quality([0.757, 0.687], limits=(0.727,))) == (
        "AUC over 2 waves: 0.757 on w0, 0.687 on w1 (95 % interval 0.667 to 0.707). Limit: 0.727."
    )
    assert charts.trend_words(quality([])) == "AUC: no values yet."


def heat(latest):
    first, second = points([None, latest])
    cells = (
        Moved("GP visits", replace(first, status="reference"), None),
        Moved("GP visits", second, Verdict.BEYOND if latest > 0.12 else Verdict.UNKNOWN),
    )
    return HeatMap(("GP visits",), ("w0", "w1"), cells, 0.1)


def test_the_heat_map_marks_what_is_beyond_and_what_nobody_can_tell():
    assert [r["mark"] for r in charts.heat_map(heat(0.16))["data"]["values"]] == ["reference", "0.160 ▲"]
    assert [r["mark"] for r in charts.heat_map(heat(0.11))["data"]["values"]] == ["reference", "0.110 ?"]
    assert charts.heat_map_words(heat(0.16)).endswith(
        "Beyond tolerance on the latest wave: GP visits (0.160)."
    )
    assert "no input is beyond tolerance" in charts.heat_map_words(heat(0.11))


def test_waves_of_different_years_never_share_a_column():
    days = [date(2024, 7, 1) + timedelta(days=182 * i) for i in range(10)]
    cells = tuple(Moved("Age", Point(f"w{i}", d, 0.01), Verdict.WITHIN) for i, d in enumerate(days))
    spec = charts.heat_map(HeatMap(("Age",), tuple(f"w{i}" for i in range(10)), cells, 0.1))
    assert len({r["wave"] for r in spec["data"]["values"]}) == 10


def test_a_bin_with_too_few_records_is_left_out_of_the_reliability_diagram():
    bins = (
        (0.1, Point("w", date(2026, 1, 1), 0.12, 0.1, 0.14, 90)),
        (0.9, Point("w", date(2026, 1, 1), None)),
    )
    spec = charts.reliability(Reliability("w", bins, ()))
    assert [(r["predicted"], r["happened"]) for r in spec["data"]["values"]] == [(0.1, 0.12)]
