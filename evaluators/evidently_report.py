"""What does Evidently make of a wave? A full report for overseers, on a bounded sample; the door to Evidently.

It shows single values (extremes, rare categories), so it stays inside, and its own verdicts are left out: on
unchanged data they alarm in 24 to 100 % of cases with small references, and miss with large ones (see the
README). The sandbox's findings are the alarm; this is for looking at what lies behind one.
"""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from evaluators import scoring
from evaluators.base import MINIMUM_CASES, stream
from evaluators.reports import report_file
from evaluators.schedule import reference_of
from evaluators.tallies import Load, Tallies, registered_scorer, tally_key, unchanged
from sandbox.errors import Refused
from sandbox.lifecycle import WaveState
from sandbox.records import Event, ModelVersion, Wave
from sandbox.roles import Person, Role
from sandbox.settings import Settings
from sandbox.storage import Store

if TYPE_CHECKING:
    import pandas

    from sandbox.catalogue.encoding import Encoding

AT_MOST = 10_000
"""Records of each wave in a report; drawn by their digests alone, so a report can be made again."""
SCORE, OUTCOME, CHOSEN = "model's score", "what happened", "model's choice"
_KINDS = {"number": "numbers", "boolean": "categories", "category": "categories", "date": "dates"}


@dataclass(frozen=True)
class Sample:
    """Some records of a wave with the card's titles, what the model said of them, and what happened."""

    wave: str
    frame: pandas.DataFrame
    kinds: dict[str, str]
    complete: bool
    """Whether it is known of every record what happened."""
    positive: str
    """Of a yes-or-no question, the outcome whose probability the score is."""


def make_report(
    store: Store,
    settings: Settings,
    model_version: str,
    wave: str,
    person: Person,
    load: Load = registered_scorer,
) -> Path:
    """Writes the report of this version on a wave beside the dataset's first wave, and returns its file.

    Raises NotFound, Refused for other roles or fewer than MINIMUM_CASES records, Trouble where the records or
    the model cannot be read.
    """
    person.must_be(Role.OVERSEER, Role.CUSTODIAN, to="make a report that shows single values")
    version = store.get(ModelVersion, model_version)
    chosen = store.get(Wave, wave if "/" in wave else f"{version.dataset}/{wave}")
    accepted = store.all(Wave, dataset=version.dataset, state=WaveState.ACCEPTED)
    if chosen not in accepted:
        raise Refused(
            f"The wave {chosen.id} is not an accepted wave of {version.dataset}, the data of {version.id}."
        )
    tallies = Tallies(store, settings, load)
    encoding, scorer = tallies.encoding(version.dataset, version.task), tallies.scorer(version)
    first = reference_of(accepted)
    now, reference = (sample(w, scorer, encoding, tally_key(version, w, encoding)) for w in (chosen, first))
    place = report_file(settings, version.id, chosen.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_suffix(f".{os.getpid()}.new")
    new.write_bytes(render(now, None if chosen == first else reference, version.id, encoding.task.kind))
    new.chmod(0o600)
    os.replace(new, place)
    with store.transaction() as tx:
        tx.log(Event(person.name, "report.make", f"{version.id}|{chosen.id}", "Evidently, on a sample"))
    return place


def sample(wave: Wave, scorer: scoring.Scorer, encoding: Encoding, key: str) -> Sample:
    """At most AT_MOST records of a wave, scored; the file is read a row group at a time."""
    if wave.rows < MINIMUM_CASES:
        raise Refused(f"The wave {wave.id} has {wave.rows} records; a report needs {MINIMUM_CASES}.")
    drawn = stream(key, "evidently").choice(wave.rows, min(wave.rows, AT_MOST), replace=False)
    table = pa.concat_tables(_rows(scoring.read(unchanged(wave), encoding), np.sort(drawn)))
    [batch] = scoring.score([table], scorer, encoding)
    columns = {n: encoding.card.columns[n] for n in table.column_names}
    named = {n: c.title or n.replace("_", " ").capitalize() for n, c in columns.items() if c.kind in _KINDS}
    named = {n: title for n, title in named.items() if n != encoding.task.target}
    frame = table.select(list(named)).to_pandas().rename(columns=named)
    kinds = {title: _KINDS[columns[n].kind] for n, title in named.items()}
    for title, kind in kinds.items():
        if kind == "categories":
            frame[title] = frame[title].astype("object").where(frame[title].notna(), None)
    said = {OUTCOME: _outcomes(batch), **_said(batch)}
    return Sample(
        wave.name, frame.assign(**said), kinds, bool(batch.labelled.all()), str(_words(encoding)[-1])
    )  # fmt: skip


def render(now: Sample, reference: Sample | None, model_version: str, kind: str) -> bytes:
    """The report as one HTML page that loads nothing from anywhere."""
    os.environ["DO_NOT_TRACK"] = "1"  # before Evidently is imported: it would report its use
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import Dataset, Report

        samples = [now] + ([reference] if reference else [])
        # a column without any value, in either, makes Evidently fail
        kinds = {n: k for n, k in now.kinds.items() if all(s.frame[n].notna().any() for s in samples)}
        with_quality = all(s.complete for s in samples)
        definition = _definition(kinds, kind, now.positive, with_quality)
        shown = [*kinds, SCORE] + [c for c in (OUTCOME, CHOSEN) if with_quality and c in now.frame]
        data = [Dataset.from_pandas(s.frame[shown], definition) for s in samples]
        done = Report(_presets(kind, drift=bool(reference), quality=with_quality)).run(*data)
        page: str = done.get_html_str(as_iframe=False)
    return page.replace("<body>", "<body>" + _notice(now, reference, model_version), 1).encode()


def _rows(tables: Iterator[pa.Table], places: np.ndarray[Any, Any]) -> Iterator[pa.Table]:
    start = 0
    for table in tables:
        within = places[(places >= start) & (places < start + table.num_rows)] - start
        yield table.take(pa.array(within))
        start += table.num_rows


def _outcomes(batch: scoring.Batch) -> Any:
    encoding = batch.encoding
    found = np.full(len(batch.labelled), np.nan, object if encoding.task.kind != "regression" else float)
    known = batch.outcome
    found[batch.labelled] = (
        encoding.target_values(known) if encoding.task.kind == "regression" else _words(encoding)[known]
    )
    return found


def _said(batch: scoring.Batch) -> dict[str, Any]:
    """The probability of yes, the class that was chosen with its probability, or the predicted number."""
    match batch.encoding.task.kind:
        case "binary":
            return {SCORE: batch.said}
        case "multiclass":
            return {SCORE: batch.said.max(axis=1), CHOSEN: _words(batch.encoding)[batch.said.argmax(axis=1)]}
    return {SCORE: batch.encoding.target_values(batch.said)}


def _words(encoding: Encoding) -> Any:
    return np.array([str(c) for c in encoding.classes] or ["no", "yes"], object)


def _definition(kinds: dict[str, str], kind: str, positive: str, with_quality: bool) -> Any:
    from evidently import BinaryClassification, DataDefinition, MulticlassClassification, Regression

    of = {group: [n for n, k in kinds.items() if k == group] for group in ("numbers", "categories", "dates")}
    columns: dict[str, Any] = {
        "numerical_columns": [*of["numbers"], SCORE],
        "categorical_columns": of["categories"]
        + ([OUTCOME] if with_quality and kind != "regression" else []),
        "datetime_columns": of["dates"],
    }
    if with_quality and kind == "binary":
        task = BinaryClassification(target=OUTCOME, prediction_probas=SCORE, pos_label=positive)
        columns["classification"] = [task]
    elif with_quality and kind == "multiclass":
        columns["categorical_columns"].append(CHOSEN)
        columns["classification"] = [MulticlassClassification(target=OUTCOME, prediction_labels=CHOSEN)]
    elif with_quality:
        columns["numerical_columns"].append(OUTCOME)
        columns["regression"] = [Regression(target=OUTCOME, prediction=SCORE)]
    return DataDefinition(**columns)


def _presets(kind: str, *, drift: bool, quality: bool) -> list[Any]:
    from evidently.presets import ClassificationPreset, DataDriftPreset, DataSummaryPreset, RegressionPreset

    presets: list[Any] = [DataDriftPreset()] if drift else []
    if quality:
        presets.append(RegressionPreset() if kind == "regression" else ClassificationPreset())
    return [*presets, DataSummaryPreset()]


def _notice(now: Sample, reference: Sample | None, model_version: str) -> str:
    beside = f", beside {len(reference.frame):,} of wave {reference.wave}" if reference else ""
    words = (
        f"{model_version} on {len(now.frame):,} records of wave {now.wave}{beside}. Inside view: it shows single "
        "values and may not leave. Evidently's word “drift” is no verdict of the sandbox: its thresholds alarm on "
        "unchanged data. Findings are on the model's page."
    )
    style = "margin:16px;padding:12px 16px;background:#fdf3e1;color:#1b2733;font:16px/1.4 sans-serif"
    return f'<p role="note" style="{style}">{html.escape(words)}</p>'
