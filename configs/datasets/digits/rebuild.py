"""Where does digits come from? Rebuilds its Parquet files byte for byte from scikit-learn's own copy.

    python configs/datasets/digits/rebuild.py [--to FOLDER] [--card]

Reads one data file of the installed scikit-learn (nothing of it is imported), refused unless it has
the sha256 below. `--card` also writes the new sizes and digests into the card beside the files.
The bytes depend on the version of pyarrow (see constraints.txt).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
PARTS = {"part-1": (0, 1197), "part-2": (1197, 1497), "part-3": (1497, 1797)}
INK_CUTS = (280, 310, 340)
INK_GROUPS = ("1 under 280", "2 from 280", "3 from 310", "4 from 340")


def source() -> Path:
    """The data file of the installed scikit-learn; raises SystemExit without it."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise SystemExit("scikit-learn is not installed: pip install scikit-learn.")
    return Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"


def rebuild(file: Path, folder: Path) -> list[Path]:
    """Writes one Parquet file a part into `folder`; raises SystemExit for any other source."""
    if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{file.name} is not the file this dataset was made from (its sha256 differs).")
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "rt", encoding="ascii") as lines:
        values = np.loadtxt(lines, delimiter=",").astype(np.uint8)
    return [
        _write(values[first:last], first, folder / f"{name}.parquet") for name, (first, last) in PARTS.items()
    ]


def _write(values: NDArray[np.uint8], first: int, path: Path) -> Path:
    images, digits = values[:, :64], values[:, 64]
    ink = np.searchsorted(INK_CUTS, images.sum(axis=1, dtype=int), side="right")
    offsets = pa.array(np.arange(0, 64 * len(images) + 1, 64, dtype=np.int32))
    table = pa.table(
        {
            "record_id": [f"digit-{number:04d}" for number in range(first, first + len(values))],
            "image": pa.ListArray.from_arrays(offsets, pa.array(images.ravel())),
            "ink_group": [INK_GROUPS[group] for group in ink],
            "digit": [str(digit) for digit in digits],
        }
    )
    pq.write_table(table, path, compression="zstd", compression_level=19, store_schema=False)
    return path


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=here, help="write here (default: beside this script)")
    parser.add_argument("--card", action="store_true", help="write the digests into the card as well")
    choice = parser.parse_args()
    for path in rebuild(source(), choice.to):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}")
    if choice.card:
        from sandbox.catalogue.document import refresh

        refresh(choice.to)


if __name__ == "__main__":
    main()
