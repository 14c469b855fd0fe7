"""The strongest complete wall is taken, it is said why no stronger one, and there is none without a wall."""

import pytest
from pydantic import ValidationError

from sandbox.errors import Unfit
from sandbox.settings import Isolation
from sandbox.submissions.isolation import choose
from sandbox.submissions.isolation.backend import Layer


class Wall:
    def __init__(self, name, *missing):
        self.name, self.missing = name, missing

    def layers(self):
        yield Layer("kernel", True, "fine")
        for name in self.missing:
            yield Layer(name, False, f"no {name}", f"install {name}")


@pytest.fixture
def machine(monkeypatch):
    """A machine whose walls lack what is said."""

    def have(**missing):
        monkeypatch.setattr(choose, "backend", lambda name, _: Wall(name, *missing.get(name, ())))

    return have


def test_the_strongest_is_taken_when_all_are_complete(machine):
    machine()
    choice = choose.weigh(Isolation())
    assert choice.backend.name == "bubblewrap"
    assert choice.words == "bubblewrap"


def test_the_next_is_taken_and_it_is_said_what_the_stronger_one_lacks(machine):
    machine(bubblewrap=["program", "user namespaces"])
    choice = choose.weigh(Isolation())
    assert choice.backend.name == "landlock"
    assert choice.words == "landlock; bubblewrap lacks program, user namespaces"


def test_with_no_complete_wall_every_missing_layer_comes_with_its_mend(machine):
    machine(bubblewrap=["program"], landlock=["seccomp", "Landlock"])
    with pytest.raises(Unfit) as refused:
        choose.choose(Isolation())
    for words in (
        "install program",
        "install seccomp",
        "install Landlock",
        "bubblewrap lacks",
        "landlock lacks",
    ):
        assert words in str(refused.value)


def test_a_named_wall_is_never_replaced_by_another(machine):
    machine(gvisor=["runsc"])
    with pytest.raises(Unfit, match="install runsc"):
        choose.choose(Isolation(backend="gvisor"))


def test_gvisor_is_used_only_where_it_is_named(machine):
    machine(bubblewrap=["program"], landlock=["seccomp"])
    with pytest.raises(Unfit):
        choose.choose(Isolation())
    assert choose.choose(Isolation(backend="gvisor")).name == "gvisor"


@pytest.mark.parametrize("name", ["none", "", "unconfined", "bwrap"])
def test_there_is_no_way_to_do_without(name):
    with pytest.raises(ValidationError):
        Isolation(backend=name)
    assert not {"none", "unconfined"} & set(choose.BACKENDS)


@pytest.mark.parametrize("name", choose.BACKENDS)
def test_every_wall_has_its_name_and_says_of_each_layer_what_was_found(name):
    wall = choose.backend(name, Isolation())
    assert wall.name == name
    for layer in wall.layers():
        assert layer.name
        assert layer.found
        assert layer.works or layer.mend
