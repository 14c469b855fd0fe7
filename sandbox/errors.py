"""What can go wrong, in words for the person who can put it right. No message quotes a record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class NDLError(Exception):
    """Any refusal or failure that a person should read as one or two sentences.

    `exit_code` is what the `ndl` command ends with; the codes are listed in the README.
    """

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong in something a person wrote: where it is, what is wrong, what to do."""

    where: str
    what: str
    todo: str = ""

    def __str__(self) -> str:
        sentence = f"{self.where}: {self.what}"
        return f"{sentence}. {self.todo}" if self.todo else sentence


class Invalid(NDLError):
    """Something a person wrote (a card, a manifest, a setting) is wrong; lists every problem at once."""

    exit_code = 2

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}"
        super().__init__("\n".join([f"{subject} has {count}:", *(f"  - {p}" for p in self.problems)]))


class Refused(NDLError):
    """A rule of the sandbox or of a custodian says no; nothing was changed and nothing spent."""

    exit_code = 3


class BudgetExhausted(Refused):
    """The ledger of a population has less left than was asked for."""

    def __init__(self, population: str, asked: float, left: float) -> None:
        self.population, self.asked, self.left = population, asked, left
        super().__init__(
            f"{population!r} has ε = {left:.3g} left and this needs ε = {asked:.3g}.\n"
            "Ask for a smaller epsilon, or ask the data custodian for a larger budget."
        )


class NoSlot(Refused):
    """No free slot of a population's plan is as large as what was asked."""

    def __init__(self, pool: str, free: Iterable[str]) -> None:
        names = ", ".join(free) or "none"
        super().__init__(
            f"No free slot of {pool!r} is as large as this in every respect (free: {names}).\n"
            "See what would fit with `ndl budget quote`, or ask the data custodian."
        )


class NotFound(NDLError):
    """A name that is not known here."""

    exit_code = 4

    def __init__(self, kind: str, name: object, known: Iterable[str] = ()) -> None:
        listed = ", ".join(sorted(known))
        super().__init__(f"There is no {kind} called {name!r}." + (f" Known: {listed}." if listed else ""))


class Quarantined(NDLError):
    """A wave failed its checks and was put aside whole; no model was evaluated on it."""

    exit_code = 5


class Unfit(NDLError):
    """This machine lacks something a step needs; says what and how to mend it."""

    exit_code = 6
