"""What the tags of a new run may say. Who launches a run writes its tags, so each is a wish or a claim.

Dagster itself acts on some of them: it sorts the queue by one, and follows others
to runs and backfills of anybody (docs/decisions/0131-tags-of-a-new-run.md).
"""

from collections.abc import Mapping
from typing import Final

from dagster import DagsterRun
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    BACKFILL_ID_TAG,
    DOCKER_IMAGE_TAG,
    GRPC_INFO_TAG,
    MAX_RETRIES_TAG,
    PARENT_BACKFILL_ID_TAG,
    PARENT_RUN_ID_TAG,
    PRIORITY_TAG,
    RETRY_NUMBER_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    ROOT_BACKFILL_ID_TAG,
    ROOT_RUN_ID_TAG,
    RUN_FAILURE_REASON_TAG,
    RUN_METRICS_POLLING_INTERVAL_TAG,
    RUN_METRICS_PYTHON_RUNTIME_TAG,
    RUN_WORKER_ID_TAG,
    WILL_RETRY_TAG,
)

from datanika_dagster.tags import MACHINERY_PREFIXES, WORKER_TAG
from datanika_manifest.run_records import MANIFEST_TAG, ORG_TAG

PLATFORM_TAGS: Final = frozenset({ORG_TAG, MANIFEST_TAG, WORKER_TAG})
"""Tags that a new run may not bring along: they mean something because only we set them."""

_FACTS: Final = frozenset(
    {
        AUTO_RETRY_RUN_ID_TAG,
        DOCKER_IMAGE_TAG,
        GRPC_INFO_TAG,
        RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
        RUN_FAILURE_REASON_TAG,
        RUN_METRICS_POLLING_INTERVAL_TAG,
        RUN_METRICS_PYTHON_RUNTIME_TAG,
        RUN_WORKER_ID_TAG,
        WILL_RETRY_TAG,
    }
)
"""Tags that Dagster sets on a run later, or on one that nobody here launches."""

_LINEAGE: Final = frozenset({PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG, RETRY_NUMBER_TAG})

BACKFILL_TAGS: Final = (BACKFILL_ID_TAG, PARENT_BACKFILL_ID_TAG, ROOT_BACKFILL_ID_TAG)
"""They name a backfill, which must be one of the same organization."""

BOUNDS: Final[Mapping[str, range]] = {
    # Orgs take turns (`launcher/fair_turns.py`): it counts among the runs of one org alone.
    PRIORITY_TAG: range(-10, 11),
    MAX_RETRIES_TAG: range(4),
}
"""What may be wished for; what is beyond is brought to the nearest."""


def kept(tags: Mapping[str, str] | None, org: str | None) -> dict[str, str]:
    """Returns tags without those that mean something because only the platform sets them.

    Args:
        tags: As somebody wrote them.
        org: Whose they are; is stamped.
    """
    own = {
        name: value
        for name, value in (tags or {}).items()
        if name not in PLATFORM_TAGS and not name.startswith(MACHINERY_PREFIXES)
    }
    return own | {ORG_TAG: org} if org else own


def of_new_run(run: DagsterRun, org: str | None) -> dict[str, str]:
    """Returns the tags that a new run is stored with.

    Args:
        run: Its lineage is that of its fields, which are checked; tags that say otherwise are not kept.
        org: Whose it is.
    """
    dropped = _FACTS | (frozenset() if run.parent_run_id else _LINEAGE)
    tags = {name: value for name, value in kept(run.tags, org).items() if name not in dropped}
    for name, bounds in BOUNDS.items():
        if name in tags:
            tags |= _within(name, tags.pop(name), bounds)
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
