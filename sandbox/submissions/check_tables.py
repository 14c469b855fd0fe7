"""How does a report of `ndl check` look on a terminal?"""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from sandbox.privacy import wording
from sandbox.records import Json
from sandbox.submissions.check import Report
from sandbox.submissions.check_quote import Quote

MOST_LAYERS = 40


def report_tables(report: Report) -> Iterator[Table]:
    """What was checked, the layers found, and the quote."""
    yield _found(report)
    if report.summary:
        yield _layers(report)
    yield _quote(report.quote)


def _found(report: Report) -> Table:
    asked = report.manifest
    title = f"{asked.name}, for {asked.task} on {asked.dataset}"
    table = Table("", "part", "found", box=None, padding=(0, 1), title=escape(title), title_justify="left")
    for finding in report.found:
        mark = "[green]✓[/]" if finding.checked else "[yellow]not checked[/]"
        table.add_row(mark, finding.part, escape(finding.words))
    return table


def _layers(report: Report) -> Table:
    """The graph as the developer wrote it; names and lines are the developer's words, escaped."""
    table = Table("layer", "kind", "operators", "gives", "parameters", title="Layers", title_justify="left")
    table.columns[-1].justify = "right"
    layers = report.summary["layers"]
    for layer in layers[:MOST_LAYERS]:
        shape = " x ".join(str(side) for side in layer["shape"])
        operators = ", ".join(_short(operator) for operator in layer["operators"])
        words = (layer["module"], layer["kind"], operators, shape, f"{layer['parameters']:,}")
        table.add_row(*(escape(str(word)) for word in words))
    if len(layers) > MOST_LAYERS:
        table.add_row(f"and {len(layers) - MOST_LAYERS:,} more", "", "", "", "")
    table.caption, table.caption_justify = escape(_reads(report.summary)), "left"
    return table


def _reads(summary: Json) -> str:
    """What the model looks at and never looks at, and how much work a record is."""
    reads = f"Reads {', '.join(summary['inputs_used']) or 'nothing'} of a record"
    if summary["inputs_unused"]:
        reads += f" and never {', '.join(summary['inputs_unused'])}"
    steps = "1 step" if summary["nodes"] == 1 else f"{summary['nodes']:,} steps"
    return f"{reads}; {summary['flops_per_record']:,} operations in {steps}."


def _short(operator: str) -> str:
    """torch's name without its namespace and overload."""
    return operator.removeprefix("aten.").partition(".")[0]


def _quote(quote: Quote) -> Table:
    table = Table(title="Quote", show_header=False, title_justify="left")
    unknown = "unknown: it was not run"
    trained = unknown if quote.parameters is None else f"{quote.parameters:,}"
    table.add_row("trainable parameters", trained)
    table.add_row("training", f"{quote.steps:,} steps of about {quote.batch:,.0f} of {quote.units:,} units")
    table.add_row("estimated time", _time(quote) if quote.seconds is not None else unknown)
    said = wording.stated(quote.epsilon, quote.delta, quote.adjacency, quote.unit)
    table.add_row(f"{wording.alone('training')}, by PLD", said)
    table.add_row("noise multiplier", f"{quote.noise_multiplier:.3f}, clipped at {quote.clip:g}")
    table.add_row(
        "cost",
        f"{wording.part(quote.share, quote.budget_epsilon)} to {quote.pool} at δ = {quote.budget_delta:g}",
    )
    table.add_row("such trainings", f"{quote.fits:,} fit an untouched budget")
    return table


def _time(quote: Quote) -> str:
    seconds, step = quote.seconds or 0.0, quote.seconds_per_step or 0.0
    whole = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{whole} on one thread of this machine ({step * 1000:,.1f} ms a step)"
