"""What may not run where the operating system keeps nobody apart. Knows no operating system.

For the first connector whose data are local files; nobody else has to ask. Whoever starts such a job
asks before each one, with the level that the host says (`info`, "isolation"), since a host may be another:

    ensure_allowed(level, connector="duckdb", has_own_macros=…, has_several_orgs=…)
    Terms(org_id, deadline_seconds, has_network=False)    # job_processes.py; what a run's step starts

`has_network=False` closes loopback and the machine's networks to the job at levels `users` and
`namespaces`; at `none` it changes nothing, which is what `ensure_allowed` is for.
"""

from typing import Final

from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher.fence.surroundings import Level

LOCAL_FILE_CONNECTORS: Final = frozenset({"duckdb", "sqlite"})
"""Engines inside the job's own process, whose SQL opens any file that the process can open."""


class IsolationMissing(ExecutionError):
    """This machine cannot keep such a job from other orgs' files."""

    code = "execution.isolation_missing"


def refuses(
    level: Level, *, connector: str, has_own_macros: bool, has_several_orgs: bool
) -> str | None:
    """Returns why a job must not run on a machine of that level, or None where it may.

    SQL on a database server is the server's to keep in. SQL of a dbt project on a local file runs
    in the job, where a macro may be Python in all but name; only the fence keeps it in.

    Args:
        level: The host's.
        connector: The kind of the warehouse, for example `postgres`.
        has_own_macros: Whether the dbt project has macros that a tenant wrote.
        has_several_orgs: Whether the stack has more than one org.
    """
    if level is not Level.NONE or not has_several_orgs or not has_own_macros:
        return None
    if connector not in LOCAL_FILE_CONNECTORS:
        return None
    return (
        f"A dbt project with macros of its own on {connector} runs as the stack's own user here "
        "and could read every organization's data. Run the stack as root or allow user "
        "namespaces (docs/install.md), or take the macros out."
    )


def ensure_allowed(
    level: Level, *, connector: str, has_own_macros: bool, has_several_orgs: bool
) -> None:
    """Refuses what `refuses` names.

    Raises:
        IsolationMissing: The job must not run here.
    """
    refusal = refuses(
        level,
        connector=connector,
        has_own_macros=has_own_macros,
        has_several_orgs=has_several_orgs,
    )
    if refusal is not None:
        raise IsolationMissing(refusal)
