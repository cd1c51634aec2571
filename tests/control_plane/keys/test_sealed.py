"""While sealed: no process is started, no token is used up, and nothing is half written."""

import secrets
import sys
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from control_plane.access.permissions import Role
from control_plane.access.sessions.tokens import ServiceRole
from control_plane.access.task_tokens.service import mint_task_token
from control_plane.audit.service import SYSTEM
from control_plane.core import key_sources
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import Sealed
from control_plane.core.worker_hosts import WorkerHosts
from control_plane.tenancy.secrets import OrgSecrets
from control_plane.warehouses.provisioner import Provisioner
from control_plane.warehouses.service import provision_warehouses
from tests.control_plane.keys.conftest import PASSWORD, Platform, member_token, vault_of

SYSTEM_URL = "/api/v1/system"


@pytest.fixture
def org_id(unlocked: TestClient, platform: Platform) -> int:
    return platform.make_org(vault_of(unlocked), connections=1)


@pytest.fixture
def connection_id(platform: Platform, org_id: int) -> int:
    return next(connection for org, connection in platform.stored if org == org_id)


@pytest.fixture
def org_url(platform: Platform, unlocked: TestClient, org_id: int) -> str:
    """The org's URL; the client is its owner from now on, not an operator."""
    token = member_token(platform, unlocked.app, org_id)
    unlocked.headers["Authorization"] = f"Bearer {token}"
    with transaction(platform.factory, org_id) as session:
        slug = session.scalar(text("SELECT slug FROM organizations"))
    return f"/api/v1/orgs/{slug}"


class TestTaskTokens:
    @pytest.fixture
    def token(self, platform: Platform, unlocked: TestClient, org_id: int, connection_id: int):
        return mint_task_token(
            platform.factory, org_id, SYSTEM, purpose="discover", connection_ids=[connection_id]
        )

    def redeem(self, client: TestClient, token: str):
        headers = {"Authorization": f"Bearer {token}"}
        return client.post("/internal/v1/task-tokens/redeem", headers=headers)

    def test_waits_for_the_unlocking(self, platform, unlocked, org_id, connection_id, token):
        unlocked.post(f"{SYSTEM_URL}/seal")
        soon = utc_now() + timedelta(seconds=30)
        with transaction(platform.factory, org_id) as session:
            session.execute(text("UPDATE task_tokens SET expires_at = :soon"), {"soon": soon})
        for _ in range(2):
            refused = self.redeem(unlocked, token)
            assert (refused.status_code, refused.json()["code"]) == (423, "sealed")
        with transaction(platform.factory, org_id) as session:
            row = session.execute(text("SELECT * FROM task_tokens")).one()
            read = "SELECT count(*) FROM audit_entries WHERE action = 'secret_access'"
            assert session.scalar(text(read)) == 0
        assert row.redeemed_at is None
        assert row.expires_at > soon + timedelta(minutes=5)
        unlocked.post(f"{SYSTEM_URL}/unlock", json={"password": PASSWORD})
        answer = self.redeem(unlocked, token)
        (granted,) = answer.json()["connections"].values()
        assert granted["config"]["password"] == platform.stored[org_id, connection_id]["password"]
        assert self.redeem(unlocked, token).status_code == 401

    @pytest.mark.parametrize("column", ["redeemed_at", "revoked_at"])
    def test_a_useless_one_stays_useless(self, platform, unlocked, org_id, token, column):
        unlocked.post(f"{SYSTEM_URL}/seal")
        with transaction(platform.factory, org_id) as session:
            session.execute(text(f"UPDATE task_tokens SET {column} = now()"))
            before = session.scalar(text("SELECT expires_at FROM task_tokens"))
        refused = self.redeem(unlocked, token)
        code = {"redeemed_at": "task_token_used", "revoked_at": "unauthorized"}[column]
        assert (refused.status_code, refused.json()["code"]) == (401, code)
        assert self.redeem(unlocked, token[:-3] + "abc").status_code == 401
        with transaction(platform.factory, org_id) as session:
            assert session.scalar(text("SELECT expires_at FROM task_tokens")) == before

    def test_destroyed_keys_are_not_waited_for(self, platform, unlocked, org_id, token):
        with transaction(platform.factory, org_id) as session:
            OrgSecrets(session, org_id, vault_of(unlocked)).destroy()
            before = session.scalar(text("SELECT expires_at FROM task_tokens"))
        answer = self.redeem(unlocked, token)
        assert (answer.status_code, answer.json()["code"]) == (409, "keys_destroyed")
        with transaction(platform.factory, org_id) as session:
            assert session.scalar(text("SELECT expires_at FROM task_tokens")) == before


def test_interactive_work_is_refused_before_a_process_starts(
    platform, unlocked, org_url, connection_id, monkeypatch
):
    def start(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a process was started")

    unlocked.app.state.vault.provider.clear()
    monkeypatch.setattr(WorkerHosts, "start", start)
    connection = f"{org_url}/connections/{connection_id}"
    for url, body in (
        (f"{connection}/test", None),
        (f"{connection}/metadata/sync", None),
        (
            f"{org_url}/transformations/preview",
            {"sql": "select 1", "connection_id": connection_id},
        ),
    ):
        answer = unlocked.post(url, json=body)
        assert answer.status_code == 423, answer.text
        assert "datanika unlock" in answer.json()["detail"]
    assert platform.scalar("SELECT count(*) FROM task_tokens") == 0


def test_whether_it_is_ready_runs_no_command(serve, monkeypatch, tmp_path, environment_key):
    monkeypatch.setattr(key_sources, "COMMAND_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(key_sources, "COMMAND_PAUSE_SECONDS", 0.0)
    runs, script = tmp_path / "runs", tmp_path / "command.py"
    script.write_text(f"open({str(runs)!r}, 'a').write('x'); import time; time.sleep(60)")
    command = f"{sys.executable} {script}"
    client = serve(key_provider="command", encryption_keys_command=command)
    before = runs.read_text()
    for _ in range(3):
        assert client.get("/ready").json()["checks"]["keys"].startswith("sealed")
    assert runs.read_text() == before
    script.write_text(f"print({environment_key!r})")
    vault_of(client).require_keys()
    assert client.get("/ready").json()["checks"]["keys"] == "ok"


def test_reads_go_on(unlocked, org_url, connection_id):
    unlocked.app.state.vault.provider.clear()
    view = unlocked.get(f"{org_url}/connections/{connection_id}")
    assert view.status_code == 200
    assert unlocked.get(f"{org_url}/audit").status_code == 200
    assert unlocked.get("/api/v1/auth/me").status_code == 200


def test_no_warehouse_gets_passwords_that_cannot_be_stored(platform, unlocked, org_id):
    vault = vault_of(unlocked)
    unlocked.post(f"{SYSTEM_URL}/seal")
    with pytest.raises(Sealed):
        provision_warehouses(platform.factory, vault, Provisioner(None))
    with transaction(platform.factory, org_id) as session:
        assert session.scalar(text("SELECT count(*) FROM warehouses")) == 0


class TestProcesses:
    @pytest.mark.parametrize(
        "role", [ServiceRole.LAUNCHER, ServiceRole.GATEWAY, ServiceRole.SUPERVISOR]
    )
    def test_the_platforms_own_ask_for_the_state(self, unlocked, role):
        headers = service_headers(unlocked, role)
        for state in ("unsealed", "sealed"):
            answer = unlocked.get("/internal/v1/seal", headers=headers)
            assert answer.json() == {"state": state}
            unlocked.post(f"{SYSTEM_URL}/seal")

    def test_nobody_else_does(self, unlocked):
        headers = service_headers(unlocked, ServiceRole.CODE_LOCATION)
        assert unlocked.get("/internal/v1/seal", headers=headers).status_code == 403
        assert unlocked.get("/internal/v1/seal", headers={"Authorization": ""}).status_code == 401


class TestDataKeyRoutes:
    def test_owners_rotate_and_admins_look(self, platform, unlocked, org_id, org_url):
        platform.add_connection(vault_of(unlocked), org_id)
        before = unlocked.get(f"{org_url}/data-key/rotations").json()
        assert (before["state"], before["remaining"]) == ("idle", 0)
        answer = unlocked.post(f"{org_url}/data-key/rotations")
        assert (answer.status_code, answer.json()["state"]) == (202, "idle")
        assert answer.json()["data_key_id"] > before["data_key_id"]
        platform.assert_all_readable(vault_of(unlocked))
        for role, statuses in (
            (Role.ADMIN, (200, 403)),
            (Role.EDITOR, (403, 403)),
            (Role.VIEWER, (403, 403)),
        ):
            token = member_token(platform, unlocked.app, org_id, role)
            headers = {"Authorization": f"Bearer {token}"}
            answers = [
                unlocked.request(method, f"{org_url}/data-key/rotations", headers=headers)
                for method in ("GET", "POST")
            ]
            assert tuple(answer.status_code for answer in answers) == statuses, role

    def test_sealed(self, unlocked, org_url):
        unlocked.app.state.vault.provider.clear()
        assert unlocked.post(f"{org_url}/data-key/rotations").status_code == 423
        assert unlocked.get(f"{org_url}/data-key/rotations").status_code == 200

    def test_a_rotation_that_is_not_finished_shows(self, platform, unlocked, org_id, org_url):
        with transaction(platform.factory, org_id) as session:
            OrgSecrets(session, org_id, vault_of(unlocked)).add_data_key()
        view = unlocked.get(f"{org_url}/data-key/rotations").json()
        assert (view["state"], view["remaining"]) == ("running", 1)


def service_headers(client: TestClient, role: ServiceRole) -> dict[str, str]:
    org = "acme" if role == ServiceRole.CODE_LOCATION else None
    token = client.app.state.signer.service_token(role, org)  # type: ignore[attr-defined]
    return {"Authorization": f"Bearer {token}"}


def test_secrets_are_not_in_a_refused_request(operator):
    secret = secrets.token_urlsafe(8)
    for method, path in (
        ("POST", "master-password"),
        ("POST", "unlock"),
        ("PUT", "master-password"),
    ):
        body = {"password": secret, "current_password": secret, "new_password": secret, "x": 1}
        answer = operator.request(method, f"{SYSTEM_URL}/{path}", json=body)
        assert answer.status_code == 422
        assert secret not in answer.text
