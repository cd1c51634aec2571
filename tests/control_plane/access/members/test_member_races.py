"""An org keeps an owner whatever its owners do to each other at the same moment, over real HTTP."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import pairwise

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from control_plane.access.permissions import ROLE_PERMISSIONS, Role
from control_plane.access.sessions.service import start_session
from control_plane.access.users.repository import UserRepository
from control_plane.core.database import transaction
from datanika_stack.polling import wait_for
from tests.control_plane.access.parallel import at_once
from tests.factories.access import make_user
from tests.fixtures.control_plane import LiveApi

ROUNDS = 8


@pytest.fixture(scope="module")
def clients() -> Iterator[ExitStack]:
    """Closes the clients of this module."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def join(live_api: LiveApi, clients: ExitStack) -> Callable[..., httpx.Client]:
    """Returns a function that makes a client of a new member; `.user_id` says who."""
    app = live_api.application

    def colleague(owner: httpx.Client, role: Role) -> httpx.Client:
        with transaction(app.state.session_factory, owner.org_id) as session:
            user = make_user(session)
            UserRepository(session).add_membership(owner.org_id, user.id, role)
            tokens = start_session(session, app.state.signer, user)
        client = clients.enter_context(httpx.Client(base_url=f"{live_api.url}/api/v1", timeout=60))
        client.headers["Authorization"] = f"Bearer {tokens.access_token}"
        client.user_id, client.org_id = user.id, owner.org_id
        return client

    return colleague


@pytest.fixture
def founder(live_api: LiveApi, clients: ExitStack) -> httpx.Client:
    client = clients.enter_context(closing(live_api.sign_up()))
    client.user_id = client.get("/auth/me").json()["user"]["id"]
    return client


@pytest.fixture
def path(founder: httpx.Client) -> str:
    return f"/orgs/{founder.org}/members"


def owners(client: httpx.Client, path: str) -> list[int]:
    members = client.get(path).json()["data"]
    return [one["user_id"] for one in members if one["role"] == "owner"]


class TestTwoOwners:
    @pytest.mark.parametrize("round_number", range(ROUNDS))
    def test_demote_each_other(self, founder, path, join, round_number):
        first, second = founder, join(founder, Role.OWNER)
        answers = at_once(
            lambda: first.patch(f"{path}/{second.user_id}", json={"role": "viewer"}),
            lambda: second.patch(f"{path}/{first.user_id}", json={"role": "viewer"}),
        )
        # Whoever comes second is no owner any more, and may not even try.
        assert sorted(a.status_code for a in answers) == [200, 403]
        assert len(owners(first, path)) == 1

    @pytest.mark.parametrize("verb", ["demote", "remove", "leave"])
    def test_both_end_being_one(self, founder, path, join, verb):
        for _ in range(ROUNDS // 2):
            second = join(founder, Role.OWNER)

            def act(client: httpx.Client) -> httpx.Response:
                own = f"{path}/{client.user_id}"
                if verb == "demote":
                    return client.patch(own, json={"role": "admin"})
                return client.delete(own) if verb == "remove" else client.post(f"{path}/leave")

            answers = at_once(lambda one=founder: act(one), lambda other=second: act(other))
            refused = [a.json()["code"] for a in answers if a.is_error]
            assert refused == ["last_owner"]
            # Whoever was refused owns the org, alone, and goes on.
            if answers[0].is_success:
                founder = second
            assert owners(founder, path) == [founder.user_id]


def test_an_owner_who_was_removed_meanwhile_decides_nothing(founder, path, join):
    for _ in range(ROUNDS):
        second = join(founder, Role.OWNER)
        third = join(founder, Role.OWNER)
        answers = at_once(
            lambda one=second: founder.delete(f"{path}/{one.user_id}"),
            lambda one=second, other=third: one.delete(f"{path}/{other.user_id}"),
        )
        assert answers[0].status_code == 204
        # Before its own removal it may; after it, the org is not there for it.
        assert answers[1].status_code in (204, 404)
        left = set(owners(founder, path))
        assert (third.user_id in left) == (answers[1].status_code == 404)
        for user_id in left - {founder.user_id}:
            founder.delete(f"{path}/{user_id}").raise_for_status()


def test_many_changes_of_one_member_are_all_on_record(founder, path, join):
    member = join(founder, Role.VIEWER)
    one = f"{path}/{member.user_id}"
    roles = ["viewer", "editor", "admin"] * 5
    answers = at_once(
        *[lambda role=role: founder.patch(one, json={"role": role}) for role in roles]
    )
    assert {a.status_code for a in answers} == {200}
    entries = founder.get(
        f"/orgs/{founder.org}/audit", params={"action": "update", "limit": 100}
    ).json()["data"]
    changes = [e for e in reversed(entries) if e["resource_id"] == str(member.user_id)]
    assert changes[0]["old_values"]["role"] == "viewer"
    for before, after in pairwise(changes):
        assert after["old_values"] == before["new_values"]
    now = founder.get(one).json()
    assert changes[-1]["new_values"]["role"] == now["role"]
    assert now["version"] == len(changes) + 1


class TestAKeyWhoseMaker:
    """What was decided before the key's request got the lock counts for it, too."""

    @pytest.fixture
    def act(self, live_api, founder, path, join):
        """Lets a key's request wait for a change of its maker, and returns its answer."""
        admin, viewer = join(founder, Role.ADMIN), join(founder, Role.VIEWER)
        scopes = sorted(ROLE_PERMISSIONS[Role.ADMIN])
        made = admin.post(f"/orgs/{founder.org}/api-keys", json={"name": "k", "scopes": scopes})
        assert made.status_code == 201, made.text
        one = f"{live_api.url}/api/v1{path}/{viewer.user_id}"

        def request() -> httpx.Response:
            headers = {"X-API-Key": made.json()["key"]}
            return httpx.patch(one, headers=headers, json={"role": "editor"}, timeout=60)

        def wait_for_change(change: str) -> httpx.Response:
            factory = live_api.application.state.session_factory
            with ThreadPoolExecutor() as pool:
                with transaction(factory, founder.org_id) as session:
                    session.execute(text("SELECT 1 FROM memberships FOR UPDATE"))
                    answer = pool.submit(request)
                    assert wait_for(lambda: self.waits(session), timeout_seconds=30)
                    session.execute(text(change), {"user": admin.user_id})
                return answer.result()

        return wait_for_change

    @staticmethod
    def waits(session: Session) -> bool:
        """Tells whether somebody waits for this transaction."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM pg_locks"
            " WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
        )
        return bool(session.scalar(text(query)))

    def test_is_demoted_meanwhile_decides_nothing(self, act):
        answer = act("UPDATE memberships SET role = 'editor' WHERE user_id = :user")
        assert answer.status_code == 403, answer.text

    def test_is_removed_meanwhile_decides_nothing(self, act):
        answer = act("DELETE FROM memberships WHERE user_id = :user")
        assert answer.status_code == 404, answer.text

    def test_stays_one_decides(self, act):
        assert act("SELECT :user").status_code == 200
