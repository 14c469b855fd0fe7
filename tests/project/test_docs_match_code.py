"""What the README and the package READMEs say is what the code does."""

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from evaluators.catalogue import all_evaluators
from sandbox.errors import NDLError

README = Path("README.md").read_text()
PACKAGES = [
    "sandbox/catalogue", "sandbox/submissions", "sandbox/privacy", "sandbox/training", "sandbox/registry",
    "sandbox/disclosure", "sandbox/jobs", "sandbox/storage", "evaluators", "dashboards",
]  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_has_a_short_readme_that_the_map_of_the_code_names(package):
    text = Path(package, "README.md").read_text()
    assert 5 <= len(text.splitlines()) <= 120
    assert package in README


def test_every_verb_is_in_the_readme_and_every_verb_in_the_readme_exists():
    verbs = {entry.name for entry in entry_points(group="ndl.commands")}
    named = set(re.findall(r"`ndl ([a-z]+)", README))
    assert named == verbs


def test_every_evaluator_answers_a_question_and_its_module_is_in_the_readme():
    readme = Path("evaluators/README.md").read_text()
    for evaluator in all_evaluators():
        module = evaluator.report.__module__.removeprefix("evaluators.")
        assert f"`{module}.py`" in readme, module
        assert evaluator.question, evaluator.name


def test_every_exit_code_is_in_the_readme():
    for kind in NDLError.__subclasses__():
        assert re.search(rf"^\| {kind.exit_code} \|", README, re.MULTILINE), kind


def test_every_make_target_in_the_readme_exists():
    makefile = Path("Makefile").read_text()
    for target in re.findall(r"`make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_link_to_a_file_leads_somewhere():
    for page in [Path("README.md"), *(Path(p, "README.md") for p in PACKAGES), *Path("docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page} -> {link}"


def test_no_file_names_a_package_registry_or_a_remote_font():
    hosts = (
        "pypi" + ".org",
        "python" + "hosted.org",
        "fonts.google" + "apis",
        "cdn.js" + "delivr",
        "npmjs" + ".org",
    )
    for folder in ("sandbox", "evaluators", "dashboards", "configs", "tests", "docs", "."):
        for file in Path(folder).glob("*" if folder == "." else "**/*"):
            if (
                file.suffix in {".py", ".md", ".toml", ".txt", ".html", ".css", ".json", ".yaml"}
                and file.is_file()
            ):
                text = file.read_text(errors="ignore")
                assert not [host for host in hosts if host in text], file
