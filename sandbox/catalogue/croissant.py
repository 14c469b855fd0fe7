"""Is a card good Croissant 1.1? mlcroissant's findings in plain words, and what it does not find.

mlcroissant validates a document in about 0.1 s without the network, but lets a missing name pass and
reads text back as bytes: it validates what is published and never reads Parquet here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from sandbox.catalogue.card import SECTION, Json
from sandbox.errors import Problem

CONFORMS = "http://mlcommons.org/croissant/1.1"
_REQUIRED = {
    "description": "Say in a sentence or two what the data are.",
    "license": "Add the licence's address.",
    "url": "Add the address of a page about the data.",
    "distribution": "List the Parquet files, each with its sha256.",
    "recordSet": "Add one record set with a field for each column.",
}
_PATTERNS = (
    (r'Property "[^"]*[/#](?P<of>\w+)" is mandatory', "{of} is missing", "Croissant requires it."),
    (r"At least one of these properties .*'sha256'", "sha256 is missing", "Add the file's sha256."),
    (
        r"does not specify a valid \S*dataType",
        "no dataType that Croissant knows",
        "Use one such as sc:Float.",
    ),
    (r'reference to node with UUID "(?P<of>[^"]*)"', "refers to {of}, which does not exist", "Mend the @id."),
    (r"ISO 8601", "a date is not written YYYY-MM-DD", "Mend it."),
    (r"doesn't extend .*Dataset", "the document is not a dataset", 'Write "@type": "sc:Dataset".'),
)


def problems_of_document(document: Json) -> list[Problem]:
    """Everything wrong with the document as Croissant, and where its fields and our columns differ."""
    problems = [
        Problem(key, "missing", todo)
        for key, todo in _REQUIRED.items()
        if document.get(key) in (None, "", [])
    ]
    conforms = document.get("conformsTo")
    if CONFORMS not in (conforms if isinstance(conforms, list) else [conforms]):
        problems.append(Problem("conformsTo", "not Croissant 1.1", f'Write "{CONFORMS}".'))
    if document.get("recordSet"):
        problems += _column_problems(document)
    return problems or _mlcroissant_problems(document)


def published_files(document: Json) -> dict[str, str]:
    """The distribution's files with their sha256, by contentUrl; what is malformed is left out."""
    listed = document.get("distribution")
    return {
        str(entry["contentUrl"]): str(entry.get("sha256", ""))
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, dict) and "contentUrl" in entry
    }


def _column_problems(document: Json) -> Iterator[Problem]:
    section = document.get(SECTION)
    columns = section.get("columns") if isinstance(section, dict) else None
    if not isinstance(columns, dict):
        return
    fields = set(_columns_read(document["recordSet"]))
    for name in sorted(columns.keys() - fields):
        yield Problem(f"recordSet {name}", "no field reads this column", "Add a field for it.")
    for name in sorted(fields - columns.keys()):
        todo = f"Describe the column in {SECTION}, or remove the field."
        yield Problem(f"recordSet {name}", f"not among the columns of {SECTION}", todo)


def _columns_read(record_sets: Any) -> Iterator[str]:
    for record_set in record_sets if isinstance(record_sets, list) else []:
        for field in record_set.get("field", []) if isinstance(record_set, dict) else []:
            try:
                yield str(field["source"]["extract"]["column"])
            except (KeyError, TypeError):
                yield str(field.get("name")) if isinstance(field, dict) else "?"


def _mlcroissant_problems(document: Json) -> list[Problem]:
    import logging

    logging.getLogger("absl").setLevel(logging.ERROR)
    import mlcroissant

    try:
        mlcroissant.Dataset(jsonld=copy.deepcopy(document))  # it changes what it reads
    except mlcroissant.ValidationError as error:
        said, _, _warnings = str(error).partition("warning(s)")
        lines = [line.strip()[1:].strip() for line in said.splitlines() if line.strip().startswith("-")]
        return [_plainly(line) for line in lines] or [Problem("Croissant", "not valid")]
    except Exception as error:  # on a malformed document it raises whatever its parsers raise
        what = f"mlcroissant cannot read the document ({type(error).__name__})"
        return [Problem("Croissant", what, "Compare it with a bundled card.")]
    return []


def _plainly(line: str) -> Problem:
    """`[Metadata(x) > FileObject(y)] Property "https://schema.org/z" is mandatory` in our words."""
    place, _, said = line.rpartition("] ") if line.startswith("[") else ("", "", line)
    named = re.findall(r"\w+\((.*?)\)", place)
    where = f"Croissant {named[-1]}" if len(named) > 1 and named[-1] else "Croissant"
    for pattern, what, todo in _PATTERNS:
        if found := re.search(pattern, said):
            return Problem(where, what.format(**found.groupdict()), todo)
    return Problem(where, re.sub(r"https?://\S*?[/#](\w+)", r"\1", said).rstrip("."))
