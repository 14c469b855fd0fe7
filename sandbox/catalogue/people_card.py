"""How does a made-up dataset describe itself? The `ndl:dataset` section and the words of its card."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from math import ceil, log10
from typing import Any

from sandbox.catalogue.people_records import BORN, site_names
from sandbox.catalogue.people_subjects import GROUPS, SEXES, Figure, Subject

Json = dict[str, Any]
LABEL = "Synthetic: made up by a program, about nobody."


def head(subject: Subject, seed: int) -> Json:
    """The Croissant words at the top of the card."""
    return {
        "name": f"Synthetic people: {subject.title.lower()}",
        "description": f"{LABEL} {subject.title} of people who do not exist, drawn by NDL Sandbox's generator "
        f"from the seed {seed}. Another custodian's dataset of the same seed is about the same made-up people, "
        "under the same identifiers. Use it to test and to teach, never to learn about the world.",
        "url": "https://ndl-sandbox.invalid/synthetic-people",
        "license": "https://creativecommons.org/publicdomain/zero/1.0/",
        "version": "1.0.0",
        "datePublished": "2025-01-01",
        "creator": {"@type": "sc:Organization", "name": "NDL Sandbox's generator of synthetic people"},
        "citeAs": f"NDL Sandbox, synthetic people, {subject.name}, seed {seed}.",
        "keywords": ["synthetic", subject.name],
    }


def section(
    subject: Subject,
    *,
    seed: int,
    sites: int,
    recurs: bool,
    most: int,
    people: int,
    label_delay_days: int,
    training: tuple[str, date],
    waves: Iterable[tuple[str, date]],
) -> Json:
    """The whole section; `people` is how many the training file is about."""
    budget = {"epsilon": 8.0, "delta": delta_for(people)}
    name, day = training
    return {
        "name": f"synthetic_{subject.name}",
        "population": f"synthetic_people_{seed}",
        "unit": "person_id",
        "unit_means": "one made-up person",
        "recurs": recurs,
        "max_rows_per_unit": most,
        "custodian": {"name": f"{subject.custodian} (synthetic)", "contact": "nobody@ndl-sandbox.invalid"},
        "licence": "CC0-1.0",
        "attribution": LABEL,
        "synthetic": True,
        "site": "site",
        "weight": None,
        "label_delay_days": label_delay_days,
        "purposes": list(subject.purposes),
        "forbidden": [],
        "columns": columns(subject, sites),
        "tasks": tasks(subject),
        "training": {"file": f"{name}.parquet", "wave": name, "day": str(day), "held_out_share": 0.3},
        "waves": [{"name": n, "day": str(d), "file": f"{n}.parquet"} for n, d in waves],
        "budget": {"training": budget, "held_out": {**budget, "epsilon": 3.0}},
    }


def delta_for(people: int) -> float:
    """A power of ten: at most 1e-6, and at most a tenth of one in as many people as there are."""
    return min(1e-6, 10.0 ** -(ceil(log10(max(people, 1))) + 1))


def columns(subject: Subject, sites: int) -> Json:
    """Every kind of column but the image; bounds are the ones the generator keeps to."""
    return {
        "person_id": {"kind": "identifier", "feature": False, "title": "Person"},
        "seen": {
            "kind": "date", "minimum": "2000-01-01", "maximum": "2100-01-01", "feature": False,
            "title": "Day", "description": "When this was written down.",
        },
        "site": _category(subject.site_title, site_names(subject, sites)),
        "sex": _category("Sex", SEXES, sensitive=True),
        "ethnic_group": _category("Ethnic group", GROUPS, sensitive=True, feature=False),
        "born": {
            "kind": "date", "minimum": str(BORN[0]), "maximum": str(BORN[1]), "title": "Date of birth",
        },
        "deprivation": {
            "kind": "number", "minimum": 1, "maximum": 10,
            "title": "Deprivation of the area, from 1 (least) to 10 (most)",
        },
        subject.measure.name: _number(subject.measure),
        subject.reading.name: {**_number(subject.reading), "missing": True},
        subject.route: _category(_title(subject.route), subject.routes),
        subject.flag: {"kind": "boolean", "missing": True, "title": _title(subject.flag)},
        subject.series.name: {
            **_number(subject.series), "kind": "sequence", "length": subject.series_length,
        },
        subject.text: {"kind": "text", "length": 40, "title": _title(subject.text)},
        subject.amount.name: {**_number(subject.amount), "feature": False},
        subject.band: _category(_title(subject.band), subject.bands, feature=False),
        subject.event: {"kind": "boolean", "feature": False, "title": _title(subject.event)},
    }  # fmt: skip


def tasks(subject: Subject) -> Json:
    """One task of each kind."""
    event, band, amount = subject.questions
    return {
        subject.event: {"kind": "binary", "target": subject.event, "question": event},
        subject.band: {"kind": "multiclass", "target": subject.band, "question": band},
        subject.amount.name: {"kind": "regression", "target": subject.amount.name, "question": amount},
    }


def _category(title: str, categories: Iterable[str], **rest: bool) -> Json:
    return {"kind": "category", "title": title, "categories": list(categories), **rest}


def _number(figure: Figure) -> Json:
    return {"kind": "number", "title": figure.title, "minimum": figure.low, "maximum": figure.high}


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
