"""Who may do what. A person is a name with roles, declared in the settings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from sandbox.errors import Refused


class Role(StrEnum):
    DEVELOPER = "developer"
    CUSTODIAN = "custodian"
    OVERSEER = "overseer"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Person:
    name: str
    roles: frozenset[Role]

    def must_be(self, *roles: Role, to: str) -> None:
        """Raises Refused unless this person has one of the roles."""
        if not self.roles & set(roles):
            wanted = " or ".join(roles)
            have = ", ".join(sorted(self.roles)) or "nobody known here"
            raise Refused(f"Only {_article(wanted)} {wanted} may {to}; {self.name} is {have}.")


def must_not_be_own(person: Person, owners: Collection[str], *, to: str) -> None:
    """Nobody approves their own request: raises Refused when `person` is among the owners."""
    if person.name in owners:
        raise Refused(f"{person.name} made this request and so may not {to}. Ask a colleague to decide.")


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
