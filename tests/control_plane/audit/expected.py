"""What each operation leaves in the audit logs when it succeeds: the one table of that.

An operation that changes something and has no row here fails by name in `test_completeness.py`.
"""

from dataclasses import dataclass

ORG = "/api/v1/orgs/{org}"
PLATFORM = "platform"
ONE_ORG = "org"


@dataclass(frozen=True)
class Left:
    """An entry.

    Attributes:
        log: `org`, or `platform` for the platform's own.
        action: What was done.
        resource_type: To what.
        old: Whether it has values before.
        new: Whether it has values after.
        actor_kind: Who did it.
    """

    log: str
    action: str
    resource_type: str
    old: bool = False
    new: bool = False
    actor_kind: str = "user"


def _org(action: str, kind: str, *, old: bool = False, new: bool = False) -> list[Left]:
    return [Left(ONE_ORG, action, kind, old, new)]


def _platform(action: str, kind: str, *, old: bool = False, new: bool = False) -> list[Left]:
    return [Left(PLATFORM, action, kind, old, new)]


def _person(action: str, kind: str, *, new: bool = False, orgs: int = 1) -> list[Left]:
    """A person's doing is in the platform's log, and in that of each of their orgs."""
    return _platform(action, kind, new=new) + _org(action, kind) * orgs


def _resource(kind: str, path: str) -> dict[str, list[Left]]:
    one = f"{ORG}/{path}/{{{kind.removeprefix('freshness_')}_id}}"
    return {
        f"POST {ORG}/{path}": _org("create", kind, new=True),
        f"DELETE {one}": _org("delete", kind, old=True),
        f"POST {one}/restore": _org("restore", kind, new=True),
        f"PATCH {one}": _org("update", kind, old=True, new=True),
    }


ENTRIES: dict[str, list[Left]] = {
    **_resource("connection", "connections"),
    **_resource("upload", "uploads"),
    **_resource("transformation", "transformations"),
    **_resource("dependency", "dependencies"),
    **_resource("schedule", "schedules"),
    **_resource("freshness_policy", "freshness-policies"),
    f"POST {ORG}/publish": _org("publish", "manifest", new=True),
    f"POST {ORG}/runs": _org("run", "run", new=True),
    f"POST {ORG}/uploads/{{upload_id}}/runs": _org("run", "run", new=True),
    f"POST {ORG}/transformations/{{transformation_id}}/runs": _org("run", "run", new=True),
    f"POST {ORG}/runs/{{run_id}}/retry": _org("run", "run", new=True),
    f"POST {ORG}/runs/{{run_id}}/cancel": _org("cancel", "run"),
    f"POST {ORG}/warehouse/credentials": _org("create", "warehouse_reader"),
    # The organization and who is in it
    f"PATCH {ORG}": _org("update", "organization", old=True, new=True),
    f"DELETE {ORG}": _org("delete", "organization", new=True)
    + _platform("delete", "organization", new=True),
    f"PATCH {ORG}/members/{{user_id}}": _org("update", "member", old=True, new=True),
    f"DELETE {ORG}/members/{{user_id}}": _org("delete", "member", old=True, new=True),
    f"POST {ORG}/members/leave": _org("leave", "member", old=True, new=True),
    f"POST {ORG}/invitations": _org("create", "invitation", new=True),
    f"POST {ORG}/invitations/{{invitation_id}}/renew": _org("renew", "invitation", new=True),
    f"DELETE {ORG}/invitations/{{invitation_id}}": _org("delete", "invitation", old=True),
    f"POST {ORG}/api-keys": _org("create", "api_key", new=True),
    f"DELETE {ORG}/api-keys/{{key_id}}": _org("delete", "api_key", old=True),
    # A worker rotates further; with one connection or none the first pass is the last.
    f"POST {ORG}/data-key/rotations": [
        Left(ONE_ORG, "rotate", "data_key"),
        Left(ONE_ORG, "rotation_completed", "data_key", actor_kind="system"),
    ],
    # Who signs in
    "POST /api/v1/auth/signup": _org("create", "organization", new=True)
    + _person("sign_up", "user"),
    "POST /api/v1/auth/login": _person("login", "session", orgs=0),
    "POST /login": _person("login", "session", orgs=0),
    "POST /api/v1/auth/oauth/exchange": _person("login", "session", new=True),
    "POST /api/v1/auth/logout": _person("logout", "session"),
    "DELETE /api/v1/auth/sessions/{session_id}": _person("logout", "session"),
    "POST /api/v1/auth/switch": _person("switch", "session", new=True),
    "POST /api/v1/auth/password": _person("password_change", "user"),
    "POST /api/v1/auth/password-resets/redeem": _person("password_reset", "user"),
    "POST /api/v1/auth/invitations/accept": _org("accept", "invitation", new=True)
    + _org("create", "member", new=True)
    + _person("sign_up", "user")
    + _person("login", "session"),
    # Platform operators
    "POST /api/v1/system/password-resets": _platform("create", "password_reset"),
    # The address of the user is not proven: a link for a new password comes with it.
    "POST /api/v1/system/operators": _platform("create", "password_reset")
    + _platform("create", "operator", new=True),
    "DELETE /api/v1/system/operators/{user_id}": _platform("delete", "operator", old=True),
    "POST /api/v1/system/orgs": _org("create", "organization", new=True)
    + _org("create", "invitation", new=True)
    + _platform("create", "organization", new=True),
    **{
        f"POST /api/v1/system/orgs/{{slug}}/{action}": _org(
            action, "organization", old=True, new=True
        )
        + _platform(action, "organization", old=True, new=True)
        for action in ("suspend", "restore")
    },
    "PUT /api/v1/system/orgs/{slug}/quota": _org("set_quota", "organization", old=True, new=True)
    + _platform("set_quota", "organization", old=True, new=True),
    "POST /api/v1/system/key-encryption-key/rotations": [
        Left(PLATFORM, "rotate", "key_encryption_key"),
        Left(PLATFORM, "rotation_completed", "key_encryption_key", new=True, actor_kind="system"),
    ],
    "POST /api/v1/system/orgs/{slug}/data-key/rotations": [
        Left(ONE_ORG, "rotate", "data_key"),
        Left(PLATFORM, "rotate", "data_key", new=True),
        Left(ONE_ORG, "rotation_completed", "data_key", actor_kind="system"),
    ],
    # The platform's own processes
    "POST /internal/v1/runs/{run_id}/authorize": [
        Left(ONE_ORG, "run", "run", new=True, actor_kind="system")
    ],
    "POST /internal/v1/orgs/{org}/intents": _org("cancel", "backfill", new=True),
    "POST /internal/v1/task-tokens": [Left(ONE_ORG, "run", "run", new=True, actor_kind="api_key")],
    "POST /internal/v1/task-tokens/redeem": _org("secret_access", "task_token", new=True),
}

# What leaves no entry of its own, and why not.
WITHOUT: dict[str, str] = {
    "POST /internal/v1/runs/changes": "changes nothing; has the platform look at runs at once",
    f"POST {ORG}/connections/{{connection_id}}/test": "changes nothing; the access to secrets is on"
    " record",
    f"POST {ORG}/connections/{{connection_id}}/metadata/sync": "a cache of what a source has; the"
    " access to secrets is on record",
    f"POST {ORG}/transformations/preview": "changes nothing; the access to secrets is on record",
    "POST /api/v1/auth/refresh": "a session goes on; a reused token is on record",
    "POST /api/v1/auth/invitations/show": "changes nothing",
    "POST /api/v1/auth/password-resets": "the mail is on record where one is sent",
    "POST /api/v1/system/orgs/{slug}/resume": "the matrix's org is not suspended; test_platform_orgs"
    " resumes one",
    "POST /logout": "nobody is signed in by a cookie in the matrix; test_sign_in signs one out",
    **{
        f"{method} /api/v1/system/{path}": "the matrix has no master password; tests/control_plane/"
        "keys has one"
        for method, path in (
            ("POST", "seal"),
            ("POST", "unlock"),
            ("POST", "master-password"),
            ("PUT", "master-password"),
        )
    },
}
