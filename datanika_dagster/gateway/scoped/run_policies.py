"""What an org may do with Dagster's run storage, method by method."""

from collections.abc import Mapping
from typing import Final

from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped.ownership import Kind
from datanika_dagster.gateway.scoped.policy import Custom, Deny, Derived, Own, Pass, Policy

POLICIES: Final[Mapping[str, Policy]] = {
    "add_backfill": Custom(least=Role.EDITOR),
    "add_daemon_heartbeat": Deny(),
    "add_execution_plan_snapshot": Custom(least=Role.EDITOR),
    "add_historical_run": Deny(),
    "add_job_snapshot": Custom(least=Role.EDITOR),
    "add_run": Custom(least=Role.EDITOR),
    "add_run_tags": Custom(least=Role.EDITOR),
    "add_run_telemetry": Deny(),
    "add_snapshot": Derived(least=Role.EDITOR),
    "alembic_version": Deny(),
    "delete_run": Custom(least=Role.ADMIN),
    "get_backfill": Custom(),
    "get_backfills": Custom(),
    "get_backfills_count": Custom(),
    "get_cursor_values": Custom(),
    "get_daemon_heartbeats": Custom(),
    "get_execution_plan_snapshot": Custom(),
    "get_job_snapshot": Custom(),
    "get_run_group": Custom(),
    "get_run_ids": Custom(),
    "get_run_partition_data": Custom(),
    "get_run_records": Custom(),
    "get_run_tag_keys": Custom(),
    "get_run_tags": Custom(),
    "get_runs": Custom(),
    "get_runs_count": Custom(),
    "handle_run_event": Custom(least=Role.EDITOR),
    "has_execution_plan_snapshot": Custom(),
    "has_job_snapshot": Custom(),
    "has_run": Own("run_id", Kind.RUN, otherwise=bool),
    "has_snapshot": Derived(),
    "migrate": Deny(),
    "optimize": Deny(),
    "optimize_for_webserver": Deny(),
    "replace_job_origin": Deny(),
    "set_cursor_values": Deny(),
    "supports_bucket_queries": Pass(),
    "supports_run_telemetry": Pass(),
    "update_backfill": Custom(least=Role.EDITOR),
    "wipe": Deny(),
    "wipe_daemon_heartbeats": Deny(),
}
