"""What happened lately, in words? The audit log's last lines, the many lines of one job folded into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboards import numbers
from dashboards.panels import Happening
from sandbox.audit import Line

WORDS = {
    "dataset added": "brought in the dataset",
    "wave accepted": "brought in the wave",
    "wave quarantined": "delivered a wave that was put aside:",
    "submission.received": "submitted the model",
    "submission.refused": "submitted a model that was refused:",
    "training.resume": "went on with",
    "submission.failed": "could not train",
    "model.register": "trained and registered",
    "model.decide": "decided about",
    "evaluation.finish": "evaluated",
    "evaluation.postpone": "put off evaluating",
    "results.archive": "archived the results of waves before",
    "results.export": "exported the results of",
    "incident.open": "kept back a model:",
    "incident.resolve": "resolved the incident of",
    "job.retry": "had tried again",
    "job.cancel": "called off",
    "privacy.reserve": "charged the budget",
    "privacy.open": "opened the budget",
    "privacy.lower": "lowered the budget",
    "privacy.keep": "kept the budget as it was:",
    "privacy.release": "gave back a charge that never reached the data:",
    "comparison.declare": "declared a test of a challenger:",
    "comparison.finish": "ran the declared test",
    "report.make": "had a closer look at",
    "release.clear": "cleared a release of",
}
FOLDED = {
    "finding.judge", "gate.judge", "graph.admit", "model.standing", "privacy.settle", "privacy.touch", "release.noise",
    "submission.admitted", "submission.trained", "training.fail", "training.finish", "training.start",
}  # fmt: skip
"""What follows from, or is part of, another line is not news of its own."""

_Told = tuple[tuple[str, str, str], list[Line]]


def happenings(lines: Sequence[Line], called: Mapping[str, str], at_most: int) -> tuple[Happening, ...]:
    """The newest first. Evaluations of one model on one wave become one line, which counts them, and so
    do the charges for one release, and budgets opened in a row. `called` gives the model of each submission."""
    told: list[_Told] = []
    for line in reversed(lines):
        if line.action in FOLDED:
            continue
        key = (line.by, line.action, "" if line.action == "privacy.open" else _subject(line, called))
        # the last but one, too: a release charges in turn for the model and, once a wave, for the inputs
        same = next((folded for known, folded in reversed(told[-2:]) if known == key), None)
        if same is None:
            told.append((key, [line]))
        else:
            same.append(line)
    return tuple(_happening(folded, called) for _, folded in told[:at_most])


def _happening(lines: Sequence[Line], called: Mapping[str, str]) -> Happening:
    newest, count = lines[0], len(lines)
    what = WORDS.get(newest.action, newest.action.replace(".", " ").replace("_", " "))
    subject, reason = _subject(newest, called), newest.reason
    if newest.action == "evaluation.finish":
        failed = sum(bool(line.details.get("failure")) for line in lines)
        reason = f"{count} evaluations" + (f", {failed} failed" if failed else "")
    elif newest.action == "privacy.open" and count > 1:
        what, subject = "opened", f"{count} privacy budgets"
    elif newest.action == "privacy.reserve" and _released(newest):
        what, reason = f"charged {numbers.count(count, 'held-out budget')} for releasing", ""
    elif newest.action == "model.decide" and "to" in newest.details:
        what = f"made {newest.details['to']}:"
    return Happening(newest.at, newest.by, what, subject, reason)


def _subject(line: Line, called: Mapping[str, str]) -> str:
    """Names instead of keys: `<model>|<wave>|<evaluator>|<version>` becomes `<model> on <wave>`."""
    parts = line.subject.split("|")
    if line.action.startswith("job."):
        return " on ".join(parts[1:])
    if len(parts) >= 2:
        return f"{parts[0]} on {parts[1]}"
    if released := _released(line):
        return released
    for detail in ("model_version", "pool"):
        if detail in line.details:
            return str(line.details[detail])
    return called.get(line.subject, line.subject)


def _released(line: Line) -> str:
    """What a charge `release|<model>|<wave>|...` or `inputs|<wave>|...` was made for publishing, else nothing."""
    what, *parts = line.reason.split("|")
    if line.action != "privacy.reserve" or not parts:
        return ""
    return {"release": parts[0], "inputs": "how the inputs have moved"}.get(what, "")
