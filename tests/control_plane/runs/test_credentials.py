"""A task token gives credentials while its work, its org and whoever started it may have them."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from control_plane.access.key_store.models import ApiKey
from control_plane.access.permissions import Role
from control_plane.access.task_tokens.models import TaskToken
from control_plane.access.task_tokens.service import (
    KEPT_AFTER_EXPIRY,
    delete_expired_tokens,
    mint_token,
    revoke_run_tokens,
)
from control_plane.access.users.models import Membership, User
from control_plane.audit.models import AuditEntry
from control_plane.audit.service import Actor
from control_plane.connections.models import Connection
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org, make_session_factory
from control_plane.runs.models import Launch, Run
from control_plane.tenancy.models import Organization
from datanika_manifest.code_location import CodeLocation
from tests.control_plane.runs.test_authorization import (
    authorize,
    launcher,
    location,
    make_manifest,
    redeem,
)
from tests.factories.access import Member, make_colleague, make_member

__all__ = ["launcher", "location"]


@pytest.fixture
def change(session: Session, member: Member) -> Callable[..., None]:
    """Runs statements inside the org and commits."""

    def run(*statements) -> None:
        enter_org(session, member.org.id)
        for statement in statements:
            session.execute(statement)
        session.commit()
        session.expire_all()

    return run


def tokens_of(session: Session, org_id: int) -> int:
    enter_org(session, org_id)
    return session.scalar(select(func.count()).select_from(TaskToken)) or 0


def manifest_with(client: TestClient, location: CodeLocation, token: str) -> int:
    url = f"/internal/v1/orgs/{location.org}/manifests/{location.sha256()}"
    return client.get(url, headers={"Authorization": f"Bearer {token}"}).status_code


class TestEnds:
    @pytest.fixture
    def run_id(self) -> str:
        return str(uuid.uuid4())

    @pytest.fixture
    def token(self, launcher, location, run_id) -> str:
        return authorize(launcher, location, run_id).json()["token"]

    def test_after_its_time(self, launcher, location, token, change):
        change(update(TaskToken).values(expires_at=utc_now() - timedelta(seconds=1)))
        assert manifest_with(launcher, location, token) == 401
        assert redeem(launcher, token).status_code == 401

    @pytest.mark.parametrize("status", ["success", "failed", "cancelled"])
    def test_with_its_run(self, launcher, token, change, run_id, status):
        """Also before reconciliation has revoked it."""
        change(update(Run).where(Run.id == run_id).values(status=status))
        answer = redeem(launcher, token)
        assert (answer.status_code, "has ended" in answer.text) == (403, True)

    def test_when_its_runs_tokens_are_revoked(self, launcher, token, run_id, session, member):
        enter_org(session, member.org.id)
        revoke_run_tokens(session, member.org.id, run_id)
        session.commit()
        assert redeem(launcher, token).status_code == 401

    @pytest.mark.parametrize(
        "values", [{"is_suspended": True}, {"deleted_at": utc_now()}], ids=["suspended", "deleted"]
    )
    def test_with_its_org(self, launcher, location, token, change, member, values):
        change(update(Organization).where(Organization.id == member.org.id).values(**values))
        for answer in (
            redeem(launcher, token).status_code,
            manifest_with(launcher, location, token),
        ):
            assert answer == 403

    def test_a_refusal_leaves_no_trace_and_does_not_use_it_up(
        self, launcher, token, change, member, session
    ):
        org = update(Organization).where(Organization.id == member.org.id)
        change(org.values(is_suspended=True))
        redeem(launcher, token)
        enter_org(session, member.org.id)
        accesses = select(AuditEntry).where(AuditEntry.action == "secret_access")
        assert session.scalars(accesses).all() == []
        change(org.values(is_suspended=False))
        assert redeem(launcher, token).status_code == 200

    def test_a_deleted_connection_is_not_given(self, launcher, token, change):
        change(update(Connection).where(Connection.slug == "a").values(deleted_at=utc_now()))
        assert sorted(redeem(launcher, token).json()["connections"]) == ["b", "c"]

    def test_without_any_connection_left(self, launcher, token, change):
        change(update(Connection).values(deleted_at=utc_now()))
        answer = redeem(launcher, token)
        assert (answer.status_code, "were deleted" in answer.text) == (403, True)

    def test_a_run_that_has_ended_gets_no_other(
        self, launcher, location, token, change, run_id, session, member
    ):
        change(update(Run).where(Run.id == run_id).values(status="failed"))
        before = tokens_of(session, member.org.id)
        assert authorize(launcher, location, run_id).status_code == 403
        assert tokens_of(session, member.org.id) == before


class TestRefusalsMintNothing:
    def test_another_orgs_run_or_manifest(self, launcher, location, session, vault):
        run_id = str(uuid.uuid4())
        authorize(launcher, location, run_id)
        other = make_manifest(session, make_member(session, vault), vault)
        before = tokens_of(session, other.org_id)
        assert authorize(launcher, other, run_id).status_code == 403
        foreign = {"manifest_sha256": location.sha256()}
        assert authorize(launcher, other, **foreign).status_code == 404
        assert authorize(launcher, other, manifest_sha256="0" * 64).status_code == 404
        assert tokens_of(session, other.org_id) == before
        assert session.scalars(select(AuditEntry).where(AuditEntry.action == "run")).all() == []


class TestChecks:
    def test_a_run_of_checks_alone_gets_what_they_need(self, launcher, location):
        key = list(location.uploads[1].tables[0].asset_key)
        checks = [{"asset_key": key, "name": "not_null"}]
        for selection in ({"asset_keys": []}, {}):
            token = authorize(launcher, location, check_keys=checks, **selection).json()["token"]
            assert sorted(redeem(launcher, token).json()["connections"]) == ["a", "c"]

    def test_checks_add_to_assets(self, launcher, location):
        first, second = (list(upload.tables[0].asset_key) for upload in location.uploads)
        checks = [{"asset_key": second, "name": "not_null"}]
        answer = authorize(launcher, location, asset_keys=[first], check_keys=checks)
        assert sorted(redeem(launcher, answer.json()["token"]).json()["connections"]) == [
            "a",
            "b",
            "c",
        ]

    def test_of_nothing_known_get_nothing(self, launcher, location):
        checks = [{"asset_key": ["other", "x", "y", "z"], "name": "not_null"}]
        token = authorize(launcher, location, check_keys=checks).json()["token"]
        assert redeem(launcher, token).json()["connections"] == {}


class TestShellsKey:
    @pytest.fixture
    def key(self, client) -> dict:
        body = {"name": "shell", "scopes": ["runs:run", "secrets:run"]}
        return client.post(f"/api/v1/orgs/{client.org}/api-keys", json=body).json()

    @pytest.fixture
    def token(self, anonymous, location, key) -> str:
        answer = self.ask(anonymous, location, key)
        assert answer.status_code == 200, answer.text
        return answer.json()["token"]

    @staticmethod
    def ask(anonymous, location, key):
        body = {
            "run_id": str(uuid.uuid4()),
            "org": location.org,
            "manifest_sha256": location.sha256(),
        }
        headers = {"X-API-Key": key["key"]}
        return anonymous.post("/internal/v1/task-tokens", json=body, headers=headers)

    @pytest.mark.parametrize(
        "statement",
        [
            lambda: update(Membership).values(role=Role.VIEWER),
            lambda: update(Membership).values(role=Role.EDITOR),
            lambda: delete(Membership),
            lambda: update(ApiKey).values(revoked_at=utc_now()),
            lambda: update(ApiKey).values(expires_at=utc_now() - timedelta(hours=1)),
            lambda: update(ApiKey).values(scopes=["runs:read"]),
            lambda: update(ApiKey).values(scopes=["runs:run"]),
            lambda: update(User).values(deleted_at=utc_now()),
        ],
        ids=["viewer", "editor", "removed", "revoked", "expired", "no run", "no secrets", "user"],
    )
    def test_counts_as_it_is_now(self, anonymous, location, token, key, change, statement):
        """For the next token, and for one that was made before."""
        change(statement())
        assert redeem(anonymous, token).status_code == 403
        if "deleted_at" not in str(statement()):
            assert self.ask(anonymous, location, key).status_code in (401, 403)

    def test_is_in_the_log(self, anonymous, client, token, key):
        redeem(anonymous, token)
        url = f"/api/v1/orgs/{client.org}/audit"
        entries = client.get(url, params={"actor_kind": "api_key"}).json()["data"]
        assert [entry["action"] for entry in entries] == ["secret_access", "run"]
        for entry in entries:
            assert (entry["actor_id"], entry["actor_name"]) == (key["id"], "shell")
            assert entry["ip_address"]
            assert entry["request_id"]
        assert entries[0]["new_values"]["run_id"] == entries[1]["resource_id"]
        assert len(entries[0]["new_values"]["connection_ids"]) == 3


class TestLaunchersActor:
    """A queued run is authorized and gets credentials as whoever launched it may now."""

    @pytest.fixture
    def colleague(self, session, member) -> Member:
        return make_colleague(session, member.org, Role.EDITOR)

    @pytest.fixture
    def key(self, session, member, colleague) -> ApiKey:
        enter_org(session, member.org.id)
        values = {"name": "ci", "scopes": ["runs:run"], "key_hash": uuid.uuid4().hex}
        made_by = {"created_by_user_id": colleague.user.id}
        row = ApiKey(org_id=member.org.id, **values, **made_by)
        session.add(row)
        session.commit()
        return row

    @pytest.fixture
    def launch_id(self, request, session, member, colleague, key) -> str:
        """The launch of a colleague, or of a colleague's key: `indirect` says which."""
        actor = {"user": (colleague.user.id, colleague.user.email), "api_key": (key.id, key.name)}
        kind = getattr(request, "param", "user")
        enter_org(session, member.org.id)
        named = dict(zip(("actor_id", "actor_name"), actor[kind], strict=True))
        launch = Launch(org_id=member.org.id, body_sha256="x", targets=[], actor_kind=kind, **named)
        session.add(launch)
        session.commit()
        return str(launch.id)

    @pytest.fixture
    def take(self, change, colleague, key):
        """Takes something from the colleague or the key."""
        mine = Membership.user_id == colleague.user.id
        statements = {
            "demoted": update(Membership).where(mine).values(role=Role.VIEWER),
            "removed": delete(Membership).where(mine),
            "account deleted": update(User)
            .where(User.id == colleague.user.id)
            .values(deleted_at=utc_now()),
            "key revoked": update(ApiKey).where(ApiKey.id == key.id).values(revoked_at=utc_now()),
        }
        return lambda what: change(statements[what])

    CASES = pytest.mark.parametrize(
        ("launch_id", "what"),
        [
            ("user", "demoted"),
            ("user", "removed"),
            ("user", "account deleted"),
            ("api_key", "demoted"),
            ("api_key", "removed"),
            ("api_key", "key revoked"),
        ],
        indirect=["launch_id"],
    )

    @CASES
    def test_loses_it_before_the_run_is_authorized(
        self, launcher, location, launch_id, take, what, session, member
    ):
        take(what)
        answer = authorize(launcher, location, launch_id=launch_id)
        assert (answer.status_code, "may not do this" in answer.text) == (403, True)
        assert tokens_of(session, member.org.id) == 0

    @CASES
    def test_loses_it_before_the_run_gets_credentials(
        self, launcher, location, launch_id, take, what
    ):
        token = authorize(launcher, location, launch_id=launch_id).json()["token"]
        take(what)
        assert redeem(launcher, token).status_code == 403
        assert manifest_with(launcher, location, token) == 403

    def test_also_at_the_second_attempt(self, launcher, location, launch_id, take):
        run_id = str(uuid.uuid4())
        assert authorize(launcher, location, run_id, launch_id=launch_id).status_code == 200
        take("removed")
        assert authorize(launcher, location, run_id, launch_id=launch_id).status_code == 403

    @pytest.mark.parametrize("launch_id", ["user", "api_key"], indirect=True)
    def test_is_named_where_secrets_are_taken(
        self, launcher, location, launch_id, client, colleague, key, request
    ):
        token = authorize(launcher, location, launch_id=launch_id).json()["token"]
        assert redeem(launcher, token).status_code == 200
        url = f"/api/v1/orgs/{client.org}/audit"
        (entry,) = client.get(url, params={"action": "secret_access"}).json()["data"]
        kind = request.node.callspec.params["launch_id"]
        actor_id = colleague.user.id if kind == "user" else key.id
        assert (entry["actor_kind"], entry["actor_id"]) == (kind, actor_id)

    def test_a_schedules_run_is_the_orgs_own(self, launcher, location, take):
        take("removed")
        token = authorize(launcher, location, schedule="schedule_1").json()["token"]
        assert redeem(launcher, token).status_code == 200


class TestRunsAreRecorded:
    def runs(self, client) -> list[dict]:
        url = f"/api/v1/orgs/{client.org}/audit"
        return client.get(url, params={"action": "run"}).json()["data"]

    @pytest.mark.parametrize(
        ("body", "trigger", "actor"),
        [({"schedule": "schedule_1"}, "schedule", "schedule_1"), ({}, "ui", "datanika")],
    )
    def test_once_however_often_they_are_authorized(
        self, launcher, location, client, body, trigger, actor
    ):
        run_id = str(uuid.uuid4())
        for _ in range(2):
            assert authorize(launcher, location, run_id, **body).status_code == 200
        (entry,) = self.runs(client)
        assert entry["resource_id"] == run_id
        assert (entry["actor_kind"], entry["actor_name"]) == ("system", actor)
        assert entry["new_values"] == {"trigger": trigger}

    def test_of_the_api_under_the_name_of_who_launched_it(
        self, launcher, location, client, session, member
    ):
        """Also where the launching process died after Dagster had the run."""
        enter_org(session, member.org.id)
        actor = {"actor_kind": "user", "actor_id": member.user.id, "actor_name": member.user.email}
        launch = Launch(org_id=member.org.id, body_sha256="x", targets=[{"id": 1}], **actor)
        session.add(launch)
        session.commit()
        run_id, later = str(uuid.uuid4()), str(uuid.uuid4())
        authorize(launcher, location, run_id, launch_id=str(launch.id))
        authorize(launcher, location, later, launch_id=str(launch.id))
        copied, own = self.runs(client)
        assert (own["resource_id"], own["actor_id"]) == (run_id, member.user.id)
        assert own["new_values"] == {"trigger": "api", "targets": [{"id": 1}]}
        assert (copied["resource_id"], copied["actor_kind"]) == (later, "system")


def test_expired_tokens_are_removed(session, app, member):
    enter_org(session, member.org.id)
    actor = Actor("system", None, "datanika")
    for _ in range(3):
        mint_token(session, member.org.id, actor, purpose="discover", connection_ids=[])
    session.flush()
    oldest = select(func.min(TaskToken.id)).scalar_subquery()
    session.execute(
        update(TaskToken)
        .where(TaskToken.id > oldest)
        .values(expires_at=utc_now() - KEPT_AFTER_EXPIRY - timedelta(seconds=1))
    )
    session.commit()
    factory = make_session_factory(session.connection(), join_transaction_mode="create_savepoint")
    assert delete_expired_tokens(factory) == 2
    assert tokens_of(session, member.org.id) == 1
