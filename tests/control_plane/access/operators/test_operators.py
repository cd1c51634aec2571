"""Who operates the platform, through the REST API."""

import secrets

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.sessions.service import start_session
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.routes import list_operations
from control_plane.system.bootstrap import bootstrap
from tests.control_plane.access.conftest import Door
from tests.control_plane.access.parallel import at_once
from tests.control_plane.access.test_password_resets import (
    NEXT,
    bearer,
    make_link,
    new_key,
    redeem,
    token_of,
)
from tests.factories.access import access_headers, make_colleague, make_user
from tests.fixtures.control_plane import LiveApi

PATH = "/api/v1/system/operators"


@pytest.fixture
def operator(session: Session):
    # The only one, in this test's transaction.
    session.execute(text("UPDATE users SET is_platform_operator = false"))
    user = make_user(session, is_platform_operator=True)
    session.commit()
    return user


@pytest.fixture
def headers(app, session: Session, operator) -> dict[str, str]:
    return access_headers(session, app.state.signer, operator)


def log(session: Session, actor_name: str) -> list[tuple]:
    rows = session.execute(
        text(
            "SELECT action, actor_name, resource_id, old_values, new_values"
            " FROM platform_audit_entries"
            " WHERE resource_type = 'operator' AND actor_name = :actor_name ORDER BY id"
        ),
        {"actor_name": actor_name},
    )
    return [tuple(row) for row in rows]


class TestOperators:
    def test_are_listed_added_and_removed(self, app, anonymous, headers, session, operator):
        user = make_user(session, email_verified_at=utc_now())
        others = access_headers(session, app.state.signer, user)
        made = anonymous.post(PATH, headers=headers, json={"email": user.email.upper()})
        assert made.status_code == 201, made.text
        assert made.json() == {
            "id": user.id,
            "email": user.email,
            "is_platform_operator": True,
            "link": None,
            "link_expires_at": None,
        }
        # Whoever proved the address is an operator as they are.
        assert anonymous.get(PATH, headers=others).status_code == 200
        listed = anonymous.get(PATH, headers=headers).json()["data"]
        # Tests with committed rows may have made others.
        assert [one["id"] for one in listed if one["id"] >= operator.id] == [operator.id, user.id]
        # Twice is once.
        anonymous.post(PATH, headers=headers, json={"email": user.email})
        gone = anonymous.delete(f"{PATH}/{user.id}", headers=headers)
        assert gone.status_code == 204
        assert log(session, operator.email) == [
            (
                "create",
                operator.email,
                str(user.id),
                None,
                {"email": user.email, "ended_earlier_credentials": False},
            ),
            ("delete", operator.email, str(user.id), {"email": user.email}, None),
        ]

    def test_stop_at_once(self, app, anonymous, headers, session, operator):
        other = make_user(session, is_platform_operator=True)
        others = access_headers(session, app.state.signer, other)
        assert anonymous.get(PATH, headers=others).status_code == 200
        anonymous.delete(f"{PATH}/{other.id}", headers=headers)
        assert anonymous.get(PATH, headers=others).status_code == 403

    def test_the_last_one_stays(self, anonymous, headers, operator):
        answer = anonymous.delete(f"{PATH}/{operator.id}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "last_operator")

    def test_others_are_not_found(self, anonymous, headers, session):
        user = make_user(session)
        session.commit()
        for user_id in (user.id, 0, -1, 2**63):
            assert anonymous.delete(f"{PATH}/{user_id}", headers=headers).status_code == 404
        unknown = anonymous.post(PATH, headers=headers, json={"email": "nobody@example.com"})
        assert unknown.status_code == 404

    def test_an_owner_is_none(self, client: TestClient, member):
        assert client.get(PATH).status_code == 403
        assert client.post(PATH, json={"email": member.user.email}).status_code == 403
        assert client.delete(f"{PATH}/{member.user.id}").status_code == 403


class TestWhoseAddressNobodyHasProven:
    """Anybody can sign up with an address, and wait for its owner to become an operator."""

    @pytest.fixture
    def squatter(self, door: Door) -> dict:
        person = door.sign_up()
        person["key"] = {"X-API-Key": new_key(door, person)}
        person["token"] = make_link(door, person["email"])
        return person

    def promote(self, door: Door, person: dict) -> dict:
        answer = door.client.post(
            PATH, headers=door.make_operator(), json={"email": person["email"]}
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def test_loses_all_that_the_account_had(self, door: Door, squatter: dict):
        self.promote(door, squatter)
        org = f"/api/v1/orgs/{squatter['org']['slug']}"
        refresh = {"refresh_token": squatter["refresh_token"]}
        assert door.client.get(PATH, headers=squatter["headers"]).status_code == 401
        assert door.client.post("/api/v1/auth/refresh", json=refresh).status_code == 401
        assert door.client.get(org, headers=squatter["key"]).status_code == 401
        assert door.log_in(squatter["email"]).status_code == 401
        assert redeem(door, squatter["token"]).status_code == 422

    def test_operates_by_the_link_that_the_operator_hands_over(self, door: Door, squatter: dict):
        made = self.promote(door, squatter)
        assert redeem(door, token_of(made["link"])).status_code == 204
        tokens = door.log_in(squatter["email"], NEXT).json()
        assert tokens["user"]["is_platform_operator"]
        assert tokens["orgs"][0]["slug"] == squatter["org"]["slug"]
        # Twice is once: nothing ends, and there is no other link.
        again = self.promote(door, squatter)
        assert (again["link"], again["link_expires_at"]) == (None, None)
        assert door.client.get(PATH, headers=bearer(tokens)).status_code == 200


def test_the_first_one_is_on_record(make_settings, app_engine):
    email = f"{secrets.token_hex(6)}@example.com"
    settings = make_settings(operator_email=email, operator_password="correct horse battery")
    assert bootstrap(settings) is True
    assert bootstrap(settings) is False
    with app_engine.connect() as connection:
        verified = text("SELECT email_verified_at IS NOT NULL FROM users WHERE email = :email")
        assert connection.scalar(verified, {"email": email})
        rows = connection.execute(
            text(
                "SELECT action, actor_kind FROM platform_audit_entries"
                " WHERE resource_type = 'operator' AND new_values ->> 'email' = :email"
            ),
            {"email": email},
        ).all()
        assert [tuple(row) for row in rows] == [("create", "system")]


class TestNoRoleInAnOrg:
    def test_an_operator_finds_no_org_that_is_not_theirs(self, anonymous, headers, member, session):
        session.commit()
        routes = [one for one in list_operations() if one.path.startswith("/api/v1/orgs/{org}")]
        assert len(routes) > 40
        for one in routes:
            path = one.path.replace("{org}", member.org.slug)
            path = path.format(**dict.fromkeys(_names(path), "1"))
            answer = anonymous.request(one.method, path, headers=headers)
            assert answer.status_code == 404, f"{one.method} {path}: {answer.text}"

    def test_nor_may_more_where_they_are_a_viewer(self, app, anonymous, session, member):
        colleague = make_colleague(session, member.org, Role.VIEWER)
        colleague.user.is_platform_operator = True
        headers = access_headers(session, app.state.signer, colleague.user)
        answer = anonymous.patch(
            f"/api/v1/orgs/{member.org.slug}", headers=headers, json={"name": "Mine"}
        )
        assert answer.status_code == 403


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


@pytest.mark.parametrize("round_number", range(5))
def test_of_two_who_remove_each_other_one_stays(live_api: LiveApi, round_number):
    app = live_api.application
    with transaction(app.state.session_factory) as session:
        # Nobody else is one while this test runs.
        others = session.scalars(
            text(
                "UPDATE users SET is_platform_operator = false"
                " WHERE is_platform_operator RETURNING id"
            )
        ).all()
        users = [make_user(session, is_platform_operator=True) for _ in range(2)]
        tokens = [start_session(session, app.state.signer, user) for user in users]

    def remove(by: int, whom: int) -> httpx.Response:
        return httpx.delete(
            f"{live_api.url}{PATH}/{users[whom].id}",
            headers={"Authorization": f"Bearer {tokens[by].access_token}"},
            timeout=60,
        )

    answers = at_once(lambda: remove(0, 1), lambda: remove(1, 0))
    assert sorted(a.status_code for a in answers) in ([204, 403], [204, 409])
    with transaction(app.state.session_factory) as session:
        left = session.scalar(text("SELECT count(*) FROM users WHERE is_platform_operator"))
        session.execute(
            text("UPDATE users SET is_platform_operator = id = ANY(:others)"), {"others": [*others]}
        )
    assert left == 1
