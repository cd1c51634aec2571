"""Dagster's retries of runs whose process died, but at once, and none is lost.

Which runs are retried is said in `dagster.yaml` and by the reason of the failure
(docs/decisions/0111-retries.md). Told of a failure by the event log, Dagster looks once: before the
run's status says so, or past an event that is committed later than the one after it, and it gives up
where the org's code server does not answer. Therefore the runs that wait for a retry are
looked for, too (docs/decisions/0140-retries-are-looked-for.md).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.errors import (
    DagsterCodeLocationLoadError,
    DagsterCodeLocationNotFoundError,
    DagsterInvalidSubsetError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.storage.dagster_run import DagsterRun, RunRecord
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, RETRY_STRATEGY_TAG, WILL_RETRY_TAG
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import retry_run, should_retry
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.daemon import DaemonIterator
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from datanika_dagster import quotas
from datanika_dagster.launcher.signalled_daemon import SignalledDaemon
from datanika_dagster.storage import StampingRunStorage

LATELY: Final = timedelta(minutes=15)
"""How long a failure is looked at of which nobody has said whether it is retried."""

LATEST: Final = timedelta(days=1)
"""A retry that could not start for so long is given up, and its run says so."""

AT_ONCE: Final = 500
OF_ONE_ORG: Final = 50
"""So that those of an org whose code server is gone leave room for the others'."""

_LOOK_SECONDS: Final = 2.0
_MARK_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.05
_WAITING: Final = text(
    f"""
    select waiting.run_id from (
    select r.id, r.run_id, row_number() over (partition by o.org order by r.id) as place
    from runs r left join datanika.run_owners o on o.run_id = r.run_id
    where r.status = 'FAILURE' and (
        r.update_timestamp > :since and not exists (
            select 1 from run_tags t where t.run_id = r.run_id and t.key = '{WILL_RETRY_TAG}')
        or r.run_id in (
            select t.run_id from run_tags t where t.key = '{WILL_RETRY_TAG}' and t.value = 'true')
        and not exists (
            select 1 from run_tags t
            where t.run_id = r.run_id and t.key = '{AUTO_RETRY_RUN_ID_TAG}'))
    ) waiting where waiting.place <= :of_one order by waiting.id limit :limit
    """  # noqa: S608 - names of Dagster's
)
_PASSING: Final = (
    DagsterUserCodeUnreachableError,
    DagsterCodeLocationLoadError,
    DagsterCodeLocationNotFoundError,
    DagsterPostgresException,
    SQLAlchemyError,
)


class PromptRunRetries(SignalledDaemon, EventLogConsumerDaemon):
    """Starts retries as soon as a run has failed, and those that it was not told of."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settled: set[str] = set()
        self._next_look = 0.0

    @property
    def handle_updated_runs_fns(
        self,
    ) -> Sequence[Callable[[Any, Sequence[RunRecord], logging.Logger], Iterator[None]]]:
        """What is done about runs that have ended."""
        return [self._retry]

    def run_iteration(self, workspace_process_context: Any) -> DaemonIterator:
        """Looks at what it was told, and from time to time at every run that waits for a retry."""
        yield from super().run_iteration(workspace_process_context)
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        records = _waiting(workspace_process_context.instance)
        self._settled &= {record.dagster_run.run_id for record in records}
        yield from self._retry(workspace_process_context, records, self._logger)

    def _retry(
        self, workspace_context: Any, records: Sequence[RunRecord], logger: logging.Logger
    ) -> Iterator[None]:
        for record in records:
            run = record.dagster_run
            if run.status is not DagsterRunStatus.FAILURE or run.run_id in self._settled:
                continue
            yield
            if _settle(workspace_context, record, logger):
                self._settled.add(run.run_id)


def _settle(workspace_context: Any, record: RunRecord, logger: logging.Logger) -> bool:
    """Retries a failed run where it should be; returns False where that has to be tried again."""
    run, instance = record.dagster_run, workspace_context.instance
    if run.tags.get(WILL_RETRY_TAG) == "true" and _is_too_late(record):
        _give_up_late(instance, run)
        return True
    try:
        run = _marked(instance, record)
        if should_retry(run, instance):
            # It was started, and counted, before: nobody asked for one run more.
            with quotas.without_limit():
                retry_run(run, workspace_context)
        _settle_tag(instance, run.run_id)
    except _PASSING as error:
        logger.warning("Run %s is retried later: %s", run.run_id, type(error).__name__)
        return False
    except DagsterInvalidSubsetError as error:
        if _retry_all(instance, run):
            return False
        _give_up(instance, run, error, logger)
    except Exception as error:  # noqa: BLE001 - one run's trouble, not all's
        _give_up(instance, run, error, logger)
    return True


def _marked(instance: DagsterInstance, record: RunRecord) -> DagsterRun:
    """Returns a run with what its reporter says of a retry, which comes just after its status.

    Dagster would else add the same tag a second time; one whose reporter was killed has none.
    """
    run = record.dagster_run
    until = record.update_timestamp.replace(tzinfo=UTC).timestamp() + _MARK_SECONDS
    while WILL_RETRY_TAG not in run.tags and 0 < until - time.time() < _MARK_SECONDS:
        time.sleep(_POLL_SECONDS)
        run = instance.get_run_by_id(run.run_id) or run
    return run


def _retry_all(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Lets a run be retried whole: killed after its last step, it has none that failed.

    Returns:
        False where that was tried.
    """
    if RETRY_STRATEGY_TAG in run.tags:
        return False
    instance.add_run_tags(run.run_id, {RETRY_STRATEGY_TAG: ReexecutionStrategy.ALL_STEPS.value})
    return True


def _waiting(instance: DagsterInstance) -> Sequence[RunRecord]:
    """Returns failed runs that wait for a retry, and new ones of which nobody has said; oldest first."""
    storage = cast("StampingRunStorage", instance.run_storage)
    since = datetime.fromtimestamp(time.time(), UTC).replace(tzinfo=None) - LATELY
    values = {"since": since, "limit": AT_ONCE, "of_one": OF_ONE_ORG}
    with storage.connect() as connection:
        run_ids = list(connection.execute(_WAITING, values).scalars())
    return instance.get_run_records(RunsFilter(run_ids=run_ids)) if run_ids else []


def _settle_tag(instance: DagsterInstance, run_id: str) -> None:
    """Says of a run that came to no retry that none comes: its job or its backfill is gone."""
    run = instance.get_run_by_id(run_id)
    if run is None or AUTO_RETRY_RUN_ID_TAG in run.tags:
        return
    if run.tags.get(WILL_RETRY_TAG) == "true":
        instance.add_run_tags(run_id, {WILL_RETRY_TAG: "false"})


def _is_too_late(record: RunRecord) -> bool:
    return (
        time.time() - record.update_timestamp.replace(tzinfo=UTC).timestamp()
        > LATEST.total_seconds()
    )


def _give_up_late(instance: DagsterInstance, run: DagsterRun) -> None:
    instance.report_engine_event(
        f"The run is not retried any more: nobody could start its retry within {LATEST}.", run
    )
    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "false"})


def _give_up(
    instance: DagsterInstance, run: DagsterRun, error: Exception, logger: logging.Logger
) -> None:
    logger.error("Run %s cannot be retried", run.run_id, exc_info=error)
    instance.report_engine_event(f"The run cannot be retried: {type(error).__name__}.", run)
    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "false"})
