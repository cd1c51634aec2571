"""What the tags of a new run may say. Who launches a run writes its tags, so each is a wish or a claim.

Dagster itself acts on some of them: it sorts the queue by one, and follows others
to runs and backfills of anybody (docs/decisions/0131-tags-of-a-new-run.md).
"""

from collections.abc import Mapping
from typing import Final

from dagster import DagsterRun
from dagster._core.storage.tags import (
    ASSET_EVALUATION_ID_TAG,
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    ASSET_RESUME_RETRY_TAG,
    AUTO_MATERIALIZE_TAG,
    AUTO_OBSERVE_TAG,
    AUTOMATION_CONDITION_TAG,
    BACKFILL_ID_TAG,
    CODE_LOCATION_TAG,
    MAX_RETRIES_TAG,
    MAX_RUNTIME_SECONDS_TAG,
    MULTIDIMENSIONAL_PARTITION_PREFIX,
    OP_SELECTION_TAG,
    PARENT_BACKFILL_ID_TAG,
    PARENT_RUN_ID_TAG,
    PARTITION_NAME_TAG,
    PARTITION_SET_TAG,
    PRIORITY_TAG,
    RESUME_RETRY_TAG,
    RETRY_NUMBER_TAG,
    RETRY_STRATEGY_TAG,
    ROOT_BACKFILL_ID_TAG,
    ROOT_RUN_ID_TAG,
    RUN_KEY_TAG,
    SCHEDULE_NAME_TAG,
    SCHEDULED_EXECUTION_TIME_TAG,
    SENSOR_NAME_TAG,
    STEP_SELECTION_TAG,
    TICK_ID_TAG,
)

from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.run_records import MANIFEST_TAG, ORG_TAG

PLATFORM_TAGS: Final = frozenset({ORG_TAG, MANIFEST_TAG, WORKER_TAG})
"""Tags that a new run may not bring along: they mean something because only we set them."""

_OURS: Final = "datanika/"

_LINEAGE: Final = frozenset({PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG, RETRY_NUMBER_TAG})

BACKFILL_TAGS: Final = (BACKFILL_ID_TAG, PARENT_BACKFILL_ID_TAG, ROOT_BACKFILL_ID_TAG)
"""They name a backfill, which must be one of the same organization."""

FROM_PEOPLE: Final = _LINEAGE | frozenset(
    {
        *BACKFILL_TAGS,
        ASSET_PARTITION_RANGE_END_TAG,
        ASSET_PARTITION_RANGE_START_TAG,
        ASSET_RESUME_RETRY_TAG,
        MAX_RETRIES_TAG,
        MAX_RUNTIME_SECONDS_TAG,
        OP_SELECTION_TAG,
        PARTITION_NAME_TAG,
        PARTITION_SET_TAG,
        PRIORITY_TAG,
        RESUME_RETRY_TAG,
        RETRY_STRATEGY_TAG,
        STEP_SELECTION_TAG,
    }
)
"""Tags of Dagster's that somebody who launches a run may write; what they claim is checked."""

FROM_DAEMON: Final = frozenset(
    {
        ASSET_EVALUATION_ID_TAG,
        AUTO_MATERIALIZE_TAG,
        AUTO_OBSERVE_TAG,
        AUTOMATION_CONDITION_TAG,
        RUN_KEY_TAG,
        SCHEDULED_EXECUTION_TIME_TAG,
        SCHEDULE_NAME_TAG,
        SENSOR_NAME_TAG,
        TICK_ID_TAG,
    }
)
"""Tags that say which schedule, sensor or condition has launched a run: no person may claim that."""

BOUNDS: Final[Mapping[str, range]] = {
    # Orgs take turns (`launcher/fair_turns.py`): it counts among the runs of one org alone.
    PRIORITY_TAG: range(-10, 11),
    MAX_RETRIES_TAG: range(4),
}
"""What may be wished for; what is beyond is brought to the nearest."""


def may_come_from_a_person(name: str) -> bool:
    """Tells whether somebody who launches a run may give it a tag of this name.

    A name with a slash is somebody's: Dagster's, a launcher's or the platform's. All others are people's.
    """
    return (
        "/" not in name or name in FROM_PEOPLE or name.startswith(MULTIDIMENSIONAL_PARTITION_PREFIX)
    )


def of_a_person(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Returns those of the tags that somebody who launches a run may give it."""
    return {name: value for name, value in (tags or {}).items() if may_come_from_a_person(name)}


def known(tags: Mapping[str, str] | None, org: str | None) -> dict[str, str]:
    """Returns those of the tags that something here or in Dagster has a use for.

    Args:
        tags: As somebody wrote them.
        org: Whose it is; is stamped.
    """
    own = {name: value for name, value in (tags or {}).items() if _is_known(name)}
    return own | {ORG_TAG: org} if org else own


def _is_known(name: str) -> bool:
    if name.startswith(_OURS):
        # Set by the platform's own processes; people's are dropped before (`gateway/scoped/`).
        return name not in PLATFORM_TAGS
    return name in FROM_DAEMON or may_come_from_a_person(name)


def of_new_run(run: DagsterRun, org: str | None) -> dict[str, str]:
    """Returns the tags that a new run is stored with.

    Args:
        run: Its lineage is that of its fields, which are checked; tags that say otherwise are not kept.
        org: Whose it is.
    """
    dropped = frozenset[str]() if run.parent_run_id else _LINEAGE
    tags = {name: value for name, value in known(run.tags, org).items() if name not in dropped}
    for name, bounds in BOUNDS.items():
        if name in tags:
            tags |= _within(name, tags.pop(name), bounds)
    if run.remote_job_origin and CODE_LOCATION_TAG in run.tags:
        tags[CODE_LOCATION_TAG] = run.remote_job_origin.location_name
    if run.parent_run_id:
        tags[PARENT_RUN_ID_TAG] = run.parent_run_id
        tags[ROOT_RUN_ID_TAG] = run.root_run_id or run.parent_run_id
    return tags


def _within(name: str, value: str, bounds: range) -> dict[str, str]:
    try:
        wish = int(value)
    except ValueError:
        return {}
    return {name: str(max(bounds.start, min(wish, bounds.stop - 1)))}
