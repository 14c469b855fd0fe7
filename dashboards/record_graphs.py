"""What does an overseer see of the graph that was trained? Its layers, what it reads, and who made it, as a panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dashboards.panels import GraphLayer, GraphPanel
from sandbox.records import AdmittedGraph, Json

_TENSORS = {"numbers": "numbers, booleans and dates", "categories": "categories"}


def graph_panel(admitted: AdmittedGraph, title_of: Callable[[str], str]) -> GraphPanel:
    """`title_of` gives the card's title of a column: images, sequences and texts are read by that name."""
    summary = admitted.summary

    def titles(names: str) -> tuple[str, ...]:
        return tuple(_TENSORS.get(name) or title_of(name) for name in summary[names])

    return GraphPanel(
        digest=admitted.id,
        recipe=_recipe(admitted.made_by),
        wall=str(admitted.made_by.get("backend", "")),
        wall_layers=tuple(str(name) for name in admitted.made_by.get("layers", ())),
        parameters=int(summary["trainable"]),
        fixed=int(summary["parameters"]) - int(summary["trainable"]),
        reads=titles("inputs_used"),
        ignores=titles("inputs_unused"),
        flops=int(summary["flops_per_record"]),
        nodes=int(summary["nodes"]),
        layers=tuple(map(_layer, summary["layers"])),
    )


def _recipe(made_by: Json) -> str:
    if "recipe" not in made_by:
        return ""
    settings = ", ".join(f"{name} {_written(value)}" for name, value in made_by["settings"].items())
    return f"{made_by['recipe']} ({settings})" if settings else str(made_by["recipe"])


def _written(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _layer(layer: Mapping[str, Any]) -> GraphLayer:
    operators = dict.fromkeys(_operator(name) for name in layer["operators"])
    return GraphLayer(
        module=str(layer["module"]),
        kind=str(layer["kind"]),
        operators=tuple(operators),
        shape=tuple(layer["shape"][1:]),
        parameters=int(layer["parameters"]),
    )


def _operator(name: str) -> str:
    """`aten._to_copy.default` is `to_copy` to a reader."""
    parts = name.split(".")
    return (parts[1] if len(parts) == 3 else name).lstrip("_")
