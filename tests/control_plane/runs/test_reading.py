"""Looks at a run are bounded: in what they read, in how many there are, and in what they hold."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from control_plane.core.database import transaction
from control_plane.runs.dagster import DagsterClient
from control_plane.runs.models import Run
from control_plane.runs.service import MAXIMUM_VIEWED_PAGES
from tests.control_plane.flaky_dagster import FlakyDagster
from tests.fixtures.control_plane import LiveApi

WAIT_SECONDS = 30


class LongLog(FlakyDagster):
    """Dagster with a run whose log has many pages, and that answers when it is let.

    Attributes:
        pages: How many pages there are.
        asked_pages: How many were asked for.
        gate: Answers wait for it.
        waiting: Released once for each question that has come in.
    """

    def __init__(self, org: str, run_id: str, pages: int) -> None:
        super().__init__(org, "0" * 64)
        self.runs = {"1": run_id}
        self.pages, self.asked_pages = pages, 0
        self.gate, self.waiting = threading.Event(), threading.Semaphore(0)
        self.gate.set()

    def answer(self, query: str, variables: dict) -> dict | None:
        self.waiting.release()
        assert self.gate.wait(WAIT_SECONDS)
        if "logsForRun" not in query:
            return super().answer(query, variables)
        self.asked_pages += 1
        number = int(variables["cursor"] or 0) + 1
        page = {"cursor": str(number), "hasMore": number < self.pages}
        events = [self.materialization(number)]
        return {"logsForRun": {"__typename": "EventConnection", **page, "events": events}}

    def materialization(self, number: int) -> dict:
        return {
            "__typename": "MaterializationEvent",
            "assetKey": {"path": [self.org, "s", f"t{number}"]},
            "stepKey": "step",
            "metadataEntries": [],
        }


@pytest.fixture
def org(live_api: LiveApi) -> Iterator[httpx.Client]:
    client = live_api.sign_up()
    yield client
    client.close()


@pytest.fixture
def run_id(live_api: LiveApi, org) -> str:
    row = Run(id=str(uuid.uuid4()), org_id=org.org_id, trigger="ui", actor_name="x", targets=[])
    with transaction(live_api.application.state.session_factory, org.org_id) as session:
        session.add(row)
    return row.id


@pytest.fixture
def dagster(live_api: LiveApi, org, run_id: str) -> Iterator[LongLog]:
    stand_in = LongLog(org.org, run_id, pages=1)
    thread = threading.Thread(target=stand_in.server.serve_forever, daemon=True)
    thread.start()
    client = DagsterClient(stand_in.url, "token")
    state = live_api.application.state
    real, state.dagster = state.dagster, client
    yield stand_in
    state.dagster = real
    stand_in.gate.set()
    client.close()
    stand_in.server.shutdown()
    stand_in.server.server_close()
    thread.join()


def test_a_log_is_read_to_its_end(org, run_id: str, dagster: LongLog):
    dagster.pages = 3
    view = org.get(f"/orgs/{org.org}/runs/{run_id}").json()
    assert [asset["name"] for asset in view["assets"]] == ["t1", "t2", "t3"]
    assert view["is_complete"] is True


def test_an_endless_log_is_not(org, run_id: str, dagster: LongLog):
    dagster.pages = 10**9
    view = org.get(f"/orgs/{org.org}/runs/{run_id}").json()
    assert dagster.asked_pages == MAXIMUM_VIEWED_PAGES == len(view["assets"])
    assert view["is_complete"] is False


def test_a_page_of_the_log_is_one_question(org, run_id: str, dagster: LongLog):
    dagster.pages = 10**9
    page = org.get(f"/orgs/{org.org}/runs/{run_id}/logs").json()
    assert (dagster.asked_pages, page["has_more"], page["next_cursor"]) == (1, True, "1")


@pytest.mark.parametrize("path", ["", "/logs"])
def test_no_connection_is_held_and_one_org_does_not_take_all(
    live_api: LiveApi, org, run_id: str, dagster: LongLog, path: str
):
    url = f"/orgs/{org.org}/runs/{run_id}{path}"
    pool = live_api.application.state.session_factory.kw["bind"].pool
    dagster.gate.clear()
    with ThreadPoolExecutor(10) as executor:
        asking = [executor.submit(org.get, url) for _ in range(6)]
        for _ in asking:
            assert dagster.waiting.acquire(timeout=WAIT_SECONDS)
        refused = org.get(url)
        assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
        assert int(refused.headers["Retry-After"]) > 0
        assert pool.checkedout() == 0
        dagster.gate.set()
        assert [answer.result().status_code for answer in asking] == [200] * 6
    assert org.get(url).status_code == 200, "the places were given back"
