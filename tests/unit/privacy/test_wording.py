"""An epsilon is put into words in one place; anywhere else it would soon lack its delta or its kind."""

import re
from pathlib import Path

import pytest

from sandbox.privacy import wording

# Refusals name an epsilon that was asked for, in one sentence; the forms of a request and of a limit are not promises.
ELSEWHERE = {
    "sandbox/errors.py": "the refusal of a budget",
    "sandbox/privacy/budgets.py": "refusals of a budget",
    "sandbox/privacy/ledger.py": "why a budget was kept or lowered, for the audit log",
    "sandbox/privacy/screens.py": "how large one further request may be",
    "dashboards/demo/cli.py": "what a developer asks for",
}


def sources():
    for package in ("sandbox", "evaluators", "dashboards"):
        yield from sorted(Path(package).rglob("*.py"))


def test_no_other_module_puts_an_epsilon_into_words():
    found = {str(file) for file in sources() if re.search(r"ε\s*[=≤:]*\s*\{", file.read_text())}
    assert found - {"sandbox/privacy/wording.py"} == set(ELSEWHERE)


@pytest.mark.parametrize("page", sorted(Path("dashboards/public/templates").glob("*")), ids=lambda p: p.name)
def test_a_public_page_says_of_each_epsilon_whether_it_is_a_promise_or_of_one_thing_alone(page):
    for line in page.read_text().splitlines():
        if re.search(r"(ε|epsilon)\W*\{\{|\.epsilon \|", line):
            assert "alone" in line or "wording.PROMISED" in line, line


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("crime_id", "add or remove one crime"),
        ("pupil", "add or remove one pupil"),
        ("home_address", "add or remove one home address"),
    ],
)
def test_neighbours_differ_by_what_a_units_column_counts(unit, said):
    assert wording.neighbours("add/remove", unit) == said
