"""Run storage that says whose each run is.

Every process that writes runs (webserver, daemon, run, shell) uses this class by `dagster.yaml`.
The tag `datanika/org` comes from the code location a run originates from, never from the caller:
who can launch a run can also set tags.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from dagster import DagsterEvent, DagsterEventType, DagsterRun
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.storage.dagster_run import RunsFilter
from dagster._serdes import ConfigurableClassData
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.utils import pg_url_from_config

from datanika_dagster import run_signals, settings
from datanika_dagster.errors import RunRefused
from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.names import org_of_location
from datanika_manifest.run_records import LAUNCH_TAG, MANIFEST_TAG, ORG_TAG

PLATFORM_TAGS = frozenset({ORG_TAG, MANIFEST_TAG, WORKER_TAG})
"""Tags that a new run may not bring along: they mean something because only we set them."""
ENDINGS = frozenset(
    {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
)


class StampingRunStorage(PostgresRunStorage):
    """PostgreSQL run storage that stamps the org and checks lineage."""

    _has_stats_columns = False
    _has_backfill_column = False

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Makes the storage that `dagster.yaml` describes."""
        return cls(inst_data=inst_data, postgres_url=pg_url_from_config(config_value))  # type: ignore[arg-type]

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Stores a run under the org of its code location.

        Raises:
            RunRefused: It claims a parent or root run of another org.
        """
        org = _org_of(dagster_run)
        self._check_lineage(dagster_run, org)
        tags = _stamped(dagster_run.tags, org)
        if dagster_run.parent_run_id:
            # A retry is given its parent's tags, and is not what that request launched.
            tags.pop(LAUNCH_TAG, None)
        return super().add_run(dagster_run.with_tags(tags))

    def add_historical_run(self, dagster_run: DagsterRun, run_creation_time: Any) -> DagsterRun:
        """Refuses: nothing here imports runs, and they would not be stamped.

        Raises:
            RunRefused: Always.
        """
        raise RunRefused("Runs cannot be imported.")

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Adds tags to a run; the org stays what it is."""
        super().add_run_tags(
            run_id, {name: value for name, value in new_tags.items() if name != ORG_TAG}
        )

    def handle_run_event(
        self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None
    ) -> None:
        """Stores a run's new status; where it is an end, a place in the queue has become free."""
        super().handle_run_event(run_id, event, update_timestamp)
        if event.event_type in ENDINGS:
            run_signals.send(self)

    def has_run_stats_index_cols(self) -> bool:
        """Tells whether these columns are there; they stay, and each question reads the catalogue."""
        if not self._has_stats_columns:
            self._has_stats_columns = super().has_run_stats_index_cols()
        return self._has_stats_columns

    def has_backfill_id_column(self) -> bool:
        """Tells whether this column is there; it stays, and each question reads the catalogue."""
        if not self._has_backfill_column:
            self._has_backfill_column = super().has_backfill_id_column()
        return self._has_backfill_column

    def add_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Stores a backfill under the org of its code location or of all its assets."""
        tags = _stamped(partition_backfill.tags, _org_of_backfill(partition_backfill))
        super().add_backfill(partition_backfill._replace(tags=tags))

    def _check_lineage(self, run: DagsterRun, org: str | None) -> None:
        ancestors = {run_id for run_id in (run.parent_run_id, run.root_run_id) if run_id}
        if not ancestors:
            return
        own = RunsFilter(run_ids=list(ancestors), tags={ORG_TAG: org} if org else {})
        if org is None or self.get_runs_count(own) != len(ancestors):
            raise RunRefused("The parent or root run is not one of this organization's runs.")


def _org_of(run: DagsterRun) -> str | None:
    if run.remote_job_origin:
        return _org_of_repository(run.remote_job_origin.repository_origin)
    # A run without an origin was made by this very process: a shell, which says whose it is.
    return settings.read().org


def _org_of_repository(origin: RemoteRepositoryOrigin) -> str | None:
    return org_of_location(origin.code_location_origin.location_name)


def _org_of_backfill(backfill: PartitionBackfill) -> str | None:
    if backfill.partition_set_origin:
        return _org_of_repository(backfill.partition_set_origin.repository_origin)
    orgs = {key.path[0] for key in backfill.asset_selection or ()}
    return orgs.pop() if len(orgs) == 1 else None


def _stamped(tags: Mapping[str, str] | None, org: str | None) -> dict[str, str]:
    kept = {name: value for name, value in (tags or {}).items() if name not in PLATFORM_TAGS}
    return kept | {ORG_TAG: org} if org else kept
