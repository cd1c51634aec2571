"""Differential fuzz of every root query, generated from the schema.

A person asks for another org's things, and for things that do not exist: the answers are the same, so
that nothing is learnt, not even whether something is there. Each field has a positive control: for the
same two questions the stock webserver does give different answers. A field without one says why not.
"""

import re
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import AssetKey

from datanika_dagster.gateway.principal import Role
from tests.datanika_dagster.gateway.calls import QUERIES
from tests.datanika_dagster.gateway.operations import operation

# Where a field fails, Dagster leaves the coroutines of its neighbours without awaiting them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NO_CONTROL = {
    "appManagedComponentsForLocationOrError": "a feature of Dagster's hosted product",
    "autoMaterializeEvaluationsForEvaluationId": "the stock webserver fails where a check has one",
    "autoMaterializeTicks": "they are of the deployment, and there are none",
    "canBulkTerminate": "it is of the caller alone",
    "capturedLogsMetadata": "it is made of the question alone",
    "componentsForLocationOrError": "the platform's definitions have no components",
    "latestDefsStateInfo": "the platform's definitions have no such state",
    "partitionSetOrError": "the platform's assets have no partitions",
    "partitionSetsOrError": "the platform's assets have no partitions",
    "permissions": "it is of the caller alone",
    "scheduler": "it is of the installation",
    "sensorOrError": "the platform defines no sensor",
    "shouldShowNux": "it is of the installation",
    "test": "it is a test's",
    "version": "it is of the installation",
}


def ghost(like: Any) -> SimpleNamespace:
    """An org that does not exist, with names as long as those of one that does."""
    canary = f"canary{uuid.uuid4().hex[:12]}"
    slug = "z" + uuid.uuid4().hex[: len(like.slug) - 1]
    run = SimpleNamespace(run_id=str(uuid.uuid4()), job_snapshot_id=uuid.uuid4().hex + "00000000")
    state = SimpleNamespace(
        repository_origin_id=uuid.uuid4().hex + "33333333",
        repository_selector_id=uuid.uuid4().hex + "44444444",
        instigator_origin_id=uuid.uuid4().hex + "11111111",
        selector_id=uuid.uuid4().hex + "22222222",
    )
    return SimpleNamespace(
        slug=slug,
        canary=canary,
        location=f"org_{slug}",
        key=AssetKey([slug, "warehouse", "raw", canary]),
        pool=f"{slug}__dbt__{canary}",
        partitions=f"{slug}__days{canary}",
        schedule=f"schedule_{canary}",
        run=run,
        child=SimpleNamespace(run_id=str(uuid.uuid4())),
        backfill=SimpleNamespace(backfill_id=uuid.uuid4().hex[:8]),
        state=state,
        log_keys=[[run.run_id, "compute_logs", "step"]],
    )


def normal(text: str, org: Any) -> str:
    """An answer with placeholders for what the question named."""
    named = {
        org.canary: "«CANARY»",
        org.location: "«LOCATION»",
        org.slug: "«SLUG»",
        org.run.run_id: "«RUN»",
        org.child.run_id: "«CHILD»",
        org.run.job_snapshot_id: "«SNAPSHOT»",
        org.backfill.backfill_id: "«BACKFILL»",
        org.state.instigator_origin_id: "«ORIGIN»",
        org.state.selector_id: "«SELECTOR»",
        org.state.repository_origin_id: "«REPOSITORY»",
        org.state.repository_selector_id: "«REPOSITORY»",
    }
    for value in sorted(named, key=len, reverse=True):
        text = text.replace(value, named[value])
    # References of masked errors differ each time.
    return re.sub(r"\b[0-9a-f]{12}\b", "«REFERENCE»", text)


def difference(one: str, other: str) -> str | None:
    """Returns where two answers part, None where they are equal."""
    if one == other:
        return None
    at = next((n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
    return f"{one[max(0, at - 200) : at + 200]!r} / {other[max(0, at - 20) : at + 200]!r}"


def answerable(ui, name: str) -> str:
    """Returns a query without the fields that fail for the stock webserver, too.

    One that fails, for example for each asset without partitions, would take all the rest of the
    answer with it and hide what that says.
    """
    left_out: frozenset[str] = frozenset()
    while True:
        query = operation("query", name, left_out=left_out)
        errors = ui.post(query, QUERIES[name](ui.theirs), None).json().get("errors", [])
        failed = {str(one["path"][-1]) for one in errors if len(one.get("path", ())) > 1}
        if not failed - left_out:
            return query
        left_out |= failed


def answers(ui, query: str, arguments: dict[str, Any], org: Any, role: Role | None) -> str:
    return normal(ui.post(query, arguments, role).text, org)


@pytest.mark.parametrize("name", QUERIES)
def test_another_orgs_things_look_like_things_that_do_not_exist(ui, name):
    theirs, nobodys = ui.theirs, ghost(ui.theirs)
    query = answerable(ui, name)
    asked = [(query, QUERIES[name](org), org) for org in (theirs, nobodys)]
    stock = [answers(ui, *question, None) for question in asked]
    is_wide = QUERIES[name](theirs) == QUERIES[name](nobodys)
    shows = "«" in stock[0] if is_wide else stock[0] != stock[1]
    assert shows == (name not in NO_CONTROL), f"the positive control: {stock[0][:3000]}"
    for role in (Role.VIEWER, Role.OWNER):
        own = [answers(ui, *question, role) for question in asked]
        assert difference(*own) is None
        if is_wide:
            assert "«" not in own[0].replace("«REFERENCE»", "")
