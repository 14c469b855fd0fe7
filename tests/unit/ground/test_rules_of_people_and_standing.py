"""Who may do what, and which steps a model version may take."""

import pytest

from sandbox.errors import BudgetExhausted, Invalid, NDLError, Problem, Refused
from sandbox.lifecycle import STANDINGS, Standing, check_standing
from sandbox.roles import Person, Role, must_not_be_own


def test_a_role_is_needed_for_what_it_guards():
    ana = Person("ana", frozenset({Role.DEVELOPER}))
    ana.must_be(Role.DEVELOPER, Role.OPERATOR, to="submit")
    with pytest.raises(Refused, match="Only an overseer may promote; ana is developer"):
        ana.must_be(Role.OVERSEER, to="promote")


def test_nobody_approves_their_own_request():
    ana = Person("ana", frozenset(Role))
    with pytest.raises(Refused, match="ana made this request"):
        must_not_be_own(ana, {"ana"}, to="promote it")
    must_not_be_own(ana, {"ben"}, to="promote it")


@pytest.mark.parametrize("now", Standing)
@pytest.mark.parametrize("wanted", Standing)
def test_a_step_is_allowed_exactly_when_the_table_says_so(now, wanted):
    if wanted in STANDINGS[now]:
        check_standing(now, wanted)
    else:
        with pytest.raises(Refused, match=f"A {now} model cannot become {wanted}"):
            check_standing(now, wanted)


def test_retired_is_final():
    assert STANDINGS[Standing.RETIRED] == frozenset()


def test_every_problem_is_listed_with_what_to_do():
    error = Invalid("card.json", [Problem("a", "is wrong", "Mend it."), Problem("b", "is missing")])
    assert str(error) == "card.json has 2 problems:\n  - a: is wrong. Mend it.\n  - b: is missing"


def test_an_exhausted_budget_says_how_much_is_left_and_who_can_help():
    words = str(BudgetExhausted("pupils", asked=5.0, left=3.0))
    assert words.startswith("'pupils' has ε = 3 left and this needs ε = 5.")
    assert "data custodian" in words


def test_exit_codes_are_distinct():
    kinds = [kind for kind in NDLError.__subclasses__() if kind.__module__ == NDLError.__module__]
    assert len({kind.exit_code for kind in kinds}) == len(kinds)
    assert all(kind.exit_code > NDLError.exit_code for kind in kinds)
