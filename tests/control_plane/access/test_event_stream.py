"""What happens in an org reaches who may know, at once, in order, once, and no longer than they may."""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from control_plane.access.event_stream.streaming import CLOSE_FORBIDDEN, CLOSE_UNAUTHENTICATED
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org, make_engine, make_session_factory, transaction
from control_plane.events.models import Event
from control_plane.events.service import KEPT, delete_old_events
from control_plane.runs.models import Run, RunStatus, RunTrigger
from tests.fixtures.control_plane import LiveApi

SOON_SECONDS = 5
ENDS_WITHIN_SECONDS = 12


@pytest.fixture(scope="module")
def factory(live_api: LiveApi):
    engine = make_engine(live_api.settings.database_url.get_secret_value(), pool_size=2)
    yield make_session_factory(engine)
    engine.dispose()


@pytest.fixture
def owner(live_api: LiveApi):
    with closing(live_api.sign_up()) as client:
        yield client


@contextmanager
def listening(
    live_api: LiveApi, client: Any, org: str | None = None, after: int | None = None, **options: Any
) -> Iterator[ClientConnection]:
    url = f"ws{live_api.url[4:]}/api/v1/orgs/{org or client.org}/events"
    headers = options.pop("headers", {"Authorization": client.headers.get("authorization", "")})
    query = "" if after is None else f"?after={after}"
    with connect(url + query, additional_headers=headers, **options) as socket:
        yield socket


def received(socket: ClientConnection, timeout_seconds: float = SOON_SECONDS) -> dict[str, Any]:
    return json.loads(socket.recv(timeout_seconds))


def add_run(factory, org_id: int, status: RunStatus = RunStatus.PENDING) -> str:
    run = new_run(org_id, status)
    with transaction(factory, org_id) as session:
        session.add(run)
    return run.id


def new_run(org_id: int, status: RunStatus = RunStatus.PENDING) -> Run:
    return Run(
        id=secrets.token_hex(16),
        org_id=org_id,
        status=status,
        trigger=RunTrigger.API,
        actor_name="somebody",
        targets=[],
    )


def set_status(factory, org_id: int, run_id: str, status: RunStatus) -> None:
    with transaction(factory, org_id) as session:
        session.execute(
            text("UPDATE runs SET status = :status WHERE id = :id"),
            {"status": status, "id": run_id},
        )


class TestRuns:
    def test_each_change_of_status_is_told_at_once_and_once(self, live_api, owner, factory):
        with listening(live_api, owner) as socket:
            assert received(socket)["kind"] == "stream.started"
            run_id = add_run(factory, owner.org_id)
            changed_at = time.monotonic()
            for status in (RunStatus.RUNNING, RunStatus.RUNNING, RunStatus.SUCCESS):
                set_status(factory, owner.org_id, run_id, status)
            told = [received(socket) for _ in range(3)]
            assert time.monotonic() - changed_at < SOON_SECONDS / 2, "it was woken, not polling"
            with pytest.raises(TimeoutError):
                socket.recv(0.5)
        assert [event["kind"] for event in told] == ["run.pending", "run.running", "run.success"]
        assert {event["subject"] for event in told} == {run_id}
        assert told[2]["payload"] == {
            "status": "success",
            "previous_status": "running",
            "trigger": "api",
        }

    def test_what_is_taken_back_is_not_told(self, live_api, owner, factory):
        with listening(live_api, owner) as socket:
            received(socket)
            with factory() as session:
                enter_org(session, owner.org_id)
                session.add(new_run(owner.org_id))
                session.flush()
                session.rollback()
            run_id = add_run(factory, owner.org_id)
            assert received(socket)["subject"] == run_id

    def test_whoever_comes_back_gets_what_happened_meanwhile(self, live_api, owner, factory):
        add_run(factory, owner.org_id)
        with listening(live_api, owner) as socket:
            known = received(socket)["id"]
        missed = [add_run(factory, owner.org_id) for _ in range(3)]
        with listening(live_api, owner, after=known) as socket:
            started = {"kind": "stream.started", "id": known, "is_complete": True}
            assert received(socket) == started
            told = [received(socket) for _ in missed]
        assert [event["subject"] for event in told] == missed
        with listening(live_api, owner, after=told[0]["id"]) as socket:
            received(socket)
            assert received(socket)["subject"] == missed[1]

    def test_more_than_a_page_comes_in_order(self, live_api, owner, factory):
        with transaction(factory, owner.org_id) as session:
            session.execute(
                text(
                    "INSERT INTO runs (id, org_id, status, trigger, actor_name, targets, created_at)"
                    " SELECT 'many-' || :org || '-' || n, :org, 'pending', 'api', 'a', '[]', now()"
                    " FROM generate_series(1, 450) n"
                ),
                {"org": owner.org_id},
            )
        with listening(live_api, owner, after=0) as socket:
            received(socket)
            ids = [received(socket)["id"] for _ in range(450)]
        assert ids == sorted(set(ids))

    def test_none_is_lost_between_transactions_that_overlap(self, live_api, owner, factory):
        """Ids are given out in the order in which they become visible."""
        with listening(live_api, owner) as socket:
            received(socket)
            threads = [
                threading.Thread(target=lambda: [add_run(factory, owner.org_id) for _ in range(20)])
                for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            ids = [received(socket)["id"] for _ in range(40)]
            for thread in threads:
                thread.join()
        assert ids == sorted(set(ids))


class TestOthers:
    def test_another_org_hears_nothing(self, live_api, owner, factory):
        with closing(live_api.sign_up()) as other, listening(live_api, other) as socket:
            received(socket)
            add_run(factory, owner.org_id)
            own = add_run(factory, other.org_id)
            assert received(socket)["subject"] == own

    def test_another_org_s_stream_is_not_there(self, live_api, owner):
        with closing(live_api.sign_up()) as other:
            assert refusal(live_api, other, owner.org) == (404, "not_found")
            assert refusal(live_api, other, "no_such_org") == (404, "not_found")

    def test_nobody_and_a_wrong_token_are_refused(self, live_api, owner):
        assert refusal(live_api, owner, headers={})[0] == 401
        wrong = {"Authorization": "Bearer x"}
        assert refusal(live_api, owner, headers=wrong)[0] == 401

    def test_a_cookie_proves_nobody(self, live_api, owner):
        token = owner.headers["authorization"].removeprefix("Bearer ")
        cookie = {"Cookie": f"datanika_session={token}"}
        assert refusal(live_api, owner, headers=cookie)[0] == 401

    def test_a_key_that_may_not_read_runs_is_refused(self, live_api, owner):
        headers = {"X-API-Key": made_key(owner, "connections:read")["key"]}
        assert refusal(live_api, owner, headers=headers) == (403, "forbidden")


def refusal(live_api: LiveApi, client: Any, org: str | None = None, **options: Any):
    with pytest.raises(InvalidStatus) as refused, listening(live_api, client, org, **options):
        pass
    body = json.loads(refused.value.response.body)
    return refused.value.response.status_code, body["code"]


def made_key(client: Any, *scopes: str) -> dict[str, Any]:
    answer = client.post(
        f"/orgs/{client.org}/api-keys",
        json={"name": f"k {secrets.token_hex(3)}", "scopes": list(scopes)},
    )
    answer.raise_for_status()
    return answer.json()


class TestEnds:
    def test_with_the_session(self, live_api, owner):
        with listening(live_api, owner) as socket:
            received(socket)
            owner.post("/auth/logout").raise_for_status()
            assert ended_with(socket) == CLOSE_UNAUTHENTICATED

    def test_with_the_key(self, live_api, owner):
        key = made_key(owner, "runs:read")
        with listening(live_api, owner, headers={"X-API-Key": key["key"]}) as socket:
            received(socket)
            owner.delete(f"/orgs/{owner.org}/api-keys/{key['id']}").raise_for_status()
            assert ended_with(socket) == CLOSE_UNAUTHENTICATED

    def test_with_the_membership(self, live_api, owner, factory):
        with listening(live_api, owner) as socket:
            received(socket)
            with transaction(factory, owner.org_id) as session:
                session.execute(text("UPDATE organizations SET is_suspended = true"))
            assert ended_with(socket) == CLOSE_FORBIDDEN


def ended_with(socket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(ENDS_WITHIN_SECONDS)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


class TestBrowser:
    def test_offers_its_token_as_a_subprotocol(self, live_api, owner, factory):
        token = owner.headers["authorization"].removeprefix("Bearer ")
        offered = ["datanika.events.v1", f"bearer.{token}"]
        with listening(live_api, owner, headers={}, subprotocols=offered) as socket:
            assert socket.subprotocol == "datanika.events.v1"
            received(socket)
            run_id = add_run(factory, owner.org_id)
            assert received(socket)["subject"] == run_id


class TestLimits:
    def test_of_streams_of_one_org(self, live_api, owner, monkeypatch):
        monkeypatch.setattr(live_api.application.state.stream_slots, "_per_org", 1)
        with listening(live_api, owner) as socket:
            received(socket)
            assert refusal(live_api, owner) == (429, "throttled")
        deadline = time.monotonic() + SOON_SECONDS
        while live_api.application.state.stream_slots._taken[owner.org_id]:
            assert time.monotonic() < deadline, "its place was not given back"
            time.sleep(0.05)


class TestList:
    def test_pages_go_on_where_the_one_before_ended(self, live_api, owner, factory):
        runs = [add_run(factory, owner.org_id) for _ in range(5)]
        first = owner.get(f"/orgs/{owner.org}/events", params={"limit": 3}).json()
        rest = owner.get(
            f"/orgs/{owner.org}/events", params={"cursor": first["next_cursor"]}
        ).json()
        assert [event["subject"] for event in first["data"] + rest["data"]] == runs
        after = {"after": first["data"][0]["id"]}
        again = owner.get(f"/orgs/{owner.org}/events", params=after).json()
        assert [event["subject"] for event in again["data"]] == runs[1:]


def test_events_stay_for_a_week(live_api, owner, factory):
    kept, old = add_run(factory, owner.org_id), utc_now() - KEPT
    with transaction(factory, owner.org_id) as session:
        session.add(
            Event(org_id=owner.org_id, kind="run.x", subject="old", payload={}, created_at=old)
        )
    delete_old_events(factory)
    left = owner.get(f"/orgs/{owner.org}/events").json()["data"]
    assert [event["subject"] for event in left] == [kept]
    with listening(live_api, owner, after=0) as socket:
        assert not received(socket)["is_complete"]


def test_signals_come_again_after_the_connection_was_lost(live_api, owner, factory, databases):
    with listening(live_api, owner) as socket:
        received(socket)
        signals = live_api.application.state.event_signals
        admin = make_engine(databases.endpoints.admin.render_as_string(hide_password=False))
        with admin.connect() as connection:
            ended = connection.scalar(
                text(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE application_name = 'datanika_events'"
                )
            )
        admin.dispose()
        assert ended >= 1
        run_id = add_run(factory, owner.org_id)
        assert received(socket, 2 * SOON_SECONDS)["subject"] == run_id
        deadline = time.monotonic() + SOON_SECONDS
        while not signals.is_listening:
            assert time.monotonic() < deadline
            time.sleep(0.05)
