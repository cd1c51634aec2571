"""What an org can read: all that is its own, and nothing of the others, which is there all the same."""

import pytest
from dagster import DagsterEventType, EventRecordsFilter, RunsFilter
from dagster._core.execution.backfill import BulkActionsFilter

from tests.datanika_dagster.gateway.scoped.world import EVALUATION_ID

QUESTIONS = {
    "runs": lambda i, o: i.run_storage.get_runs(),
    "runs by id": lambda i, o: i.run_storage.get_runs(RunsFilter(run_ids=[o.run.run_id])),
    "runs by tag": lambda i, o: i.run_storage.get_runs(RunsFilter(tags={"mine": o.canary})),
    "runs by org": lambda i, o: i.run_storage.get_runs(RunsFilter(tags={"datanika/org": o.slug})),
    "runs by snapshot": lambda i, o: i.run_storage.get_run_records(
        RunsFilter(snapshot_id=o.run.job_snapshot_id)
    ),
    "records": lambda i, o: i.run_storage.get_run_records(),
    "tags": lambda i, o: i.run_storage.get_run_tags(["mine"]),
    "tags by prefix": lambda i, o: i.run_storage.get_run_tags(["mine"], o.canary[:10]),
    "tag keys": lambda i, o: i.run_storage.get_run_tag_keys(),
    "partitions of runs": lambda i, o: i.run_storage.get_run_partition_data(RunsFilter()),
    "backfills": lambda i, o: i.run_storage.get_backfills(),
    "backfills by tag": lambda i, o: i.run_storage.get_backfills(
        BulkActionsFilter(tags={"mine": o.canary})
    ),
    "backfills by id": lambda i, o: i.run_storage.get_backfills(
        BulkActionsFilter(backfill_ids=[o.backfill.backfill_id])
    ),
    "backfill": lambda i, o: i.run_storage.get_backfill(o.backfill.backfill_id),
    "all asset keys": lambda i, o: i.event_log_storage.all_asset_keys(),
    "asset keys": lambda i, o: i.event_log_storage.get_asset_keys(),
    "asset keys by prefix": lambda i, o: i.event_log_storage.get_asset_keys(prefix=[o.slug]),
    "asset keys by page": lambda i, o: i.event_log_storage.get_asset_keys([o.slug], limit=1),
    "assets": lambda i, o: i.event_log_storage.get_asset_records([o.key]),
    "summaries": lambda i, o: i.event_log_storage.get_latest_materialization_events([o.key]),
    "checks": lambda i, o: i.event_log_storage.get_asset_check_summary_records([o.check]),
    "last checks": lambda i, o: i.event_log_storage.get_latest_asset_check_execution_by_key(
        [o.check]
    ),
    "events of an asset": lambda i, o: i.event_log_storage.get_event_records(
        EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION, o.key)
    ),
    "log of a run": lambda i, o: i.event_log_storage.get_records_for_run(o.run.run_id),
    "pools": lambda i, o: i.event_log_storage.get_concurrency_keys(),
    "pool limits": lambda i, o: i.event_log_storage.get_pool_limits(),
    "pool": lambda i, o: i.event_log_storage.get_concurrency_info(o.pool),
    "some pools": lambda i, o: i.event_log_storage.get_concurrency_infos([o.pool]),
    "dynamic partitions": lambda i, o: i.event_log_storage.get_dynamic_partitions(o.partitions),
    "page of partitions": lambda i, o: i.event_log_storage.get_paginated_dynamic_partitions(
        o.partitions, limit=5, ascending=True
    ),
    "states": lambda i, o: i.schedule_storage.all_instigator_state(),
    "states of a repository": lambda i, o: i.schedule_storage.all_instigator_state(
        o.state.repository_origin_id, o.state.repository_selector_id
    ),
    "state": lambda i, o: i.schedule_storage.get_instigator_state(
        o.state.instigator_origin_id, o.state.selector_id
    ),
    "ticks": lambda i, o: i.schedule_storage.get_ticks(
        o.state.instigator_origin_id, o.state.selector_id
    ),
    "ticks by id": lambda i, o: i.schedule_storage.get_ticks_by_ids([o.tick.tick_id]),
    "tick": lambda i, o: i.schedule_storage.get_tick(o.tick.tick_id),
    "ticks of many": lambda i, o: i.schedule_storage.get_batch_ticks([o.state.selector_id], 10),
    "evaluations": lambda i, o: i.schedule_storage.get_auto_materialize_asset_evaluations(o.key, 5),
    "evaluations of checks": lambda i, o: i.schedule_storage.get_auto_materialize_asset_evaluations(
        o.check, 5
    ),
    "evaluations by id": lambda i, o: (
        i.schedule_storage.get_auto_materialize_evaluations_for_evaluation_id(EVALUATION_ID)
    ),
    "job snapshot": lambda i, o: i.run_storage.get_job_snapshot(o.run.job_snapshot_id),
    "plan snapshot": lambda i, o: i.run_storage.get_execution_plan_snapshot(
        o.run.execution_plan_snapshot_id
    ),
}


def answer(question, instance, org):
    """Returns an answer as text, and for a refusal the refusal."""
    try:
        return repr(question(instance, org))
    except Exception as error:  # noqa: BLE001 - a refusal must not name anything either
        return f"{error!r} {error}"


@pytest.mark.parametrize("name", QUESTIONS)
def test_nothing_of_another_org(mine, theirs, name):
    question = QUESTIONS[name]
    assert theirs.canary in answer(question, theirs.instance, theirs), "nothing there to be hidden"
    assert theirs.canary in answer(question, theirs.view(), theirs)
    assert mine.canary in answer(question, mine.view(), mine)
    assert theirs.canary not in answer(question, mine.view(), theirs)
    assert theirs.canary not in answer(question, mine.view(), mine)
    # Nor is the shorter slug's org seen by the longer one's.
    assert mine.canary not in answer(question, theirs.view(), mine)
