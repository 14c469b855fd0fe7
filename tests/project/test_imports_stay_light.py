"""Importing our packages, or asking `ndl` for help, loads no engine; nor does encoding records."""

import subprocess
import sys

import pytest

ENGINES = (
    "torch",
    "mlflow",
    "opacus",
    "evidently",
    "streamlit",
    "sklearn",
    "pandas",
    "dp_accounting",
    "opendp",
    "dbos",
)
PROBE = "import sys; {what}; print(*sorted(set(sys.modules) & set({engines})))"


def loaded_by(what: str) -> str:
    code = PROBE.format(what=what, engines=ENGINES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("package", ["sandbox", "evaluators", "dashboards", "sandbox.api", "sandbox.cli"])
def test_importing_a_package_loads_no_engine(package):
    assert loaded_by(f"import {package}") == ""


def test_asking_for_help_loads_no_engine():
    what = "from click.testing import CliRunner; from sandbox.cli import cli; CliRunner().invoke(cli, ['--help'])"
    assert loaded_by(what) == ""


def test_encoding_records_loads_no_pandas():
    what = (
        "from sandbox.catalogue import vectors; import numpy as np, pyarrow as pa;"
        " rows = vectors.arrow(np.arange(3)); numbers = pa.chunked_array([rows.cast(pa.float32())]);"
        " assert vectors.numbers(numbers).sum() == 3 and not vectors.absent(numbers).any();"
        " assert (vectors.codes(pa.chunked_array([rows.cast(pa.string())]), ('2', '1')) == [1, 3, 2]).all()"
    )
    assert loaded_by(what) == ""


def test_the_probe_sees_an_engine_when_there_is_one():
    assert loaded_by("import pandas") == "pandas"
