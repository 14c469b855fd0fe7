"""Bad cards and bad waves, each with the message a person gets. Read it as a table.

Every row changes a sound card (or sound records) in one way. A card's problems are compared whole,
so a row fails when a check goes silent, when its words change and when another check speaks up too.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.catalogue.card import Card, load_card
from sandbox.catalogue.check import check_card
from sandbox.catalogue.document import document
from sandbox.catalogue.waves import judge, lines_of
from sandbox.errors import Invalid, Refused

GONE = object()
NAN, INF = float("nan"), float("inf")
HEAD = {
    "name": "Job seekers", "description": "A survey, for tests.", "url": "https://example.org/",
    "license": "https://example.org/licence", "datePublished": "2024-01-31", "version": "1.0.0",
    "creator": {"@type": "sc:Organization", "name": "An office"}, "citeAs": "None",
}  # fmt: skip
SECTION: dict[str, Any] = {
    "name": "jobs", "population": "adults", "unit": "person", "unit_means": "one adult",
    "custodian": {"name": "An office", "contact": "office@example.org"},
    "licence": "OGL-UK-3.0", "attribution": "Made up.", "site": "town", "purposes": ["employment research"],
    "forbidden": ["outcome"],
    "columns": {
        "person": {"kind": "identifier", "feature": False},
        "age": {"kind": "number", "minimum": 16, "maximum": 120},
        "town": {"kind": "category", "categories": ["Leeds", "York"]},
        "sector": {"kind": "category", "categories": ["care", "trade"], "open": True, "missing": True},
        "asked": {"kind": "date", "minimum": "2020-01-01", "maximum": "2024-12-31"},
        "pulse": {"kind": "sequence", "length": 2, "minimum": 0, "maximum": 200},
        "photo": {"kind": "image", "shape": [1, 1, 2], "minimum": 0, "maximum": 255},
        "note": {"kind": "text", "length": 8},
        "outcome": {"kind": "category", "categories": ["hired", "not hired"], "feature": False},
        "hired": {"kind": "boolean"},
    },
    "tasks": {
        "hired": {"kind": "binary", "target": "hired", "question": "Will this person be hired?"},
        "where": {"kind": "multiclass", "target": "town", "question": "Where does this person live?"},
    },
    "training": {"file": "t.parquet", "wave": "first", "day": "2024-01-31", "held_out_share": 0.3},
    "waves": [{"name": "second", "day": "2024-02-29", "file": "w.parquet"}],
    "budget": {"training": {"epsilon": 8, "delta": 1e-6}, "held_out": {"epsilon": 3, "delta": 1e-6}},
}  # fmt: skip

SPELL, FILL, QUOTE = "Check its spelling, or remove it.", "Fill it in.", "Put it in quotation marks."
DATE, SPELLING = "Write it as YYYY-MM-DD.", "Check its spelling."
NAMES = "Use lower-case letters, digits and _ (names of waves may have - and . too)."
BOOL = "input should be a valid boolean. Write true or false, without quotation marks."
KINDS = "input should be 'number', 'category', 'boolean', 'date', 'image', 'text', 'sequence' or 'identifier'"
BAD_CARDS: list[tuple[str, dict[str, Any], list[str]]] = [
    # the shape of a field
    ("misspelt key", {"licnce": "x"}, [f"licnce: unknown key. {SPELL}"]),
    ("key left out", {"licence": GONE}, ["licence: missing. Add it."]),
    ("blank words", {"attribution": " "}, [f"attribution: blank. {FILL}"]),
    ("name with a space", {"name": "My jobs"}, [f"name: not a name we can use. {NAMES}"]),
    ("true as a word", {"recurs": "yes"}, [f"recurs: {BOOL}"]),
    ("no rows a unit", {"max_rows_per_unit": 0},
     ["max_rows_per_unit: input should be greater than or equal to 1"]),
    ("no purpose", {"purposes": []}, [f"purposes: empty. {FILL}"]),
    ("purpose twice", {"purposes": ["a", "a"]}, ["purposes: 'a' is listed twice. Keep one."]),
    ("unknown kind of column", {"columns.age.kind": "float"}, [f"columns.age.kind: {KINDS}. Choose one of these."]),
    ("number as category", {"columns.town.categories": ["Leeds", 7]},
     [f"columns.town.categories.1: input should be a valid string. {QUOTE}"]),
    ("day that is none", {"training.day": "2024-02-31"}, [f"training.day: not a date. {DATE}"]),
    ("whole file held out", {"training.held_out_share": 1},
     ["training.held_out_share: input should be less than 1"]),
    ("nothing held out", {"training.held_out_share": 0},
     ["training.held_out_share: input should be greater than 0"]),
    # the budget
    ("endless budget", {"budget.training.epsilon": INF}, ["budget.training.epsilon: not a finite number"]),
    ("budget that is no number", {"budget.held_out.epsilon": NAN},
     ["budget.held_out.epsilon: not a finite number"]),
    ("negative budget", {"budget.training.epsilon": -1},
     ["budget.training.epsilon: input should be greater than 0"]),
    ("empty promise", {"budget.held_out.delta": 1.0}, ["budget.held_out.delta: input should be less than 1"]),
    # columns
    ("column name with a space", {"columns.town hall": {"kind": "boolean"}},
     ["columns.town hall: not a column name we can use. Use letters, digits and _, from a letter."]),
    ("a name of ours", {"columns.ndl_dummy": {"kind": "boolean"}},
     ["columns.ndl_dummy: a name the sandbox keeps for itself. Rename the column."]),
    ("bounds swapped", {"columns.age.minimum": 120, "columns.age.maximum": 16},
     ["columns.age.minimum: not below maximum. Put the smaller bound in minimum and the larger in maximum."]),
    ("bound left out", {"columns.age.maximum": GONE},
     ["columns.age.maximum: missing. A number column needs it."]),
    ("bound that is no number", {"columns.age.minimum": NAN},
     ["columns.age.minimum: not a finite number. Write the bound that everybody may know."]),
    ("bound as a word", {"columns.age.minimum": "young"},
     ["columns.age.minimum: should be a number, or a date written YYYY-MM-DD"]),
    ("number as a date's bound", {"columns.asked.minimum": 2020},
     ["columns.asked.minimum: not the bound of a date column. Write a date as YYYY-MM-DD."]),
    ("bounds on a boolean", {"columns.hired.minimum": 0},
     ["columns.hired.minimum: means nothing for a boolean column. Remove it."]),
    ("open number", {"columns.age.open": True},
     ["columns.age.open: means nothing for a number column. Remove it."]),
    ("logarithm of a truth", {"columns.hired.scale": "log"},
     ["columns.hired.scale: means nothing for a boolean column. Remove it."]),
    ("no such scale", {"columns.age.scale": "root"},
     ["columns.age.scale: input should be 'linear' or 'log'. Choose one of these."]),
    ("no categories", {"columns.sector.categories": []},
     ["columns.sector.categories: missing. A category column needs it."]),
    ("category twice", {"columns.sector.categories": ["care", "care"]},
     ["columns.sector.categories: 'care' is listed twice. Keep one."]),
    ("blank category", {"columns.sector.categories": ["care", ""]},
     ['columns.sector.categories: one is blank. Remove it; "missing": true allows absent values.']),
    ("category called missing", {"columns.sector.categories": ["care", "missing"]},
     ["columns.sector.categories: 'missing' is a word the sandbox keeps for itself. "
      "Write it another way, such as with a capital letter."]),
    ("identifier as a feature", {"columns.person.feature": True},
     ["columns.person.feature: an identifier is never a feature. Set it to false."]),
    ("flat image", {"columns.photo.shape": [2]},
     ["columns.photo.shape: an image has 2 or 3 sides. Write [channels, height, width]."]),
    ("text without length", {"columns.note.length": GONE},
     ["columns.note.length: missing. A text column needs it."]),
    # columns that are named
    ("unit that is no column", {"unit": "persn"}, [f"unit: persn is not among the columns. {SPELLING}"]),
    ("unit that is a number", {"unit": "age"},
     ["unit: age is a number, not an identifier. "
      'Name the column that says whose record it is, and give it "kind": "identifier".']),
    ("unit that may be missing", {"columns.person.missing": True},
     ["columns.person.missing: the unit may never be missing. Set it to false."]),
    ("site that is a number", {"site": "age"}, ["site: age is a number, not a category. Name a category or null."]),
    ("forbidden column that is none", {"forbidden": ["outcom"]},
     [f"forbidden: outcom is not among the columns. {SPELLING}"]),
    ("weight that is a word", {"weight": "town"},
     ["weight: town is not a number of at least 0. Name such a column or null."]),
    # tasks
    ("target that is no column", {"tasks.hired.target": "hire"},
     [f"tasks.hired.target: hire is not among the columns. {SPELLING}"]),
    ("target that is forbidden", {"tasks.hired.target": "outcome"},
     ["tasks.hired.target: outcome is among the forbidden columns. Take it out of one of the two."]),
    ("binary task on a number", {"tasks.hired.target": "age"},
     ["tasks.hired.kind: age is a number column. The target of a binary task is a boolean or a category column."]),
    ("regression on a category", {"tasks.where.kind": "regression"},
     ["tasks.where.kind: town is a category column. The target of a regression task is a number column."]),
    ("binary task, three categories",
     {"tasks.where.kind": "binary", "columns.town.categories": ["Leeds", "York", "Hull"]},
     ["tasks.where.kind: town has 3 categories, not 2. "
      "Name a target with two categories, or make the task multiclass."]),
    ("target that may be missing", {"columns.hired.missing": True},
     ["columns.hired.missing: a target cannot be. Leave such rows out."]),
    ("classes that are no categories", {"tasks.where.classes": ["Leeds", "Hull"]},
     ["tasks.where.classes: not the categories of town. "
      "List the same ones, in the order you want, or leave classes out."]),
    ("target as a feature", {"tasks.hired.features": ["age", "hired"]},
     ["tasks.hired.features: hired is the target. Take it out."]),
    ("leak as a feature", {"tasks.hired.features": ["age", "outcome"]},
     ["tasks.hired.features: outcome is forbidden: it gives the answer away. Take it out."]),
    ("unit as a feature", {"tasks.hired.features": ["age", "person"]},
     ["tasks.hired.features: person is the unit. Take it out."]),
    ("feature that is no column", {"tasks.hired.features": ["agee"]},
     [f"tasks.hired.features: agee is not among the columns. {SPELLING}",
      "tasks.hired.features: none is left. A model needs at least one column to read."]),
    # waves and files
    ("two waves of one name", {"waves.0.name": "first"},
     ["waves.0.name: first is used twice. Give every wave its own name."]),
    ("wave before the training data", {"waves.0.day": "2023-12-31"},
     ["waves.0.day: 2023-12-31 is before the training data's 2024-01-31. A wave comes after the training data."]),
    ("file outside the folder", {"waves.0.file": "../w.parquet"},
     ["waves.0.file: not a Parquet file in the card's folder. Name one, such as 2016-07.parquet."]),
    ("file of another kind", {"training.file": "t.csv"},
     ["training.file: not a Parquet file in the card's folder. Name one, such as 2016-07.parquet."]),
    # several at once, of shape and of rules
    ("three things wrong", {"licence": GONE, "columns.age.kind": "float", "site": "twon"},
     ["licence: missing. Add it.", f"columns.age.kind: {KINDS}. Choose one of these.",
      f"site: twon is not among the columns. {SPELLING}"]),
]  # fmt: skip


def sound() -> dict[str, list[Any]]:
    """Sound records, column by column."""
    return {
        "person": ["a", "b", "c"], "age": [30.0, 16.0, 120.0], "town": ["Leeds", "York", "York"],
        "sector": ["care", None, "mining"], "asked": [date(2020, 1, 1), date(2024, 12, 31), date(2022, 2, 2)],
        "pulse": [[60.0, 200.0], [0.0, 1.0], [2.0, 3.0]], "photo": [[0, 255], [1, 2], [3, 4]],
        "note": ["", "eight by", "x"], "outcome": ["hired", "hired", "not hired"], "hired": [True, True, False],
    }  # fmt: skip


BAD_WAVES: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("column left out", lambda r: r.pop("age"), "age: column is absent"),
    ("column too many", lambda r: r.update(salary=[1, 2, 3]), "salary: column is not in the card"),
    ("words for numbers", lambda r: r.update(age=["x", "y", "z"]),
     "age: column has a type that cannot be read as a number"),
    ("words for dates", lambda r: r.update(asked=["2020-01-01"] * 3),
     "asked: column has a type that cannot be read as a date"),
    ("number for a list", lambda r: r.update(pulse=[1.0, 2.0, 3.0]),
     "pulse: column has a type that cannot be read as a sequence"),
    ("no records", lambda r: r.update({name: [] for name in r}), "file: is empty"),
    ("value missing", lambda r: r.update(age=[None, 20.0, 30.0]), "age: no value in 1 record"),
    ("not a number", lambda r: r.update(age=[NAN, NAN, 30.0]), "age: no value in 2 records"),
    ("too small", lambda r: r.update(age=[3.0, 4.0, 30.0]), "age: below the card's minimum in 2 records"),
    ("endless", lambda r: r.update(age=[30.0, 30.0, INF]), "age: above the card's maximum in 1 record"),
    ("too late", lambda r: r["asked"].__setitem__(0, date(2025, 1, 1)),
     "asked: above the card's maximum in 1 record"),
    ("new category", lambda r: r["town"].__setitem__(2, "Hull"),
     "town: a category that the card does not list in 1 record"),
    ("boolean of 2", lambda r: r.update(hired=[0, 1, 2]), "hired: neither 0 nor 1 in 1 record"),
    ("short sequence", lambda r: r["pulse"].__setitem__(1, [1.0]), "pulse: not 2 values in 1 record"),
    ("hole in a sequence", lambda r: r["pulse"].__setitem__(1, [1.0, None]),
     "pulse: some of its values missing in 1 record"),
    ("image too bright", lambda r: r["photo"].__setitem__(1, [0, 256]),
     "photo: values outside the card's bounds in 1 record"),
    ("unit missing", lambda r: r["person"].__setitem__(0, None), "person: no value in 1 record"),
    ("unit twice", lambda r: r["person"].__setitem__(0, "b"), "person: a unit again in 1 record"),
    ("unit seen in training", lambda r: r["person"].__setitem__(0, "trained on"),
     "person: a unit that training or an earlier wave already has in 1 record"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "messages"), [row[1:] for row in BAD_CARDS], ids=[r[0] for r in BAD_CARDS]
)
def test_a_bad_card_is_refused_with_every_problem(changes: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(Invalid) as refusal:
        Card.from_json({**HEAD, "ndl:dataset": changed(SECTION, changes)})
    assert sorted(map(str, refusal.value.problems)) == sorted(messages)


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in BAD_WAVES], ids=[r[0] for r in BAD_WAVES])
def test_a_bad_wave_is_put_aside_with_columns_and_counts(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    records = sound()
    change(records)
    assert faults_of(tmp_path, pa.table(records)) == [message]


def test_the_sound_card_and_the_sound_wave_have_no_fault(tmp_path: Path) -> None:
    Card.from_json({**HEAD, "ndl:dataset": SECTION})
    assert faults_of(tmp_path, pa.table(sound())) == []


def test_a_file_that_is_no_parquet_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "w.parquet").write_text("age,town\n3,Leeds\n")
    assert faults_of(tmp_path, None) == ["file: cannot be read as Parquet"]


def test_the_same_file_under_another_name_is_put_aside(tmp_path: Path) -> None:
    assert faults_of(tmp_path, pa.table(sound()), same_as="first") == [
        "file: is the same as that of the wave first"
    ]


@pytest.mark.parametrize("mark", ["column", "metadata"])
def test_dummy_records_are_refused_as_a_wave(tmp_path: Path, mark: str) -> None:
    table = pa.table(sound())
    if mark == "column":
        table = table.append_column("ndl_dummy", pa.array([True] * 3))
    else:
        table = table.replace_schema_metadata({"ndl:dummy": "true"})
    with pytest.raises(Refused, match="marked as dummy data"):
        faults_of(tmp_path, table)


BAD_FOLDERS: list[tuple[str, Callable[[Path, dict[str, Any]], Any], str]] = [
    ("no sound JSON", lambda f, d: (f / "card.json").write_text('{"name": 1,,}'),
     "file: not JSON (line 1). Mend that line."),
    ("a key twice", lambda f, d: (f / "card.json").write_text('{"name": "a", "name": "b"}'),
     "name: written twice in the same object. Keep one of them."),
    ("no section", lambda f, d: d.pop("ndl:dataset"),
     "ndl:dataset: missing. Add the section that describes the data to the sandbox."),
    ("no title", lambda f, d: d.pop("name"), "name: missing. Add the dataset's title at the top of the document."),
    ("no licence", lambda f, d: d.pop("license"), "license: missing. Add the licence's address."),
    ("another Croissant", lambda f, d: d.update(conformsTo="http://mlcommons.org/croissant/0.8"),
     'conformsTo: not Croissant 1.1. Write "http://mlcommons.org/croissant/1.1".'),
    ("no format", lambda f, d: d["distribution"][0].pop("encodingFormat"),
     "Croissant t.parquet: encodingFormat is missing. Croissant requires it."),
    ("no digest", lambda f, d: d["distribution"][0].pop("sha256"),
     "Croissant t.parquet: sha256 is missing. Add the file's sha256."),
    ("unknown type", lambda f, d: d["recordSet"][0]["field"][1].update(dataType="sc:Years"),
     "Croissant age: no dataType that Croissant knows. Use one such as sc:Float."),
    ("field of no file", lambda f, d: d["recordSet"][0]["field"][1]["source"]["fileObject"].update({"@id": "zz"}),
     "Croissant records: refers to zz, which does not exist. Mend the @id."),
    ("column without field", lambda f, d: d["recordSet"][0]["field"].pop(1),
     "recordSet age: no field reads this column. Add a field for it."),
    ("file left out", lambda f, d: (f / "w.parquet").unlink(),
     "distribution w.parquet: no such file in the card's folder. Add the file, or remove the entry."),
    ("file changed", lambda f, d: (f / "w.parquet").write_bytes(b"other"),
     "distribution w.parquet: sha256 is not that of the file. "
     "Publish the file's own sha256, or bring back the file that was meant."),
    ("file not published", lambda f, d: d["distribution"].pop(1),
     "waves.0.file: w.parquet is not in the document's distribution. Add it there, with its sha256."),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), [r[1:] for r in BAD_FOLDERS], ids=[r[0] for r in BAD_FOLDERS])
def test_a_bad_folder_is_refused_with_what_to_do(
    tmp_path: Path, change: Callable[[Path, dict[str, Any]], Any], message: str
) -> None:
    for name in ("t.parquet", "w.parquet"):
        pq.write_table(pa.table(sound()), tmp_path / name)
    card = copy.deepcopy(document(HEAD, SECTION, tmp_path))
    (tmp_path / "card.json").write_text(json.dumps(card))
    check_card(tmp_path)
    sound_text = (tmp_path / "card.json").read_text()
    change(tmp_path, card)
    if (tmp_path / "card.json").read_text() == sound_text:
        (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(Invalid) as refusal:
        check_card(tmp_path)
    assert message in [str(problem) for problem in refusal.value.problems]


def test_a_card_file_with_a_repeated_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"columns": {"age": 1, "age": 2}}')
    with pytest.raises(Invalid, match="age: written twice"):
        load_card(tmp_path)


def faults_of(folder: Path, table: pa.Table | None, same_as: str = "") -> list[str]:
    if table is not None:
        pq.write_table(table, folder / "w.parquet")
    card = Card.from_json({**HEAD, "ndl:dataset": SECTION})
    earlier = [pa.chunked_array([pa.array(["trained on"])])]
    return lines_of(judge(card, folder / "w.parquet", b"key", earlier, same_as).report["faults"])


def changed(section: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(section)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = result
        for parent in parents:
            place = place[int(parent) if isinstance(place, list) else parent]
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return result
