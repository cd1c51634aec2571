"""Interactive tasks: their tokens live as long as they do, in real processes."""

from contextlib import closing

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.access.task_tokens.models import TaskToken
from control_plane.access.task_tokens.service import mint_task_token
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.audit.service import Actor
from control_plane.core.database import transaction
from control_plane.core.errors import Upstream
from control_plane.core.tasks import TaskRunner
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


def test_also_one_that_was_never_used(api, connection, factory, live_api, monkeypatch):
    """A task that dies before it redeems; whoever finds its token later gets nothing for it."""
    minted: list[str] = []

    def mint(*args, **kwargs) -> str:
        minted.append(mint_task_token(*args, **kwargs))
        return minted[-1]

    monkeypatch.setattr("control_plane.access.task_tokens.tasks.mint_task_token", mint)
    actor = Actor("system", None, "test")
    runner = TaskRunner(f"http://127.0.0.1:{free_port()}", path="")
    vault = live_api.application.state.vault
    tasks = OrgTasks(factory, runner, api.org_id, actor, vault)
    payload = {"connection": connection["slug"], "direction": "source"}
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which way it dies is not the matter
        tasks.run("connection_test", payload, connection_ids=[connection["id"]], deadline_seconds=5)
    assert isinstance(caught.value, Upstream) or "control plane" in str(caught.value)
    url = f"{live_api.url}/internal/v1/task-tokens/redeem"
    answer = httpx.post(url, headers={"Authorization": f"Bearer {minted[0]}"})
    assert answer.status_code == 401
    with transaction(factory, api.org_id) as session:
        assert tokens(session)[-1].redeemed_at is None
