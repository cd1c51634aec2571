"""Roles, removal and leaving, through the REST API."""

from itertools import product

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from control_plane.access.permissions import ROLE_PERMISSIONS, Role
from control_plane.access.users.repository import UserRepository
from control_plane.audit.models import AuditEntry
from control_plane.core.database import enter_org
from tests.factories.access import (
    Member,
    access_headers,
    make_colleague,
    make_member,
    make_user,
)


@pytest.fixture
def path(client: TestClient) -> str:
    return f"/api/v1/orgs/{client.org}/members"


def entries(session: Session, org_id: int, action: str) -> list[AuditEntry]:
    enter_org(session, org_id)
    statement = select(AuditEntry).where(
        AuditEntry.action == action, AuditEntry.resource_type == "member"
    )
    return list(session.scalars(statement))


def api_key(client: TestClient, headers: dict[str, str], scopes: list[str]) -> dict[str, str]:
    answer = client.post(
        f"/api/v1/orgs/{client.org}/api-keys",
        headers=headers,
        json={"name": "key", "scopes": scopes},
    )
    assert answer.status_code == 201, answer.text
    return {"X-API-Key": answer.json()["key"]}


class TestChangeRole:
    def test_counts_from_the_next_request_on(self, app, client, path, session, member):
        colleague = make_colleague(session, member.org, Role.VIEWER)
        headers = access_headers(session, app.state.signer, colleague.user)
        connections = f"/api/v1/orgs/{client.org}/connections"
        assert client.post(connections, headers=headers, json={}).status_code == 403
        answer = client.patch(f"{path}/{colleague.user.id}", json={"role": "editor"})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "user_id": colleague.user.id,
            "email": colleague.user.email,
            "role": "editor",
            "version": 2,
        }
        assert answer.headers["ETag"] == '"2"'
        assert client.post(connections, headers=headers, json={}).status_code == 422

    def test_is_on_record_with_the_old_and_the_new_role(self, client, path, session, member):
        colleague = make_colleague(session, member.org, Role.VIEWER)
        client.patch(f"{path}/{colleague.user.id}", json={"role": "admin"})
        client.patch(f"{path}/{colleague.user.id}", json={"role": "admin"})
        (entry,) = entries(session, member.org.id, "update")
        assert entry.old_values == {"email": colleague.user.email, "role": "viewer"}
        assert entry.new_values == {"email": colleague.user.email, "role": "admin"}
        assert (entry.actor_id, entry.resource_id) == (member.user.id, str(colleague.user.id))

    @pytest.mark.parametrize(
        ("caller", "old", "new", "status"),
        [
            ("owner", "viewer", "owner", 200),
            ("owner", "owner", "viewer", 200),
            ("owner", "admin", "editor", 200),
            ("admin", "viewer", "admin", 200),
            ("admin", "admin", "viewer", 200),
            ("admin", "viewer", "owner", 403),
            ("admin", "owner", "admin", 403),
            ("admin", "owner", "owner", 403),
            ("editor", "viewer", "viewer", 403),
            ("viewer", "viewer", "editor", 403),
        ],
    )
    def test_who_may_give_what(self, app, client, path, session, member, caller, old, new, status):
        acting = make_colleague(session, member.org, Role(caller))
        colleague = make_colleague(session, member.org, Role(old))
        headers = access_headers(session, app.state.signer, acting.user)
        answer = client.patch(f"{path}/{colleague.user.id}", headers=headers, json={"role": new})
        assert answer.status_code == status, answer.text

    def test_an_admin_does_not_become_an_owner(self, app, client, path, session, member):
        admin = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, admin.user)
        answer = client.patch(f"{path}/{admin.user.id}", headers=headers, json={"role": "owner"})
        assert answer.status_code == 403

    def test_a_key_gives_no_more_than_its_maker_may(self, app, client, path, session, member):
        admin = make_colleague(session, member.org, Role.ADMIN)
        viewer = make_colleague(session, member.org, Role.VIEWER)
        headers = access_headers(session, app.state.signer, admin.user)
        key = api_key(client, headers, sorted(ROLE_PERMISSIONS[Role.ADMIN]))
        del client.headers["Authorization"]
        one = f"{path}/{viewer.user.id}"
        assert client.patch(one, headers=key, json={"role": "owner"}).status_code == 403
        assert client.patch(one, headers=key, json={"role": "editor"}).status_code == 200
        gone = client.delete(f"{path}/{member.user.id}", headers=key)
        assert gone.status_code == 403

    def test_nor_more_than_it_has_itself(self, client, path, session, member):
        """A key that leaked makes nobody who may more than it."""
        others = {role: make_colleague(session, member.org, role) for role in Role}
        narrow = api_key(client, {}, ["members:write"])
        viewing = api_key(client, {}, ["members:write", *ROLE_PERMISSIONS[Role.VIEWER]])
        editing = api_key(client, {}, ["members:write", *ROLE_PERMISSIONS[Role.EDITOR]])
        del client.headers["Authorization"]

        def give(key: dict, whom: Role, role: Role) -> int:
            one = f"{path}/{others[whom].user.id}"
            return client.patch(one, headers=key, json={"role": role}).status_code

        for old, new in product(Role, Role):
            assert give(narrow, old, new) == 403, f"{old} to {new}"
        assert give(viewing, Role.VIEWER, Role.VIEWER) == 200
        assert give(viewing, Role.VIEWER, Role.EDITOR) == 403
        assert give(viewing, Role.EDITOR, Role.VIEWER) == 403
        assert give(editing, Role.VIEWER, Role.EDITOR) == 200
        assert give(editing, Role.EDITOR, Role.ADMIN) == 403
        for role in (Role.EDITOR, Role.ADMIN, Role.OWNER):
            gone = client.delete(f"{path}/{others[role].user.id}", headers=viewing)
            assert gone.status_code == 403
        assert client.delete(f"{path}/{others[Role.EDITOR].user.id}", headers=editing).is_success

    def test_the_last_owner_stays_one(self, client, path, member: Member):
        answer = client.patch(f"{path}/{member.user.id}", json={"role": "admin"})
        assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")

    @pytest.mark.parametrize("body", [{}, {"role": "god"}, {"role": "admin", "org_id": 1}])
    def test_refuses_what_is_no_role(self, client, path, member: Member, body):
        assert client.patch(f"{path}/{member.user.id}", json=body).status_code == 422

    def test_a_late_writer_is_refused(self, client, path, session, member):
        colleague = make_colleague(session, member.org, Role.VIEWER)
        one = f"{path}/{colleague.user.id}"
        seen = client.get(one).headers["ETag"]
        client.patch(one, json={"role": "editor"})
        late = client.patch(one, headers={"If-Match": seen}, json={"role": "admin"})
        assert late.status_code == 412
        assert client.delete(one, headers={"If-Match": seen}).status_code == 412
        assert client.get(one).json()["role"] == "editor"

    def test_others_are_not_found(self, client, path, session, vault, member):
        stranger = make_member(session, vault)
        user = make_user(session)
        session.commit()
        for user_id in (stranger.user.id, user.id, 0, -1, 2**63, 10**30):
            answer = client.patch(f"{path}/{user_id}", json={"role": "viewer"})
            assert answer.status_code == 404, user_id
            assert client.delete(f"{path}/{user_id}").status_code == 404
            assert client.get(f"{path}/{user_id}").status_code == 404
        enter_org(session, stranger.org.id)
        roles = session.scalars(text("SELECT role FROM memberships")).all()
        assert roles == ["owner"]


class TestList:
    def test_is_read_in_pages(self, client, path, session, member):
        ids = [member.user.id]
        ids += [make_colleague(session, member.org, Role.VIEWER).user.id for _ in range(4)]
        seen, cursor = [], None
        while True:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = client.get(path, params=query).json()
            assert len(page["data"]) <= 2
            seen += [one["user_id"] for one in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == ids
        assert client.get(path, params={"limit": 101}).status_code == 422
        assert client.get(path, params={"cursor": "x"}).status_code == 422


class TestRemove:
    def test_ends_sessions_and_keys_at_once(self, app, client, path, session, member):
        colleague = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, colleague.user)
        key = api_key(client, headers, ["connections:read"])
        session.execute(
            text("UPDATE user_sessions SET current_org_id = :org WHERE user_id = :user"),
            {"org": member.org.id, "user": colleague.user.id},
        )
        session.commit()
        connections = f"/api/v1/orgs/{client.org}/connections"
        assert client.get(connections, headers=key).status_code == 200
        assert client.delete(f"{path}/{colleague.user.id}").status_code == 204
        assert client.get(connections, headers=headers).status_code == 404
        assert client.get(connections, headers=key).status_code == 401
        current = session.scalars(
            text("SELECT current_org_id FROM user_sessions WHERE user_id = :user"),
            {"user": colleague.user.id},
        ).all()
        assert current == [None]
        (entry,) = entries(session, member.org.id, "delete")
        assert entry.old_values == {"email": colleague.user.email, "role": "admin"}
        assert len(entry.new_values["revoked_api_keys"]) == 1

    def test_coming_back_brings_no_key_back(self, app, client, path, session, member):
        colleague = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, colleague.user)
        key = api_key(client, headers, ["connections:read"])
        client.delete(f"{path}/{colleague.user.id}")
        link = client.post(
            f"/api/v1/orgs/{client.org}/invitations",
            json={"email": colleague.user.email, "role": "admin"},
        ).json()["link"]
        accepted = client.post(
            "/api/v1/auth/invitations/accept",
            headers=headers,
            json={"token": link.partition("#token=")[2]},
        )
        assert accepted.status_code == 200, accepted.text
        connections = f"/api/v1/orgs/{client.org}/connections"
        assert client.get(connections, headers=headers).status_code == 200
        assert client.get(connections, headers=key).status_code == 401

    def test_coming_back_brings_no_invitation_back(
        self, app, client, anonymous, path, session, member
    ):
        colleague = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, colleague.user)
        made = client.post(
            f"/api/v1/orgs/{client.org}/invitations",
            headers=headers,
            json={"email": "friend@example.com", "role": "admin"},
        ).json()
        client.delete(f"{path}/{colleague.user.id}")
        (entry,) = entries(session, member.org.id, "delete")
        assert entry.new_values["revoked_invitations"] == [made["id"]]
        UserRepository(session).add_membership(member.org.id, colleague.user.id, Role.ADMIN)
        session.commit()
        shown = anonymous.post(
            "/api/v1/auth/invitations/show", json={"token": made["link"].partition("#token=")[2]}
        )
        assert shown.status_code == 404

    def test_the_last_owner_stays(self, client, path, member: Member):
        answer = client.delete(f"{path}/{member.user.id}")
        assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")

    def test_an_admin_removes_no_owner(self, app, client, path, session, member):
        admin = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, admin.user)
        answer = client.delete(f"{path}/{member.user.id}", headers=headers)
        assert answer.status_code == 403


class TestLeave:
    @pytest.mark.parametrize("role", list(Role))
    def test_everybody_may(self, app, client, path, session, member, role):
        colleague = make_colleague(session, member.org, role)
        headers = access_headers(session, app.state.signer, colleague.user)
        assert client.post(f"{path}/leave", headers=headers).status_code == 204
        assert client.get(path, headers=headers).status_code == 404
        (entry,) = entries(session, member.org.id, "leave")
        assert entry.actor_id == colleague.user.id

    def test_but_not_the_last_owner(self, client, path):
        answer = client.post(f"{path}/leave")
        assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")

    def test_nor_a_key(self, client, path):
        key = api_key(client, {}, ["orgs:read"])
        del client.headers["Authorization"]
        assert client.post(f"{path}/leave", headers=key).status_code == 403
