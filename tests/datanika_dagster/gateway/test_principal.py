"""A principal is what the control plane said about a session, or nobody."""

import pytest

from datanika_dagster.control_plane_client import Session
from datanika_dagster.gateway.principal import Role, principal_of

KEY = (("cookie", "datanika_session=canary-session"),)
ANSWER = {
    "kind": "user",
    "name": "ada@acme.example",
    "org": "acme",
    "org_id": 7,
    "role": "editor",
    "permissions": ("runs:read", "runs:run"),
}


def session(**changes):
    return Session.model_validate(ANSWER | changes)


def test_says_who_and_where():
    principal = principal_of(session(), KEY)
    assert (principal.org, principal.org_id, principal.role) == ("acme", 7, Role.EDITOR)
    assert principal.permissions == {"runs:read", "runs:run"}
    assert (principal.actor, principal.location) == ("ada@acme.example", "org_acme")


@pytest.mark.parametrize(
    "changes",
    [
        {"org": None},
        {"org_id": None},
        {"org_id": 0},
        {"role": None},
        {"role": "superuser"},
        {"role": ""},
        {"org": "../acme"},
        {"org": ""},
        {"org": "Acme"},
        {"kind": "service"},
    ],
)
def test_nobody_comes_of_an_answer_that_is_not_understood(changes):
    assert principal_of(session(**changes), KEY) is None


def test_a_session_is_not_shown():
    assert "canary" not in f"{principal_of(session(), KEY)!r}"


def test_roles_are_ordered_by_what_they_may():
    assert [role for role in Role if role.at_least(Role.ADMIN)] == [Role.ADMIN, Role.OWNER]
    assert [role for role in Role if Role.EDITOR.at_least(role)] == [Role.VIEWER, Role.EDITOR]
