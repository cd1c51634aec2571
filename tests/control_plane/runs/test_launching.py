"""Launches that go wrong half-way: nothing is lost, and nothing runs twice.

`FlakyDagster` is a real HTTP server that plays the two questions a launch asks of Dagster, because
the real one cannot be made to start a run and die before it has answered. Everything that works is
tested with the real one in tests/end_to_end.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org, make_session_factory
from control_plane.manifest.service import get_current_manifest
from control_plane.runs.dagster import DagsterClient, LaunchOutcomeUnknown, NotLoaded
from control_plane.runs.errors import IdempotencyKeyReused, LaunchInProgress, QuotaExceeded
from control_plane.runs.launching import LAUNCH_TIMEOUT, RunLauncher
from control_plane.runs.models import Launch, Run
from control_plane.runs.reconciliation import RunReconciler
from control_plane.runs.schemas import RunTarget
from datanika_manifest.quotas import refusal
from tests.control_plane.runs.test_authorization import make_manifest

QUOTA = refusal(2, utc_now() + timedelta(seconds=90), utc_now())


class FlakyDagster:
    """Dagster's answers to a launch, with an ending of one's choice.

    Attributes:
        ending: `answer`, `die_after_start`, `die_before_start`, `refuse` or `quota`.
        runs: What was started: launch id → run id.
        statuses: By run id; queued where it says nothing.
    """

    def __init__(self, org: str, sha256: str) -> None:
        self.org, self.sha256 = org, sha256
        self.ending = "answer"
        self.runs: dict[str, str] = {}
        self.statuses: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = outer.answer(body["query"], body["variables"] or {})
                if answer is None:
                    self.close_connection = True
                    return
                data = json.dumps({"data": answer}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, query: str, variables: dict) -> dict | None:
        if "locationStatusesOrError" in query:
            entry = {
                "name": f"org_{self.org}",
                "loadStatus": "LOADED",
                "versionKey": json.dumps([self.sha256, None]),
            }
            entries = {"__typename": "WorkspaceLocationStatusEntries", "entries": [entry]}
            return {"locationStatusesOrError": entries}
        if "launchRun" in query:
            return self.launch(variables["params"]["executionMetadata"]["tags"][0]["value"])
        if "logsForRun" in query:
            return {"logsForRun": {"__typename": "PythonError", "message": "broken"}}
        found = self.filtered(variables.get("filter") or {})
        return {"runsOrError": {"__typename": "Runs", "results": found}}

    def launch(self, launch_id: str) -> dict | None:
        if self.ending == "quota":
            message = f"datanika_dagster.errors.QuotaExceeded: {QUOTA}\n"
            error = {"__typename": "PythonError", "message": message, "className": "QuotaExceeded"}
            return {"launchRun": error}
        if self.ending == "refuse":
            return {"launchRun": {"__typename": "InvalidSubsetError", "message": "no"}}
        if self.ending == "die_before_start":
            return None
        self.runs[launch_id] = str(uuid.uuid4())
        if self.ending == "die_after_start":
            return None
        run = {"__typename": "LaunchRunSuccess", "run": {"runId": self.runs[launch_id]}}
        return {"launchRun": run}

    def filtered(self, wanted: dict) -> list[dict]:
        ids = [tag["value"] for tag in wanted.get("tags", [])]
        now = utc_now().timestamp()
        return [
            {
                "runId": run_id,
                "status": self.statuses.get(run_id, "QUEUED"),
                "creationTime": now,
                "startTime": None,
                "endTime": None,
                "updateTime": now,
                "tags": [
                    {"key": "datanika/launch", "value": launch_id},
                    {"key": "datanika/org", "value": self.org},
                ],
                "assetSelection": None,
                "repositoryOrigin": {"repositoryLocationName": f"org_{self.org}"},
                "stepStats": [],
            }
            for launch_id, run_id in self.runs.items()
            if not ids or launch_id in ids
        ]


@pytest.fixture
def flaky(session: Session, member, vault) -> Iterator[FlakyDagster]:
    location = make_manifest(session, member, vault)
    dagster = FlakyDagster(location.org, location.sha256())
    thread = threading.Thread(target=dagster.server.serve_forever, daemon=True)
    thread.start()
    yield dagster
    dagster.server.shutdown()
    dagster.server.server_close()
    thread.join()


@pytest.fixture
def dagster_client(flaky: FlakyDagster) -> Iterator[DagsterClient]:
    client = DagsterClient(flaky.url, "token")
    yield client
    client.close()


@pytest.fixture
def factory(outer_connection):
    return make_session_factory(outer_connection, join_transaction_mode="create_savepoint")


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
