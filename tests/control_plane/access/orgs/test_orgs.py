"""An organization is renamed, deleted and, by an operator, restored, through the REST API."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.sessions.tokens import ServiceRole
from control_plane.access.task_tokens.service import mint_token
from control_plane.connections.models import Connection
from control_plane.core.database import enter_org
from control_plane.tenancy.models import DataKey
from tests.factories.access import access_headers, make_colleague, make_member, make_user

CANARY = "canary-of-a-password"
POSTGRES = {
    "host": "db.example.com",
    "database": "shop",
    "user": "reader",
    "password": CANARY,
}


@pytest.fixture
def path(client: TestClient) -> str:
    return f"/api/v1/orgs/{client.org}"


@pytest.fixture
def operator(app, session: Session, member) -> dict[str, str]:
    """Headers of a platform operator who belongs to no org."""
    user = make_user(session, is_platform_operator=True)
    return access_headers(session, app.state.signer, user)


def connect(client: TestClient, path: str) -> int:
    body = {"name": "Shop", "connector": "postgres", "direction": "source", "config": POSTGRES}
    answer = client.post(f"{path}/connections", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def delete(client: TestClient, path: str, headers: dict | None = None, **query: object):
    return client.delete(path, params={"confirm": client.org} | query, headers=headers)


def restore(client: TestClient, operator: dict[str, str]):
    return client.post(f"/api/v1/system/orgs/{client.org}/restore", headers=operator)


def log(session: Session, table: str, resource_type: str = "organization") -> list[tuple]:
    rows = session.execute(
        text(
            f"SELECT action, old_values, new_values FROM {table} WHERE resource_type = :t ORDER BY id"
        ),
        {"t": resource_type},
    )
    return [tuple(row) for row in rows]


class TestProfile:
    def test_shows_what_members_ask(self, client, path, session, member):
        make_colleague(session, member.org, Role.VIEWER)
        answer = client.get(path)
        body = answer.json()
        assert body.pop("created_at").endswith("Z")
        assert body == {
            "id": member.org.id,
            "slug": member.org.slug,
            "name": member.org.name,
            "role": "owner",
            "member_count": 2,
            "is_suspended": False,
            "quota": {"parallel_runs": 4, "runs_per_hour": 1000},
            "version": 1,
        }
        assert answer.headers["ETag"] == '"1"'

    def test_is_renamed_and_keeps_its_slug(self, client, path, session, member):
        before = client.get(path).json()["name"]
        answer = client.patch(path, json={"name": "  Other name "})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["name"], answer.json()["slug"]) == ("Other name", member.org.slug)
        assert answer.headers["ETag"] == '"2"'
        enter_org(session, member.org.id)
        expected = ("update", {"name": before}, {"name": "Other name"})
        assert log(session, "audit_entries") == [expected]

    def test_a_late_writer_is_refused(self, client, path):
        seen = client.get(path).headers["ETag"]
        client.patch(path, json={"name": "First"})
        late = client.patch(path, headers={"If-Match": seen}, json={"name": "Second"})
        assert late.status_code == 412
        assert delete(client, path, {"If-Match": seen}).status_code == 412

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": " "},
            {"name": "x" * 201},
            {"name": "a\nb"},
            {"name": "x", "slug": "other"},
            {"name": "x", "is_suspended": False},
        ],
    )
    def test_refuses_the_rest(self, client, path, body):
        assert client.patch(path, json=body).status_code == 422

    @pytest.mark.parametrize(("role", "status"), [("admin", 200), ("editor", 403), ("viewer", 403)])
    def test_admins_rename(self, app, client, path, session, member, role, status):
        colleague = make_colleague(session, member.org, Role(role))
        headers = access_headers(session, app.state.signer, colleague.user)
        answer = client.patch(path, headers=headers, json={"name": "New"})
        assert answer.status_code == status


class TestDelete:
    def test_ends_every_way_in(self, app, client, anonymous, path, session, member, operator):
        key = client.post(
            f"{path}/api-keys", json={"name": "k", "scopes": ["connections:read"]}
        ).json()["key"]
        link = client.post(
            f"{path}/invitations", json={"email": "a@example.com", "role": "viewer"}
        ).json()["link"]
        session.execute(
            text("UPDATE user_sessions SET current_org_id = :org WHERE user_id = :user"),
            {"org": member.org.id, "user": member.user.id},
        )
        session.commit()
        assert delete(client, path).status_code == 204
        assert client.get(path).status_code == 404
        assert client.get("/api/v1/auth/me").json()["orgs"] == []
        assert client.get("/api/v1/auth/me").json()["current_org"] is None
        assert anonymous.get(path, headers={"X-API-Key": key}).status_code == 401
        body = {"token": link.partition("#token=")[2]}
        show = anonymous.post("/api/v1/auth/invitations/show", json=body)
        assert show.status_code == 404
        current = session.scalars(text("SELECT current_org_id FROM user_sessions")).all()
        assert member.org.id not in current
        # None of it comes back with the org; its members do.
        assert restore(client, operator).status_code == 200
        assert client.get(path).status_code == 200
        assert anonymous.get(path, headers={"X-API-Key": key}).status_code == 401
        assert anonymous.post("/api/v1/auth/invitations/show", json=body).status_code == 404

    def test_is_on_record_for_the_org_and_for_the_platform(
        self, client, path, session, member, operator
    ):
        delete(client, path)
        restore(client, operator)
        session.commit()
        enter_org(session, member.org.id)
        values = {"slug": member.org.slug, "name": member.org.name, "destroy_keys": False}
        for table in ("audit_entries", "platform_audit_entries"):
            entries = log(session, table)
            assert ("delete", None, values) in entries
            assert entries[-1][0] == "restore"

    def test_needs_the_slug_once_more(self, client, path):
        for query in ({}, {"confirm": ""}, {"confirm": "other"}):
            assert client.delete(path, params=query).status_code == 422
        assert client.get(path).status_code == 200

    @pytest.mark.parametrize("role", ["admin", "editor", "viewer"])
    def test_is_for_owners(self, app, client, path, session, member, role):
        colleague = make_colleague(session, member.org, Role(role))
        headers = access_headers(session, app.state.signer, colleague.user)
        assert delete(client, path, headers).status_code == 403

    def test_is_not_for_keys(self, client, path):
        key = client.post(f"{path}/api-keys", json={"name": "k", "scopes": ["orgs:delete"]}).json()[
            "key"
        ]
        del client.headers["Authorization"]
        assert delete(client, path, {"X-API-Key": key}).status_code == 403

    def test_its_slug_is_taken_for_ever(self, client, path, session, vault, member):
        delete(client, path)
        answer = client.post(
            "/api/v1/auth/signup",
            json={
                "email": "z@example.com",
                "password": "correct horse battery",
                "org_name": member.org.name,
            },
        )
        assert answer.json()["org"]["slug"] != member.org.slug

    @pytest.mark.parametrize("column", ["is_suspended = true", "deleted_at = now()"])
    def test_nothing_starts_in_an_org_that_is_shut(
        self, app, client, anonymous, path, session, member, column
    ):
        enter_org(session, member.org.id)
        actor = member.caller.actor
        minted = mint_token(session, member.org.id, actor, purpose="dbt_parse", connection_ids=[])
        session.execute(text(f"UPDATE organizations SET {column}"))
        session.commit()

        def service(role: ServiceRole, org: str | None = None) -> dict[str, str]:
            return {"Authorization": f"Bearer {app.state.signer.service_token(role, org)}"}

        status = client.post(f"{path}/runs", json={"targets": []}).status_code
        assert status == (403 if "suspended" in column else 404)
        locations = anonymous.get(
            "/internal/v1/locations", headers=service(ServiceRole.SUPERVISOR)
        ).json()["locations"]
        assert member.org.slug not in [one["org"] for one in locations]
        manifest = anonymous.get(
            f"/internal/v1/orgs/{member.org.slug}/manifest",
            headers=service(ServiceRole.CODE_LOCATION, member.org.slug),
        )
        assert manifest.status_code == 404
        authorized = anonymous.post(
            f"/internal/v1/runs/{'0' * 36}/authorize",
            headers=service(ServiceRole.LAUNCHER),
            json={
                "org": member.org.slug,
                "manifest_sha256": "0" * 64,
                "asset_keys": None,
                "check_keys": None,
                "schedule": None,
            },
        )
        assert authorized.status_code == 404, authorized.text
        redeemed = anonymous.post(
            "/internal/v1/task-tokens/redeem", headers={"Authorization": f"Bearer {minted.token}"}
        )
        assert redeemed.status_code == 403


class TestDestroyKeys:
    def test_erases_every_secret(self, app, client, path, session, member, operator):
        connection_id = connect(client, path)
        gone = connect_deleted(client, path)
        assert delete(client, path, destroy_keys=True).status_code == 204
        enter_org(session, member.org.id)
        session.expire_all()
        assert session.scalars(select(DataKey)).all() == []
        rows = session.execute(select(Connection.id, Connection.secrets)).all()
        assert {row.id: row.secrets for row in rows} == {connection_id: None, gone: None}

    def test_a_restored_org_gets_new_secrets(self, client, path, operator):
        connection_id = connect(client, path)
        delete(client, path, destroy_keys=True)
        assert restore(client, operator).status_code == 200
        one = f"{path}/connections/{connection_id}"
        assert client.get(one).json()["secrets_set"] == []
        answer = client.post(f"{one}/test")
        assert (answer.status_code, answer.json()["code"]) == (409, "keys_destroyed")
        assert "password" in answer.json()["detail"]
        missing = client.patch(one, json={"config": {"database": "other"}})
        assert missing.status_code == 422
        given = client.patch(one, json={"config": {"password": "another-one"}})
        assert given.status_code == 200, given.text
        assert given.json()["secrets_set"] == ["password"]

    def test_without_it_secrets_survive(self, app, client, path, session, member, vault, operator):
        connection_id = connect(client, path)
        delete(client, path)
        restore(client, operator)
        one = client.get(f"{path}/connections/{connection_id}").json()
        assert one["secrets_set"] == ["password"]

    def test_is_refused_to_whoever_may_not_delete(self, app, client, path, session, member):
        connect(client, path)
        admin = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, admin.user)
        assert delete(client, path, headers, destroy_keys=True).status_code == 403
        enter_org(session, member.org.id)
        assert len(session.scalars(select(DataKey)).all()) == 1

    def test_destroys_no_other_org_s(self, client, path, session, vault, member):
        other = make_member(session, vault)
        delete(client, path, destroy_keys=True)
        enter_org(session, other.org.id)
        assert len(session.scalars(select(DataKey)).all()) == 1


def connect_deleted(client: TestClient, path: str) -> int:
    """Makes a connection that is deleted: its ciphertext is there all the same."""
    body = {"name": "Old", "connector": "postgres", "direction": "source", "config": POSTGRES}
    connection_id = client.post(f"{path}/connections", json=body).json()["id"]
    assert client.delete(f"{path}/connections/{connection_id}").status_code == 204
    return connection_id
