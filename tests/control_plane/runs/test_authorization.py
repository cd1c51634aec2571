"""Runs get tokens for their own org's connections, and nothing else."""

import uuid

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.access.sessions.tokens import ServiceRole
from control_plane.connections.models import Connection
from control_plane.connections.schemas import ConnectionCreate
from control_plane.connections.service import ConnectionService
from control_plane.core.database import enter_org
from control_plane.manifest.models import CurrentManifest, Manifest
from control_plane.runs.models import Run
from datanika_manifest.automation import Schedule
from datanika_manifest.code_location import CodeLocation, ConnectionRef
from datanika_manifest.uploads import Upload, UploadTable, WriteDisposition
from tests.factories.access import Member, make_member

CONFIG = {"host": "db.example.com", "database": "d", "user": "u", "password": "canary-3"}


def make_manifest(session: Session, member: Member, vault) -> CodeLocation:
    """An org with two uploads that share nothing, published."""
    enter_org(session, member.org.id)
    service = ConnectionService.of(session, member.caller, vault)
    rows: list[Connection] = [
        service.create_connection(
            ConnectionCreate(name=name, connector="postgres", direction="both", config=CONFIG)
        )
        for name in ("a", "b", "c", "unused")
    ]
    uploads = tuple(
        Upload(
            id=number,
            slug=f"u{number}",
            name=f"u{number}",
            source=source,
            destination=destination,
            target_schema="s",
            tables=(
                UploadTable(
                    source_schema="public",
                    source_table="t",
                    target_table="t",
                    asset_key=(member.org.slug, destination, f"s{number}", "t"),
                ),
            ),
            write_disposition=WriteDisposition.REPLACE,
        )
        for number, (source, destination) in enumerate([("a", "b"), ("a", "c")], start=1)
    )
    location = CodeLocation(
        org_id=member.org.id,
        org=member.org.slug,
        connections=tuple(
            ConnectionRef(id=row.id, slug=row.slug, connector=row.connector) for row in rows
        ),
        uploads=uploads,
        schedules=(
            Schedule(
                id=1,
                name="schedule_1",
                cron="0 0 * * *",
                timezone="UTC",
                is_active=True,
                asset_keys=(uploads[1].tables[0].asset_key,),
            ),
        ),
    )
    manifest = Manifest(
        org_id=member.org.id,
        sha256=location.sha256(),
        text=location.canonical_json(),
        created_by="test",
    )
    session.add(manifest)
    session.flush()
    session.add(CurrentManifest(org_id=member.org.id, manifest_id=manifest.id))
    session.commit()
    return location


@pytest.fixture
def location(session, member, vault) -> CodeLocation:
    return make_manifest(session, member, vault)


@pytest.fixture
def launcher(app, anonymous: TestClient) -> TestClient:
    token = app.state.signer.service_token(ServiceRole.LAUNCHER)
    anonymous.headers["Authorization"] = f"Bearer {token}"
    return anonymous


def authorize(client: TestClient, location: CodeLocation, run_id: str | None = None, **body):
    run_id = run_id or str(uuid.uuid4())
    values = {"org": location.org, "manifest_sha256": location.sha256(), **body}
    return client.post(f"/internal/v1/runs/{run_id}/authorize", json=values)


def redeem(client: TestClient, token: str):
    headers = {"Authorization": f"Bearer {token}"}
    return client.post("/internal/v1/task-tokens/redeem", headers=headers)


class TestAuthorize:
    def test_gives_the_connections_of_the_selected_assets(self, launcher, location):
        key = list(location.uploads[0].tables[0].asset_key)
        token = authorize(launcher, location, asset_keys=[key]).json()["token"]
        answer = redeem(launcher, token)
        assert answer.status_code == 200
        body = answer.json()
        assert sorted(body["connections"]) == ["a", "b"]
        assert body["connections"]["a"]["config"]["password"] == "canary-3"
        assert body["org"] == location.org

    def test_a_schedules_run_gets_those_of_the_schedule(self, launcher, location):
        token = authorize(launcher, location, schedule="schedule_1").json()["token"]
        assert sorted(redeem(launcher, token).json()["connections"]) == ["a", "c"]
        answer = authorize(launcher, location, schedule="schedule_9")
        assert answer.status_code == 403

    def test_a_run_of_everything_gets_those_that_are_used(self, launcher, location):
        token = authorize(launcher, location).json()["token"]
        assert sorted(redeem(launcher, token).json()["connections"]) == ["a", "b", "c"]

    def test_registers_the_run_once(self, launcher, location, session: Session, member):
        run_id = str(uuid.uuid4())
        for _ in range(2):
            assert authorize(launcher, location, run_id).status_code == 200
        enter_org(session, member.org.id)
        rows = session.scalars(select(Run).where(Run.id == run_id)).all()
        assert [row.manifest_sha256 for row in rows] == [location.sha256()]

    def test_names_who_started_a_run_that_was_seen_before(
        self, launcher, location, session: Session, member
    ):
        run_id = str(uuid.uuid4())
        enter_org(session, member.org.id)
        values = {"trigger": "schedule", "actor_name": "datanika", "targets": []}
        session.add(Run(id=run_id, org_id=member.org.id, status="pending", **values))
        session.commit()
        authorize(launcher, location, run_id, schedule="schedule_1")
        enter_org(session, member.org.id)
        session.expire_all()
        assert session.get_one(Run, run_id).actor_name == "schedule_1"

    def test_a_manifest_of_another_org_is_unknown(self, launcher, location, session, vault):
        foreign = make_member(session, vault).org.slug
        answer = authorize(launcher, location, org=foreign)
        assert answer.status_code == 404

    def test_a_run_of_another_org_is_refused(self, launcher, location, session, vault):
        run_id = str(uuid.uuid4())
        assert authorize(launcher, location, run_id).status_code == 200
        other = make_manifest(session, make_member(session, vault), vault)
        answer = authorize(launcher, other, run_id)
        assert answer.status_code == 403
        assert location.org not in answer.text

    def test_a_suspended_org_runs_nothing(self, launcher, location, session, member):
        enter_org(session, member.org.id)
        member.org.is_suspended = True
        session.commit()
        assert authorize(launcher, location).status_code == 404

    @pytest.mark.parametrize("role", [r for r in ServiceRole if r != ServiceRole.LAUNCHER])
    def test_only_the_launcher_may_ask(self, app, anonymous, location, role):
        token = app.state.signer.service_token(role, location.org)
        anonymous.headers["Authorization"] = f"Bearer {token}"
        assert authorize(anonymous, location).status_code == 403


class TestRedeem:
    def test_works_once(self, launcher, location):
        token = authorize(launcher, location).json()["token"]
        assert redeem(launcher, token).status_code == 200
        assert redeem(launcher, token).status_code == 401

    @pytest.mark.parametrize("change", ["x", "org", "cut", "empty"])
    def test_refuses_forged_tokens(self, launcher, location, session, vault, change: str):
        token = authorize(launcher, location).json()["token"]
        other = make_member(session, vault).org.id
        secret = token.split("_", 2)[2]
        forged = {
            "x": token[:-1] + ("x" if token[-1] != "x" else "y"),
            "org": f"dtk_{other}_{secret}",
            "cut": token[:-4],
            "empty": "",
        }[change]
        assert redeem(launcher, forged).status_code == 401
        assert redeem(launcher, token).status_code == 200, "the real one still works"

    def test_is_audited_without_the_token(self, client, launcher, location):
        token = authorize(launcher, location).json()["token"]
        redeem(launcher, token)
        entries = client.get(f"/api/v1/orgs/{client.org}/audit", params={"action": "secret_access"})
        assert len(entries.json()["data"]) == 1
        assert token not in entries.text
        assert "canary-3" not in entries.text


class TestShell:
    def test_needs_a_key_that_may_run(self, client, anonymous, location):
        body = {
            "run_id": str(uuid.uuid4()),
            "org": location.org,
            "manifest_sha256": location.sha256(),
        }
        for scope, expected in (("runs:run", 200), ("runs:read", 403)):
            url = f"/api/v1/orgs/{client.org}/api-keys"
            key = client.post(url, json={"name": scope, "scopes": [scope]}).json()["key"]
            headers = {"X-API-Key": key}
            answer = anonymous.post("/internal/v1/task-tokens", json=body, headers=headers)
            assert answer.status_code == expected, answer.text
        assert anonymous.post("/internal/v1/task-tokens", json=body).status_code == 401
