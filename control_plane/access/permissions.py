"""Permissions, and which role has which: the one table that decides.

A permission's value is also the API key scope that grants it. Values are append-only.
"""

from enum import StrEnum


class Role(StrEnum):
    """A member's role, from least to most."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"
    OWNER = "owner"


class Permission(StrEnum):
    """What a route needs; `<resource>:<read|write|run|delete>`."""

    ORGS_READ = "orgs:read"
    ORGS_WRITE = "orgs:write"
    ORGS_DELETE = "orgs:delete"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    API_KEYS_READ = "api_keys:read"
    API_KEYS_WRITE = "api_keys:write"
    AUDIT_READ = "audit:read"
    WAREHOUSE_READ = "warehouse:read"
    WAREHOUSE_WRITE = "warehouse:write"
    CONNECTIONS_READ = "connections:read"
    CONNECTIONS_WRITE = "connections:write"
    CONNECTIONS_RUN = "connections:run"
    UPLOADS_READ = "uploads:read"
    UPLOADS_WRITE = "uploads:write"
    TRANSFORMATIONS_READ = "transformations:read"
    TRANSFORMATIONS_WRITE = "transformations:write"
    TRANSFORMATIONS_RUN = "transformations:run"
    DEPENDENCIES_READ = "dependencies:read"
    DEPENDENCIES_WRITE = "dependencies:write"
    SCHEDULES_READ = "schedules:read"
    SCHEDULES_WRITE = "schedules:write"
    FRESHNESS_READ = "freshness:read"
    FRESHNESS_WRITE = "freshness:write"
    MANIFEST_READ = "manifest:read"
    MANIFEST_WRITE = "manifest:write"
    RUNS_READ = "runs:read"
    RUNS_RUN = "runs:run"
    DELETED_READ = "deleted:read"
    DELETED_WRITE = "deleted:write"
    DATA_KEY_READ = "data_key:read"
    DATA_KEY_WRITE = "data_key:write"
    SECRETS_RUN = "secrets:run"


_VIEWER = frozenset(
    p
    for p in Permission
    if p.value.endswith(":read")
    and p
    not in {
        Permission.AUDIT_READ,
        Permission.API_KEYS_READ,
        Permission.DELETED_READ,
        Permission.DATA_KEY_READ,
    }
)
_EDITOR = _VIEWER | {
    Permission.CONNECTIONS_WRITE,
    Permission.CONNECTIONS_RUN,
    Permission.UPLOADS_WRITE,
    Permission.TRANSFORMATIONS_WRITE,
    Permission.TRANSFORMATIONS_RUN,
    Permission.DEPENDENCIES_WRITE,
    Permission.SCHEDULES_WRITE,
    Permission.FRESHNESS_WRITE,
    Permission.MANIFEST_WRITE,
    Permission.RUNS_RUN,
}
_ADMIN = _EDITOR | {
    Permission.ORGS_WRITE,
    Permission.MEMBERS_WRITE,
    Permission.API_KEYS_READ,
    Permission.API_KEYS_WRITE,
    Permission.AUDIT_READ,
    Permission.WAREHOUSE_WRITE,
    Permission.DELETED_READ,
    Permission.DELETED_WRITE,
    Permission.DATA_KEY_READ,
    Permission.SECRETS_RUN,
}

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.EDITOR: _EDITOR,
    Role.ADMIN: _ADMIN,
    Role.OWNER: frozenset(Permission),
}

# A run in a process of the caller's own: it gets the connections' passwords in plain text, which
# a run that the platform starts keeps from whoever launches it.
SHELL_RUN = frozenset({Permission.RUNS_RUN, Permission.SECRETS_RUN})


def may_give(role: Role, given: Role) -> bool:
    """Tells whether somebody with `role` may make others `given`, or change those who are.

    Admins manage everybody but owners; only owners make and unmake owners.
    """
    return role == Role.OWNER or (role == Role.ADMIN and given != Role.OWNER)
