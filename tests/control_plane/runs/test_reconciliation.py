"""What is followed comes right, whatever went wrong while it was followed."""

import uuid

import pytest

from control_plane.core.database import enter_org
from control_plane.runs import reconciliation
from control_plane.runs.dagster import DagsterClient
from control_plane.runs.models import Run, RunStatus
from control_plane.runs.reconciliation import MISSING, MISSING_FOR, RunReconciler


def row_of(session, org_id, run_id) -> Run | None:
    enter_org(session, org_id)
    session.expire_all()
    return session.get(Run, run_id)


@pytest.fixture
def start(flaky):
    """Starts a run that no control plane launched, as a schedule does."""

    def begin(status: str = "SUCCESS") -> str:
        run_id = str(uuid.uuid4())
        flaky.runs[f"none {run_id}"] = run_id
        flaky.statuses[run_id] = status
        return run_id

    return begin


@pytest.fixture
def started(start) -> str:
    return start()


def test_a_run_that_could_not_be_followed_once_is_followed_later(
    started, factory, dagster_client, session, member, monkeypatch
):
    reconciler = RunReconciler(factory, dagster_client)
    monkeypatch.setattr(reconciliation, "AGAIN_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(reconciler, "_reconcile", lambda *_: 1 / 0)
        reconciler.run_once()
    assert row_of(session, member.org.id, started) is None
    reconciler.run_once()
    row = row_of(session, member.org.id, started)
    assert row is not None
    assert row.status == RunStatus.SUCCESS


def test_an_end_is_not_taken_back_by_whoever_looked_before(
    started, factory, dagster_client, session, member, flaky
):
    RunReconciler(factory, dagster_client).run_once()
    flaky.statuses[started] = "STARTED"
    RunReconciler(factory, dagster_client).run_once()
    assert row_of(session, member.org.id, started).status == RunStatus.SUCCESS


def test_a_run_that_was_deleted_in_dagster_does_not_go_on_for_ever(
    start, factory, dagster_client: DagsterClient, session, member, flaky
):
    run_id = start("STARTED")
    RunReconciler(factory, dagster_client).run_once()
    flaky.runs.clear()
    RunReconciler(factory, dagster_client).run_once()
    assert row_of(session, member.org.id, run_id).status == RunStatus.RUNNING, "perhaps in a moment"
    row_of(session, member.org.id, run_id).created_at -= 2 * MISSING_FOR
    session.commit()
    RunReconciler(factory, dagster_client).run_once()
    row = row_of(session, member.org.id, run_id)
    assert (row.status, row.error) == (RunStatus.CANCELLED, MISSING)
