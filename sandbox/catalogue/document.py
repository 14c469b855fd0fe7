"""How is a dataset card written down? Croissant JSON-LD around our `ndl:dataset` section."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
SECTION = "ndl:dataset"
_TYPES = {
    "number": "sc:Float", "image": "sc:Float", "sequence": "sc:Float", "category": "sc:Text", "text": "sc:Text",
    "identifier": "sc:Text", "boolean": "sc:Boolean", "date": "sc:Date",
}  # fmt: skip
CONTEXT: Json = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"}, "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
    "name": {"@container": "@language"}, "ndl": "https://ndl-sandbox.invalid/terms/",
    "parentField": "cr:parentField", "path": "cr:path", "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
    "repeated": "cr:repeated", "replace": "cr:replace", "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform", "ndl:dataset": {"@id": "ndl:dataset", "@type": "@json"},
}  # fmt: skip


def document(head: Json, section: Json, folder: Path) -> Json:
    """A whole card: `head` (name, description, license, url, ...), the files in `folder`, our section.

    The record set describes the training file; the waves hold the same columns.
    """
    source = section["training"]["file"]
    fields = [_field(name, column, source) for name, column in section["columns"].items()]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        **head,
        "distribution": distribution(section, folder),
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "records",
                "name": "records",
                "description": "One row a record. Every wave holds the same columns.",
                "field": fields,
            }
        ],
        SECTION: section,
    }


def distribution(section: Json, folder: Path) -> list[Json]:
    """A FileObject for the training file and each wave, with its size and sha256 as they are on disk."""
    names = [section["training"]["file"], *(wave["file"] for wave in section["waves"])]
    return [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "contentSize": f"{(folder / name).stat().st_size} B",
            "encodingFormat": "application/x-parquet",
            "sha256": sha256_of(folder / name),
        }
        for name in names
    ]


def refresh(folder: Path) -> None:
    """Writes the sizes and digests of the Parquet files as they are now into the folder's card."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    write(document({k: card[k] for k in card if k not in _MADE}, card[SECTION], folder), folder)


def write(card: Json, folder: Path) -> Path:
    """Writes `card.json`, indented, so that a change shows as a change of a line."""
    path = folder / "card.json"
    path.write_text(_pretty(card) + "\n", encoding="utf-8")
    return path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_MADE = ("@context", "@type", "conformsTo", "distribution", "recordSet", SECTION)
_WIDTH = 110


def _field(name: str, column: Json, source: str) -> Json:
    field = {
        "@type": "cr:Field",
        "@id": f"records/{name}",
        "name": name,
        "description": column.get("description") or column.get("title") or name,
        "dataType": _TYPES[column["kind"]],
        "source": {"fileObject": {"@id": source}, "extract": {"column": name}},
    }
    if column["kind"] in ("image", "sequence"):
        size = column.get("length") or _product(column["shape"])
        field |= {"isArray": True, "arrayShape": str(size)}
    return field


def _product(sides: Iterable[int]) -> int:
    result = 1
    for side in sides:
        result *= side
    return result


def _pretty(value: Any, indent: str = "") -> str:
    """JSON with whatever fits a line on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(indent) + len(flat) <= _WIDTH:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        lines = [f"{deeper}{json.dumps(k)}: {_pretty(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _pretty(v, deeper) for v in value) + f"\n{indent}]"
