"""Interactive tasks: their tokens live as long as they do, in a real worker host's children."""

from contextlib import closing
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.access.task_tokens.models import TaskToken
from control_plane.access.task_tokens.service import mint_task_token
from control_plane.audit.models import AuditEntry
from control_plane.core.database import transaction
from control_plane.core.errors import Sealed
from control_plane.core.worker_hosts import WorkerHosts
from tests.control_plane.source_database import created
from tests.fixtures.ports import free_port


@pytest.fixture(scope="module")
def api(live_api):
    with closing(live_api.sign_up()) as client:
        yield client


@pytest.fixture(scope="module")
def connection(api):
    config = {"host": "127.0.0.1", "port": free_port(), "database": "d", "user": "u"}
    body = {
        "name": "Nobody listens",
        "connector": "postgres",
        "direction": "source",
        "config": {**config, "password": "canary-task"},
    }
    return created(api, "connections", body)


@pytest.fixture
def factory(live_api):
    return live_api.application.state.session_factory


def tokens(session: Session) -> list[TaskToken]:
    return list(session.scalars(select(TaskToken).order_by(TaskToken.id)))


def test_a_token_ends_with_its_task(api, connection, factory):
    answer = api.post(f"/orgs/{api.org}/connections/{connection['id']}/test").json()
    assert answer["code"] == "connection.refused", answer
    with transaction(factory, api.org_id) as session:
        token = tokens(session)[-1]
    assert (token.purpose, token.connection_ids) == ("connection_test", [connection["id"]])
    assert token.redeemed_at is not None
    assert token.revoked_at is not None


def test_also_one_that_was_never_used(api, connection, factory, live_api, monkeypatch, tmp_path):
    """No worker host is there to use it; whoever finds it later gets nothing for it."""
    minted: list[str] = []

    def mint(*args, **kwargs) -> str:
        minted.append(mint_task_token(*args, **kwargs))
        return minted[-1]

    monkeypatch.setattr("control_plane.access.task_tokens.tasks.mint_task_token", mint)
    hosts = WorkerHosts(tmp_path, wait_seconds=0.1)
    monkeypatch.setitem(
        live_api.application.state._state,
        "task_runner",
        replace(live_api.application.state.task_runner, hosts=hosts),
    )
    answer = api.post(f"/orgs/{api.org}/connections/{connection['id']}/test")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "3"
    assert "none runs" in answer.json()["detail"]
    url = f"{live_api.url}/internal/v1/task-tokens/redeem"
    answer = httpx.post(url, headers={"Authorization": f"Bearer {minted[0]}"})
    assert answer.status_code == 401
    with transaction(factory, api.org_id) as session:
        assert tokens(session)[-1].redeemed_at is None


def test_its_use_is_on_record_in_the_name_of_whoever_asked(api, connection, factory):
    answer = api.post(f"/orgs/{api.org}/connections/{connection['id']}/test")
    with transaction(factory, api.org_id) as session:
        query = select(AuditEntry).where(AuditEntry.action == "secret_access")
        entry = session.scalars(query.order_by(AuditEntry.id.desc())).first()
        assert entry is not None
        assert entry.actor_kind == "user"
        assert entry.request_id == answer.headers["X-Trace-Id"]
        assert entry.new_values["connection_ids"] == [connection["id"]]


def test_sealed_between_the_check_and_the_use(api, connection, factory, live_api, monkeypatch):
    runner = live_api.application.state.task_runner

    def redeem(token):
        raise Sealed("The platform is sealed: datanika unlock")

    sealed = replace(runner, redeem=redeem)
    monkeypatch.setitem(live_api.application.state._state, "task_runner", sealed)
    answer = api.post(f"/orgs/{api.org}/connections/{connection['id']}/test")
    assert (answer.status_code, answer.json()["code"]) == (423, "sealed")
    with transaction(factory, api.org_id) as session:
        assert tokens(session)[-1].revoked_at is not None


def test_slots_are_free_after_each_whatever_became_of_it(api, connection, live_api, monkeypatch):
    """More failures in a row than an org has slots."""
    state = live_api.application.state
    hosts = WorkerHosts(None, wait_seconds=0.0)
    monkeypatch.setitem(state._state, "task_runner", replace(state.task_runner, hosts=hosts))
    url = f"/orgs/{api.org}/connections/{connection['id']}/test"
    statuses = [api.post(url).status_code for _ in range(5)]
    assert statuses == [503] * 5
    monkeypatch.undo()
    assert [api.post(url).status_code for _ in range(5)] == [200] * 5
