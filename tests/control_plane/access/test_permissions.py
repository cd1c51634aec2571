"""Roles and API keys cut what a caller may do."""

import itertools

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from control_plane.access.permissions import ROLE_PERMISSIONS, Permission, Role
from control_plane.access.users.models import Membership
from control_plane.core.database import enter_org
from tests.factories.access import Member, make_member


def test_each_role_has_all_of_the_role_below():
    ladder = [ROLE_PERMISSIONS[role] for role in Role]
    for lower, higher in itertools.pairwise(ladder):
        assert lower < higher or lower == higher
    assert ROLE_PERMISSIONS[Role.OWNER] == set(Permission)


@pytest.mark.caller(role="viewer")
def test_a_viewer_reads_and_writes_nothing(client: TestClient):
    assert client.get(f"/api/v1/orgs/{client.org}/connections").status_code == 200
    answer = client.post(f"/api/v1/orgs/{client.org}/connections", json={})
    assert answer.status_code in {403, 422}
    answer = client.post(
        f"/api/v1/orgs/{client.org}/connections",
        json={"name": "x", "connector": "postgres", "direction": "both", "config": {}},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "connections:write" in answer.json()["detail"]


def test_another_orgs_slug_looks_like_one_that_does_not_exist(client, session, vault):
    foreign = make_member(session, vault).org.slug
    answers = [
        client.get(f"/api/v1/orgs/{slug}/connections").json() for slug in (foreign, "nowhere")
    ]
    for answer, slug in zip(answers, (foreign, "nowhere"), strict=True):
        assert answer["status"] == 404
        assert answer["detail"] == f"There is no organization '{slug}'."


class TestApiKeys:
    def create(self, client: TestClient, *scopes: str, **more: str):
        body = {"name": "ci", "scopes": list(scopes), **more}
        return client.post(f"/api/v1/orgs/{client.org}/api-keys", json=body)

    def test_a_key_is_shown_once_and_works_within_its_scopes(self, client, anonymous):
        created = self.create(client, "connections:read").json()
        assert created["key"].startswith("etf_")
        headers = {"X-API-Key": created["key"]}
        url = f"/api/v1/orgs/{client.org}/connections"
        assert anonymous.get(url, headers=headers).status_code == 200
        body = {"name": "x", "connector": "postgres", "direction": "both", "config": {}}
        assert anonymous.post(url, headers=headers, json=body).status_code == 403
        listed = client.get(f"/api/v1/orgs/{client.org}/api-keys").json()["data"]
        assert [key["name"] for key in listed] == ["ci"]
        assert "key" not in listed[0]
        assert listed[0]["last_used_at"] is not None

    def test_a_revoked_or_expired_key_is_nobody(self, client, anonymous):
        created = self.create(client, "connections:read").json()
        url = f"/api/v1/orgs/{client.org}"
        assert client.delete(f"{url}/api-keys/{created['id']}").status_code == 204
        headers = {"X-API-Key": created["key"]}
        assert anonymous.get(f"{url}/connections", headers=headers).status_code == 401
        answer = self.create(client, "connections:read", expires_at="2020-01-01T00:00:00Z")
        assert answer.json()["errors"][0]["pointer"] == "/expires_at"

    def test_a_key_is_revoked_once(self, client):
        created = self.create(client, "connections:read").json()
        url = f"/api/v1/orgs/{client.org}"
        answers = [client.delete(f"{url}/api-keys/{created['id']}") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [204, 404]
        query = {"action": "delete", "resource_type": "api_key"}
        assert len(client.get(f"{url}/audit", params=query).json()["data"]) == 1

    @pytest.mark.caller(role="admin")
    def test_a_key_never_has_more_than_its_creator_has_now(
        self, client, anonymous, session: Session, member: Member
    ):
        created = self.create(client, "connections:write").json()
        enter_org(session, member.org.id)
        membership = session.query(Membership).filter_by(user_id=member.user.id).one()
        membership.role = "viewer"
        session.commit()
        answer = anonymous.post(
            f"/api/v1/orgs/{client.org}/connections",
            headers={"X-API-Key": created["key"]},
            json={"name": "x", "connector": "postgres", "direction": "both", "config": {}},
        )
        assert answer.status_code == 403

    def test_a_key_opens_no_other_org(self, client, anonymous, session, vault):
        created = self.create(client, "connections:read").json()
        foreign = make_member(session, vault).org.slug
        answer = anonymous.get(
            f"/api/v1/orgs/{foreign}/connections", headers={"X-API-Key": created["key"]}
        )
        assert answer.status_code == 404

    def test_a_key_cannot_make_a_key(self, client, anonymous):
        created = self.create(client, "api_keys:write").json()
        answer = anonymous.post(
            f"/api/v1/orgs/{client.org}/api-keys",
            headers={"X-API-Key": created["key"]},
            json={"name": "more", "scopes": ["api_keys:write"]},
        )
        assert answer.status_code == 403
