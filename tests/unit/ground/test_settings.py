"""Settings come from a file and the environment; what is misspelt is refused."""

import pytest

from sandbox.errors import Invalid, NotFound
from sandbox.roles import Role
from sandbox.settings import load


def write(tmp_path, text):
    path = tmp_path / "ndl.toml"
    path.write_text(text)
    return path


def test_a_file_sets_what_it_names_and_defaults_fill_the_rest(tmp_path):
    settings = load(write(tmp_path, '[storage]\nfolder = "/srv/ndl"\n'), {})
    assert settings.database_url == "sqlite:////srv/ndl/ndl.db"
    assert settings.serving.host == "127.0.0.1"


def test_the_environment_wins_over_the_file(tmp_path):
    file = write(tmp_path, "[serving]\nlive_port = 8501\n")
    assert load(file, {"NDL_SERVING__LIVE_PORT": "9000"}).serving.live_port == 9000


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("[storag]\nfolder='x'", {}, "storag: unknown key. Check its spelling"),
        ("[storage]\nfoldr='x'", {}, "storage.foldr: unknown key"),
        ("[serving]\nlive_port='many'", {}, "serving.live_port: input should be a valid integer"),
        ("[serving]\nlive_port=0", {}, "serving.live_port: input should be greater than or equal to 1"),
        ("[publication]\ndelta=1.0", {}, "publication.delta: input should be less than 1"),
        ("[people]\nana=['king']", {}, "people.ana.0: input should be 'developer', 'custodian'"),
        ("[storage", {}, "file: not TOML"),
        ("", {"NDL_STORAGE__FOLDR": "x"}, "storage.foldr: unknown key"),
        ("", {"NDL_STORGE__FOLDER": "x"}, "storge: unknown key"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path, text, environ, message):
    with pytest.raises(Invalid) as error:
        load(write(tmp_path, text), environ)
    assert message in str(error.value)


def test_every_wrong_setting_is_listed_at_once(tmp_path):
    with pytest.raises(Invalid, match="2 problems"):
        load(write(tmp_path, "[storage]\na=1\n[serving]\nb=2\n"), {})


def test_a_named_file_that_is_missing_is_an_error_not_a_default(tmp_path):
    with pytest.raises(NotFound):
        load(tmp_path / "none.toml", {})


def test_an_undeclared_person_is_nobody(tmp_path):
    settings = load(write(tmp_path, "[people]\nana = ['overseer']\n"), {})
    assert settings.person("ana").roles == {Role.OVERSEER}
    with pytest.raises(NotFound, match="Known: ana"):
        settings.person("ben")


def test_the_shipped_settings_files_are_valid():
    from pathlib import Path

    for file in Path("configs").glob("*.toml"):
        load(file, {})
