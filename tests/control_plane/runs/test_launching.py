"""Launches that go wrong half-way: nothing is lost, and nothing runs twice.

Everything that works is tested with the real Dagster in tests/end_to_end.
"""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org
from control_plane.manifest.service import get_current_manifest
from control_plane.runs.dagster import LaunchOutcomeUnknown, NotLoaded
from control_plane.runs.errors import IdempotencyKeyReused, LaunchInProgress, QuotaExceeded
from control_plane.runs.launching import LAUNCH_TIMEOUT, RunLauncher
from control_plane.runs.models import Launch, Run
from control_plane.runs.reconciliation import RunReconciler
from control_plane.runs.schemas import RunTarget


@pytest.fixture
def launcher(factory, dagster_client, member) -> RunLauncher:
    return RunLauncher(factory, dagster_client, member.caller)


TARGETS = [RunTarget(type="upload", id=1)]


def launches(session: Session, org_id: int) -> list[Launch]:
    enter_org(session, org_id)
    session.expire_all()
    return list(session.scalars(select(Launch)))


def test_records_who_launched_what(launcher, flaky, session, member):
    run = launcher.launch(TARGETS, None)
    assert run.id in flaky.runs.values()
    assert (run.trigger, run.actor_name) == ("api", member.user.email)
    assert run.targets == [{"type": "upload", "id": 1}]
    enter_org(session, member.org.id)
    assert run.manifest_sha256 == get_current_manifest(session, member.org.id).sha256


def test_an_answer_that_never_came_cannot_start_a_second_run(launcher, flaky, session, member):
    flaky.ending = "die_after_start"
    with pytest.raises(LaunchOutcomeUnknown):
        launcher.launch(TARGETS, "key")
    flaky.ending = "answer"
    with pytest.raises(LaunchInProgress):
        launcher.launch(TARGETS, "key")
    assert len(flaky.runs) == 1


def test_reconciliation_completes_such_a_launch(
    launcher, flaky, factory, dagster_client, session, member
):
    flaky.ending = "die_after_start"
    with pytest.raises(LaunchOutcomeUnknown):
        launcher.launch(TARGETS, "key")
    assert RunReconciler(factory, dagster_client).run_once() == 1
    flaky.ending = "answer"
    run = launcher.launch(TARGETS, "key")
    assert [run.id] == list(flaky.runs.values())
    assert (run.trigger, run.actor_name) == ("api", member.user.email)


def test_a_launch_that_came_to_nothing_frees_its_key(launcher, flaky, session, member):
    flaky.ending = "die_before_start"
    with pytest.raises(LaunchOutcomeUnknown):
        launcher.launch(TARGETS, "key")
    flaky.ending = "answer"
    (launch,) = launches(session, member.org.id)
    launch.created_at = utc_now() - LAUNCH_TIMEOUT - timedelta(seconds=1)
    session.commit()
    assert launcher.launch(TARGETS, "key").id in flaky.runs.values()


def test_an_old_launch_that_did_start_is_not_repeated(launcher, flaky, session, member):
    flaky.ending = "die_after_start"
    with pytest.raises(LaunchOutcomeUnknown):
        launcher.launch(TARGETS, "key")
    (launch,) = launches(session, member.org.id)
    launch.created_at = utc_now() - LAUNCH_TIMEOUT - timedelta(seconds=1)
    session.commit()
    with pytest.raises(LaunchInProgress):
        launcher.launch(TARGETS, "key")
    assert len(flaky.runs) == 1


def test_a_refused_launch_leaves_nothing_behind(launcher, flaky, session, member):
    flaky.ending = "refuse"
    with pytest.raises(NotLoaded):
        launcher.launch(TARGETS, "key")
    assert launches(session, member.org.id) == []


def test_a_launch_beyond_the_quota_says_when_to_come_back(launcher, flaky, session, member):
    flaky.ending = "quota"
    with pytest.raises(QuotaExceeded, match="has started 2 runs within an hour") as error:
        launcher.launch(TARGETS, "key")
    assert 88 <= error.value.retry_after_seconds <= 90
    assert launches(session, member.org.id) == [], "the key can be used again"


def test_a_key_belongs_to_one_body(launcher):
    launcher.launch(TARGETS, "key")
    with pytest.raises(IdempotencyKeyReused):
        launcher.launch(TARGETS, "key", priority=1)
    with pytest.raises(IdempotencyKeyReused):
        launcher.launch([], "key")


def test_reconciliation_can_be_repeated(launcher, flaky, factory, dagster_client):
    launcher.launch(TARGETS, None)
    reconciler = RunReconciler(factory, dagster_client)
    assert reconciler.run_once() == 1
    assert RunReconciler(factory, dagster_client).run_once() == 1


def test_a_run_that_cannot_be_read_is_in_nobodys_way(
    launcher, flaky, factory, dagster_client, session, member
):
    broken, fine = launcher.launch(TARGETS, None), launcher.launch(TARGETS, None)
    flaky.statuses = {broken.id: "FAILURE", fine.id: "SUCCESS"}
    reconciler = RunReconciler(factory, dagster_client)
    assert reconciler.run_once() == 2
    enter_org(session, member.org.id)
    session.expire_all()
    assert session.get_one(Run, fine.id).status == "success"
    assert session.get_one(Run, broken.id).status == "pending", "looked at again later"


def test_a_copied_launch_tag_names_nobody(
    launcher, flaky, factory, dagster_client, session, member
):
    first = launcher.launch(TARGETS, "key")
    (launch_id,) = flaky.runs
    flaky.runs = {launch_id: str(uuid.uuid4())}  # a re-execution with the tags of the first
    RunReconciler(factory, dagster_client).run_once()
    enter_org(session, member.org.id)
    session.expire_all()
    assert session.get_one(Run, flaky.runs[launch_id]).actor_name == "datanika"
    assert launcher.launch(TARGETS, "key").id == first.id


@pytest.mark.parametrize("kind", ["uploads", "transformations"])
@pytest.mark.parametrize("target_id", [0, -1, 2**62])
def test_what_is_not_there_cannot_be_launched(client, kind: str, target_id: int):
    answer = client.post(f"/api/v1/orgs/{client.org}/{kind}/{target_id}/runs")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
