"""What operators do with organizations, through the REST API."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from control_plane.access.sessions.tokens import ServiceRole
from control_plane.core.database import enter_org
from control_plane.core.errors import Sealed
from control_plane.core.mail import Mailer
from control_plane.core.vault import StaticKeys, Vault
from tests.control_plane.core.mail_server import mail_server
from tests.factories.access import access_headers, make_member, make_user

PATH = "/api/v1/system/orgs"
PASSWORD = "correct horse battery"


@pytest.fixture
def operator(app, session: Session) -> dict[str, str]:
    user = make_user(session, is_platform_operator=True)
    return access_headers(session, app.state.signer, user)


def entries(session: Session, table: str, org_id: int) -> list[tuple]:
    rows = session.execute(
        text(
            f"SELECT action, old_values, new_values FROM {table}"
            " WHERE resource_type = 'organization' AND resource_id = :id ORDER BY id"
        ),
        {"id": str(org_id)},
    )
    return [tuple(row) for row in rows]


def test_lists_every_org_in_pages(anonymous: TestClient, operator, session, vault):
    made = [make_member(session, vault).org for _ in range(3)]
    session.execute(text("UPDATE organizations SET is_suspended = true"))
    enter_org(session, made[0].id)
    session.execute(text("UPDATE organizations SET deleted_at = now()"))
    session.commit()
    found, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = anonymous.get(PATH, headers=operator, params=query).json()
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    ours = {one["id"]: one for one in found}
    assert set(ours) >= {org.id for org in made}
    assert ours[made[0].id]["deleted_at"] is not None
    assert ours[made[2].id]["is_suspended"] is True
    assert [one["id"] for one in found] == sorted(ours)


class TestCreate:
    def test_makes_an_org_and_invites_its_owner(self, anonymous, operator, session):
        body = {"name": "Acme", "owner_email": "Boss@example.com"}
        answer = anonymous.post(PATH, headers=operator, json=body)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert made["invitation"]["role"] == "owner"
        token = made["invitation"]["link"].partition("#token=")[2]
        accepted = anonymous.post(
            "/api/v1/auth/invitations/accept", json={"token": token, "password": PASSWORD}
        )
        assert accepted.status_code == 200, accepted.text
        headers = {"Authorization": f"Bearer {accepted.json()['access_token']}"}
        org = anonymous.get(f"/api/v1/orgs/{made['slug']}", headers=headers).json()
        assert (org["role"], org["member_count"]) == ("owner", 1)
        session.commit()
        enter_org(session, made["id"])
        for table in ("audit_entries", "platform_audit_entries"):
            assert entries(session, table, made["id"]) == [
                ("create", None, {"slug": made["slug"], "name": "Acme"})
            ]
        # The operator is no member of it.
        assert anonymous.get(f"/api/v1/orgs/{made['slug']}", headers=operator).status_code == 404

    def test_mails_the_link_where_it_can(self, app, anonymous, operator):
        with mail_server() as mailbox:
            app.state.mailer = Mailer(f"smtp://127.0.0.1:{mailbox.port}", "p@example.com")
            body = {"name": "Acme", "owner_email": "boss@example.com"}
            made = anonymous.post(PATH, headers=operator, json=body).json()
        assert made["invitation"]["link"] is None
        assert mailbox.messages[0]["To"] == "boss@example.com"

    def test_is_not_for_owners(self, client: TestClient):
        body = {"name": "Acme", "owner_email": "boss@example.com"}
        assert client.post(PATH, json=body).status_code == 403
        assert client.get(PATH).status_code == 403

    @pytest.mark.parametrize(
        "body",
        [
            {"name": "Acme"},
            {"owner_email": "boss@example.com"},
            {"name": " ", "owner_email": "boss@example.com"},
            {"name": "Acme", "owner_email": "boss"},
            {"name": "Acme", "owner_email": "boss@example.com", "slug": "x"},
        ],
    )
    def test_refuses_the_rest(self, anonymous, operator, body):
        assert anonymous.post(PATH, headers=operator, json=body).status_code == 422


class TestSuspend:
    def test_shuts_and_opens(self, client, anonymous, operator, session, member):
        one, org = f"{PATH}/{member.org.slug}", f"/api/v1/orgs/{member.org.slug}"
        key = client.post(f"{org}/api-keys", json={"name": "k", "scopes": ["orgs:read"]}).json()
        by_key = {"X-API-Key": key["key"]}
        answer = anonymous.post(f"{one}/suspend", headers=operator)
        assert (answer.status_code, answer.json()["is_suspended"]) == (200, True)
        assert client.get(org).status_code == 403
        assert anonymous.get(org, headers=by_key).status_code == 403
        # Twice is once.
        anonymous.post(f"{one}/suspend", headers=operator)
        assert anonymous.post(f"{one}/resume", headers=operator).status_code == 200
        assert client.get(org).status_code == 200
        assert anonymous.get(org, headers=by_key).status_code == 200
        session.commit()
        enter_org(session, member.org.id)
        for table in ("audit_entries", "platform_audit_entries"):
            assert entries(session, table, member.org.id) == [
                ("suspend", {"is_suspended": False}, {"is_suspended": True}),
                ("resume", {"is_suspended": True}, {"is_suspended": False}),
            ]

    @pytest.mark.parametrize("verb", ["suspend", "resume", "restore"])
    def test_is_not_for_owners(self, client: TestClient, verb):
        assert client.post(f"{PATH}/{client.org}/{verb}").status_code == 403

    @pytest.mark.parametrize("verb", ["suspend", "resume", "restore"])
    def test_of_an_org_that_is_not_there(self, anonymous, operator, verb):
        assert anonymous.post(f"{PATH}/nowhere/{verb}", headers=operator).status_code == 404


class TestRestore:
    @pytest.fixture(params=[True])
    def one(self, client: TestClient, request: pytest.FixtureRequest) -> str:
        answer = client.delete(
            f"/api/v1/orgs/{client.org}",
            params={"confirm": client.org, "destroy_keys": request.param},
        )
        assert answer.status_code == 204, answer.text
        return f"{PATH}/{client.org}"

    def test_of_an_org_that_lives(self, client, anonymous, operator):
        answer = anonymous.post(f"{PATH}/{client.org}/restore", headers=operator)
        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_state")

    def test_a_deleted_org_is_not_suspended(self, anonymous, operator, one):
        for verb in ("suspend", "resume"):
            answer = anonymous.post(f"{one}/{verb}", headers=operator)
            assert (answer.status_code, answer.json()["code"]) == (409, "invalid_state")

    def test_needs_a_key_for_new_secrets(self, app, client, anonymous, operator, one):
        class SealedKeys(StaticKeys):
            def keys(self):
                raise Sealed("The platform is sealed.")

        before = app.state.vault
        app.state.vault = Vault(SealedKeys([]))
        assert anonymous.post(f"{one}/restore", headers=operator).status_code == 423
        app.state.vault = before
        assert client.get(f"/api/v1/orgs/{client.org}").status_code == 404
        assert anonymous.post(f"{one}/restore", headers=operator).status_code == 200

    # Without its keys they cannot be read; with them, their logins have been closed meanwhile.
    @pytest.mark.parametrize("one", [True, False], indirect=True)
    def test_has_the_warehouse_s_passwords_made_anew(
        self, client, anonymous, operator, session, member, one
    ):
        enter_org(session, member.org.id)
        session.execute(
            text(
                "INSERT INTO warehouses (org_id, state, created_at, updated_at)"
                " VALUES (:org, 'ready', now(), now())"
            ),
            {"org": member.org.id},
        )
        session.commit()
        anonymous.post(f"{one}/restore", headers=operator)
        state = client.get(f"/api/v1/orgs/{client.org}/warehouse").json()["state"]
        assert state == "pending"


class TestQuota:
    def test_is_set_told_and_taken_back(self, app, client, anonymous, operator, session, member):
        path = f"{PATH}/{member.org.slug}/quota"
        org = f"/api/v1/orgs/{member.org.slug}"
        token = app.state.signer.service_token(ServiceRole.LAUNCHER)
        launcher = {"Authorization": f"Bearer {token}"}
        platforms = client.get(org).json()["quota"]
        body = {"parallel_runs": 0, "runs_per_hour": None}
        answer = anonymous.put(path, headers=operator, json=body)
        assert (answer.status_code, answer.json()["parallel_runs"]) == (200, 0)
        own = {"parallel_runs": 0, "runs_per_hour": platforms["runs_per_hour"]}
        assert client.get(org).json()["quota"] == own
        told = anonymous.get("/internal/v1/quotas", headers=launcher).json()
        assert told["default"] == platforms
        assert told["orgs"][member.org.slug] == own
        taken_back = {"parallel_runs": None, "runs_per_hour": None}
        for _ in range(2):
            assert anonymous.put(path, headers=operator, json=taken_back).status_code == 200
        told = anonymous.get("/internal/v1/quotas", headers=launcher).json()
        assert member.org.slug not in told["orgs"]
        session.commit()
        enter_org(session, member.org.id)
        for table in ("audit_entries", "platform_audit_entries"):
            assert entries(session, table, member.org.id) == [
                ("set_quota", taken_back, body),
                ("set_quota", body, taken_back),
            ]

    def test_is_not_for_owners(self, client: TestClient):
        body = {"parallel_runs": 50, "runs_per_hour": 50}
        assert client.put(f"{PATH}/{client.org}/quota", json=body).status_code == 403

    def test_is_not_for_other_processes(self, app, anonymous):
        token = app.state.signer.service_token(ServiceRole.GATEWAY)
        headers = {"Authorization": f"Bearer {token}"}
        assert anonymous.get("/internal/v1/quotas", headers=headers).status_code == 403

    @pytest.mark.parametrize(
        "body", [{"parallel_runs": -1, "runs_per_hour": 1}, {"parallel_runs": 1}, {}]
    )
    def test_refuses_the_rest(self, anonymous, operator, member, body):
        path = f"{PATH}/{member.org.slug}/quota"
        assert anonymous.put(path, headers=operator, json=body).status_code == 422
