"""The task `connection_test`: does a connection work, and if not, why.

It has no side effect: whether schemas can be created is asked of the catalog, not tried.
"""

import time
from collections.abc import Mapping
from typing import Any

import psycopg

from datanika_dagster.connectors import errors
from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.registry import of_payload
from datanika_dagster.launcher.job import Job, JobError, Secrets
from datanika_manifest.connectors.base import Direction

CONNECT_TIMEOUT_SECONDS = 2  # libpq reads anything less as 2
QUERY_TIMEOUT_MS = 1500


def run(job: Job, payload: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    """Connects once and looks at what the role may do.

    Args:
        job: The channel to the caller.
        payload: `connection` (slug), `direction`, `allowed_networks`, `refused_endpoints`.
        secrets: The credentials of that connection.

    Returns:
        `server_version` and `duration_ms`.

    Raises:
        JobError: `connection.dns`, `refused`, `timeout`, `tls`, `auth`, `database_missing`,
            `permission` or `network_denied`.
    """
    started = time.monotonic()
    slug = payload["connection"]
    target = of_payload(secrets[slug], payload)
    version = _look(target, Direction(payload.get("direction") or Direction.SOURCE))
    duration_ms = round((time.monotonic() - started) * 1000)
    job.log("info", f"Connection '{slug}' works: {version}, {duration_ms} ms")
    return {"server_version": version, "duration_ms": duration_ms}


def _look(target: Endpoint, direction: Direction) -> str:
    with target.connect(connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS) as connection:
        try:
            connection.execute(
                "select set_config('statement_timeout', %s, false)", [str(QUERY_TIMEOUT_MS)]
            )
            row = connection.execute(
                "select current_setting('server_version'),"
                " has_database_privilege(current_database(), 'CREATE'),"
                " pg_is_in_recovery()"
            ).fetchone()
        except psycopg.Error as error:
            raise _after_log_in(target, error) from None
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    version, can_create, is_standby = row
    if direction is not Direction.SOURCE:
        _require_writable(target, can_create=can_create, is_standby=is_standby)
    return f"PostgreSQL {version}"


def _require_writable(target: Endpoint, *, can_create: bool, is_standby: bool) -> None:
    if is_standby:
        raise errors.permission(
            f"{target.host}:{target.port} is a read-only standby and cannot be a destination."
        )
    if not can_create:
        raise errors.permission(
            f"The role '{target.user}' may not create schemas in the database "
            f"'{target.database}': GRANT CREATE ON DATABASE to it."
        )


def _after_log_in(target: Endpoint, error: psycopg.Error) -> JobError:
    if isinstance(error, psycopg.errors.QueryCanceled):
        return errors.timeout(target.host, target.port, QUERY_TIMEOUT_MS / 1000)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return errors.permission(f"The role '{target.user}' may not read the catalog.")
    return errors.refused(target.host, target.port, "the connection was lost")
