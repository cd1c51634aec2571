"""What a row of the tables says. It knows no field."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from datanika_dagster.gateway.principal import Role


class Reach(StrEnum):
    """What keeps a field's answer within the org."""

    LOCATION = "location"
    """It is made of the workspace, which holds the org's own code location alone."""
    STORAGE = "storage"
    """It is made of the instance, whose storages are the org's own view."""
    NESTED = "nested"
    """Its object has a table of its own, field by field."""
    DENY = "deny"
    """Nobody in an org gets it."""


class _Refusal:
    """Says that a field answers with an error."""


REFUSAL: Final = _Refusal()


@dataclass(frozen=True)
class FieldRule:
    """A row.

    Attributes:
        reach: What keeps the answer within the org.
        role: The least role; None for nobody.
        answer: What is answered instead, where nobody gets the field and the UI asks all the same.
        instead: Called in place of the field's own resolver.
    """

    reach: Reach
    role: Role | None = Role.VIEWER
    answer: Any = REFUSAL
    instead: Callable[..., Any] | None = None


Table = Mapping[str, FieldRule]


def rows(reach: Reach, *names: str, role: Role = Role.VIEWER) -> dict[str, FieldRule]:
    """Returns a row for each field, all alike."""
    return {name: FieldRule(reach, role) for name in names}


def denied(*names: str) -> dict[str, FieldRule]:
    """Returns rows of fields that nobody in an org gets."""
    return {name: FieldRule(Reach.DENY, None) for name in names}
