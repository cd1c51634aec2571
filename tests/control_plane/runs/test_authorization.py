"""Runs get tokens for their own org's connections, and nothing else."""

import uuid

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control_plane.access.sessions.tokens import ServiceRole
from control_plane.access.task_tokens.models import TaskToken
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
        again = redeem(launcher, token)
        assert (again.status_code, again.json()["code"]) == (401, "task_token_used")

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
        answer = redeem(launcher, forged)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert redeem(launcher, token).status_code == 200, "the real one still works"

    def test_is_audited_without_the_token(self, client, launcher, location):
        token = authorize(launcher, location).json()["token"]
        redeem(launcher, token)
        entries = client.get(f"/api/v1/orgs/{client.org}/audit", params={"action": "secret_access"})
        assert len(entries.json()["data"]) == 1
        assert token not in entries.text
        assert "canary-3" not in entries.text


class TestShell:
    @pytest.fixture
    def ask(self, client, anonymous, location):
        """Asks for a token with a key of these scopes, or with one that there is."""

        def send(*scopes: str, key: str | None = None, run_id: str | None = None):
            if key is None:
                url = f"/api/v1/orgs/{client.org}/api-keys"
                made = client.post(url, json={"name": "shell", "scopes": list(scopes)})
                key = str(made.json()["key"])
            body = {
                "run_id": run_id or str(uuid.uuid4()),
                "org": location.org,
                "manifest_sha256": location.sha256(),
            }
            headers = {"X-API-Key": key}
            answer = anonymous.post("/internal/v1/task-tokens", json=body, headers=headers)
            return answer, key

        return send

    @pytest.fixture
    def row(self, session: Session, member):
        def read(run_id: str) -> tuple[str, str, str | None]:
            enter_org(session, member.org.id)
            session.expire_all()
            run = session.get_one(Run, run_id)
            return run.trigger, run.actor_name, run.manifest_sha256

        return read

    def test_needs_a_key_that_may_run_and_read_secrets(self, ask, anonymous):
        assert ask("runs:run", "secrets:run")[0].status_code == 200
        for scopes in (["runs:run"], ["secrets:run"], ["runs:read", "connections:run"]):
            answer, _ = ask(*scopes)
            assert answer.status_code == 403, answer.text
            assert "'runs:run' and 'secrets:run'" in answer.json()["detail"]
        body = {"run_id": str(uuid.uuid4()), "org": "x", "manifest_sha256": "0" * 64}
        assert anonymous.post("/internal/v1/task-tokens", json=body).status_code == 401

    @pytest.mark.caller(role="editor")
    def test_editors_cannot_make_such_a_key(self, client):
        body = {"name": "shell", "scopes": ["runs:run", "secrets:run"]}
        answer = client.post(f"/api/v1/orgs/{client.org}/api-keys", json=body)
        assert answer.status_code == 403

    def test_may_ask_again_for_its_own_run(self, ask, row):
        run_id = str(uuid.uuid4())
        first, key = ask("runs:run", "secrets:run", run_id=run_id)
        again, _ = ask(key=key, run_id=run_id)
        assert (first.status_code, again.status_code) == (200, 200)
        assert row(run_id)[:2] == ("shell", "shell")

    def test_may_ask_for_a_shell_run_that_was_seen_before(self, ask, row, session, member):
        """Reconciliation can be faster than the shell, and knows nobody's name."""
        run_id = str(uuid.uuid4())
        enter_org(session, member.org.id)
        values = {"trigger": "shell", "actor_name": "datanika", "targets": []}
        session.add(Run(id=run_id, org_id=member.org.id, status="running", **values))
        session.commit()
        assert ask("runs:run", "secrets:run", run_id=run_id)[0].status_code == 200
        assert row(run_id)[:2] == ("shell", "shell")

    def test_another_keys_run_is_not_its_own(self, ask, row):
        run_id = str(uuid.uuid4())
        ask("runs:run", "secrets:run", run_id=run_id)
        before = row(run_id)
        answer, _ = ask("runs:run", "secrets:run", run_id=run_id)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert row(run_id) == before

    @pytest.mark.parametrize("trigger", ["api", "schedule", "ui"])
    def test_a_run_of_the_platform_is_left_alone(self, ask, row, session, member, trigger: str):
        run_id = str(uuid.uuid4())
        enter_org(session, member.org.id)
        values = {"trigger": trigger, "actor_name": "somebody", "targets": []}
        session.add(Run(id=run_id, org_id=member.org.id, status="pending", **values))
        session.commit()
        answer, _ = ask("runs:run", "secrets:run", run_id=run_id)
        assert answer.status_code == 409, answer.text
        assert row(run_id) == (trigger, "somebody", None)
        enter_org(session, member.org.id)
        assert session.scalar(select(func.count()).select_from(TaskToken)) == 0

    def test_a_run_of_the_launcher_is_left_alone(self, ask, row, app, anonymous, location):
        run_id = str(uuid.uuid4())
        token = app.state.signer.service_token(ServiceRole.LAUNCHER)
        url = f"/internal/v1/runs/{run_id}/authorize"
        body = {"org": location.org, "manifest_sha256": location.sha256()}
        headers = {"Authorization": f"Bearer {token}"}
        assert anonymous.post(url, json=body, headers=headers).status_code == 200
        before = row(run_id)
        assert ask("runs:run", "secrets:run", run_id=run_id)[0].status_code == 409
        assert row(run_id) == before
