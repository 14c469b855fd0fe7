"""Where does rand_hie come from? Rebuilds its Parquet file byte for byte from statsmodels' own copy.

    python configs/datasets/rand_hie/rebuild.py [--to FOLDER] [--card]

Reads one data file of the installed statsmodels (nothing of it is imported), refused unless it has
the sha256 below. `--card` also writes the new size and digest into the card beside the file.
The bytes depend on the version of pyarrow (see constraints.txt).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SHA256 = "fe64f3c8e987779daa6052dd756d9ce277e025330f5549126c7c2f6a3c9c5541"
MOST_VISITS = 20
HEALTH = {"Good": "hlthg", "Fair": "hlthf", "Poor": "hlthp"}
BANDS = ("None", "1 to 4", "5 or more")
COLUMNS = pa.schema(
    [("person_id", pa.string()), ("year", pa.int8()), ("site", pa.string()), ("sex", pa.string()),
     ("ethnic_group", pa.string()), ("age", pa.float32()), ("child", pa.bool_()), ("income", pa.float32()),
     ("education_years", pa.float32()), ("family_size", pa.int8()), ("coinsurance", pa.float32()),
     ("individual_deductible", pa.bool_()), ("most_to_pay", pa.float32()), ("incentive", pa.float32()),
     ("physical_limit", pa.float32()), ("chronic_diseases", pa.float32()), ("mental_health", pa.float32()),
     ("self_rated_health", pa.string()), ("visits", pa.int8()), ("saw_doctor", pa.bool_()),
     ("visits_band", pa.string())]
)  # fmt: skip
Row = dict[str, str | int | float | bool | None]


def source() -> Path:
    """The data file of the installed statsmodels; raises SystemExit without it."""
    found = importlib.util.find_spec("statsmodels")
    if found is None or found.origin is None:
        raise SystemExit("statsmodels is not installed: pip install statsmodels.")
    return Path(found.origin).parent / "datasets/randhie/src/randhie.csv"


def rebuild(file: Path, folder: Path) -> Path:
    """Writes the Parquet file into `folder`; raises SystemExit for any other source.

    Rows are ordered by a hash of the person and by year, so that the order of people says nothing.
    """
    if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{file.name} is not the file this dataset was made from (its sha256 differs).")
    folder.mkdir(parents=True, exist_ok=True)
    with file.open(newline="", encoding="ascii") as lines:
        rows = sorted(_rows(csv.DictReader(lines)), key=_place)
    table = pa.Table.from_pylist(rows, COLUMNS)
    path = folder / "years.parquet"
    options = {"compression": "zstd", "compression_level": 19}
    pq.write_table(table, path, store_schema=False, **options)
    return path


def _rows(lines: Iterator[dict[str, str]]) -> Iterator[Row]:
    for line in lines:
        visits = int(float(line["mdvis"]))
        yield {
            "person_id": line["zper"],
            "year": int(line["year"]),
            "site": f"Site {line['site']}",
            "sex": "Female" if line["female"] == "1" else "Male",
            "ethnic_group": "Black" if float(line["black"]) > 0.5 else "Other",  # six people have a share
            "age": float(line["xage"]),
            "child": line["child"] == "1",
            "income": float(line["income"]),
            "education_years": _number(line["educdec"]),
            "family_size": int(line["num"]),
            "coinsurance": float(line["coins"]),
            "individual_deductible": line["idp"] == "1",
            "most_to_pay": _number(line["mdeoff"]),
            "incentive": _number(line["pioff"]),
            "physical_limit": float(line["physlm"]),
            "chronic_diseases": float(line["disea"]),
            "mental_health": float(line["mhi"]),
            "self_rated_health": _health(line),
            "visits": min(visits, MOST_VISITS),
            "saw_doctor": visits > 0,
            "visits_band": BANDS[(visits > 0) + (visits > 4)],
        }


def _number(text: str) -> float | None:
    return float(text) if text else None


def _health(line: dict[str, str]) -> str:
    return next((word for word, name in HEALTH.items() if line[name] == "1"), "Excellent")


def _place(row: Row) -> tuple[bytes, int]:
    return hashlib.sha256(str(row["person_id"]).encode()).digest(), int(row["year"] or 0)


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=here, help="write here (default: beside this script)")
    parser.add_argument("--card", action="store_true", help="write the digest into the card as well")
    choice = parser.parse_args()
    path = rebuild(source(), choice.to)
    print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}")
    if choice.card:
        from sandbox.catalogue.document import refresh

        refresh(choice.to)


if __name__ == "__main__":
    main()
