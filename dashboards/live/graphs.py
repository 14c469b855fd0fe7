"""How is a record graph written on a page? Facts beside its layers; every word in it may be a developer's."""

from __future__ import annotations

from dashboards import numbers
from dashboards.live.markup import Html, Number, details, facts, join, lines, quiet, table, tag
from dashboards.panels import GraphLayer, GraphPanel

_SHOWN = 12
_HEADS = ("Layer", "Operators", "Gives", Number("Parameters"))


def graph_facts(panel: GraphPanel | None) -> Html:
    if panel is None:
        return tag("p", "This version was registered before models were kept as record graphs.", css="quiet")
    return facts(_facts(panel), "The record graph")


def graph_layers(panel: GraphPanel) -> Html:
    """The first layers; the rest of a deep one folded away."""
    shown = table(_HEADS, map(_layer, panel.layers[:_SHOWN]), "Layers of the record graph")
    rest = panel.layers[_SHOWN:]
    if not rest:
        return shown
    more = table(_HEADS, map(_layer, rest), "Further layers of the record graph")
    return join([shown, details(numbers.count(len(rest), "more layer"), more)])


def _facts(panel: GraphPanel) -> list[tuple[object, object]]:
    learned = f"{panel.parameters:,} learned" + (f", {panel.fixed:,} fixed" if panel.fixed else "")
    told: list[tuple[object, object]] = [
        ("Made by", _made_by(panel)),
        ("Reads of a record", _listed(panel.reads) if panel.reads else "nothing"),
        ("Parameters", learned),
        (
            "Work per record",
            f"{numbers.count(panel.flops, 'operation')} in {numbers.count(panel.nodes, 'step')}",
        ),
        ("Graph’s sha256", tag("code", panel.digest)),
    ]
    if panel.ignores:
        told.insert(2, ("Never looks at", _listed(panel.ignores)))
    return told


def _made_by(panel: GraphPanel) -> object:
    if panel.recipe:
        return lines("our own code", quiet("recipe ", panel.recipe))
    wall = [f"the developer’s model.py, behind {panel.wall}"]
    return lines(*wall, quiet(", ".join(panel.wall_layers)))


def _layer(layer: GraphLayer) -> list[object]:
    named = join([layer.kind or "Steps", *([Html("<br>"), quiet(layer.module)] if layer.module else [])])
    shape = " × ".join(map(str, layer.shape)) or "1"
    parameters = f"{layer.parameters:,}" if layer.parameters else numbers.NOTHING
    return [named, quiet(", ".join(layer.operators)), tag("span", shape, css="nowrap"), Number(parameters)]


def _listed(names: tuple[str, ...]) -> str:
    words = ", ".join(names)
    return words[:1].upper() + words[1:]
