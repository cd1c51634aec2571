"""A Dagster that plays the questions a launch asks, with an ending of one's choice.

A real HTTP server, because the real one cannot be made to start a run and die before it has answered.
Everything that works is tested with the real one in tests/end_to_end.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy.orm import Session

from control_plane.core.clock import utc_now
from control_plane.core.database import make_session_factory
from control_plane.runs.dagster import DagsterClient
from datanika_manifest.quotas import refusal
from tests.control_plane.runs.test_authorization import make_manifest

QUOTA = refusal(2, utc_now() + timedelta(seconds=90), utc_now())


ENDED = ("SUCCESS", "FAILURE", "CANCELED")


class FlakyDagster:
    """Dagster's answers to a launch, with an ending of one's choice.

    Attributes:
        ending: `answer`, `die_after_start`, `die_before_start`, `refuse` or `quota`.
        runs: What was started: launch id → run id.
        statuses: By run id; queued where it says nothing.
        freshness: By asset key, what the freshness daemon has found, and when it was made.
        ages: How many seconds ago a run has ended.
    """

    def __init__(self, org: str, sha256: str) -> None:
        self.org, self.sha256 = org, sha256
        self.ending = "answer"
        self.runs: dict[str, str] = {}
        self.statuses: dict[str, str] = {}
        self.ages: dict[str, float] = {}
        self.freshness: dict[tuple[str, ...], tuple[str, float | None]] = {}
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
        if "assetNodes" in query:
            return {"assetNodes": [self.asset(key["path"]) for key in variables["keys"]]}
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

    def asset(self, path: list[str]) -> dict:
        status, at = self.freshness.get(tuple(path), ("UNKNOWN", None))
        info = {
            "freshnessStatus": status,
            "freshnessStatusMetadata": at and {"lastMaterializedTimestamp": at},
        }
        return {"assetKey": {"path": path}, "freshnessStatusInfo": info}

    def ended_at(self, run_id: str, now: float) -> float | None:
        has_ended = self.statuses.get(run_id) in ENDED
        return now - self.ages.get(run_id, 0) if has_ended else None

    def filtered(self, wanted: dict) -> list[dict]:
        ids = [tag["value"] for tag in wanted.get("tags", [])]
        now = utc_now().timestamp()
        return [
            {
                "runId": run_id,
                "status": self.statuses.get(run_id, "QUEUED"),
                "creationTime": now,
                "startTime": None,
                "endTime": self.ended_at(run_id, now),
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
