"""What people do in the Dagster UI is decided by the same roles as REST, and on record once."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from control_plane.access.permissions import ROLE_PERMISSIONS, Permission, Role
from control_plane.access.session_cookie import COOKIE_NAME
from control_plane.access.sessions.service import start_session
from control_plane.access.sessions.tokens import ServiceRole
from control_plane.access.task_tokens.models import TaskToken
from control_plane.access.task_tokens.service import mint_token
from control_plane.audit.models import AuditEntry
from control_plane.core.database import enter_org
from control_plane.runs.models import Launch, Run, RunTrigger
from control_plane.schedules.models import Schedule
from datanika_manifest.intents import INTENTS, TARGET_KINDS, Effect
from tests.control_plane.runs.test_authorization import authorize, make_manifest
from tests.factories.access import make_colleague, make_member
from tests.factories.targets import make_upload

RUN = {"kind": "run", "id": "0b1f4a7c-0000-0000-0000-000000000001"}


@pytest.fixture
def gateway(app, anonymous: TestClient) -> TestClient:
    token = app.state.signer.service_token(ServiceRole.GATEWAY)
    anonymous.headers["Authorization"] = f"Bearer {token}"
    return anonymous


@pytest.fixture
def declare(app, session, gateway, member):
    """Declares an intent as somebody of the org."""

    def declare(field, *targets, role=Role.OWNER, launches=0, person=None, org=None):
        who = person or make_colleague(session, member.org, role)
        tokens = start_session(session, app.state.signer, who.user)
        session.commit()
        body = {"field": field, "targets": list(targets), "launches": launches}
        return gateway.post(
            f"/internal/v1/orgs/{org or member.org.slug}/intents",
            json=body,
            headers={"Cookie": f"{COOKIE_NAME}={tokens.cookie}"},
        )

    return declare


def entries(session, member, **values):
    enter_org(session, member.org.id)
    return session.scalars(
        select(AuditEntry).filter_by(org_id=member.org.id, **values).order_by(AuditEntry.id)
    ).all()


def schedule(session, member, **values):
    enter_org(session, member.org.id)
    upload = make_upload(session, member.org.id)
    row = Schedule(
        org_id=member.org.id,
        cron="0 0 * * *",
        timezone="UTC",
        target_type="upload",
        target_id=upload.id,
        **values,
    )
    session.add(row)
    session.commit()
    return row


class TestWho:
    @pytest.mark.parametrize("role", Role)
    def test_the_table_decides(self, declare, session, member, role):
        person = make_colleague(session, member.org, role)
        for field, intent in INTENTS.items():
            is_allowed = list(Role).index(role) >= list(Role).index(Role(intent.role))
            assert Permission(intent.permission) in ROLE_PERMISSIONS[Role(intent.role)]
            is_switch = intent.effect in {Effect.SWITCH_ON, Effect.SWITCH_OFF}
            expected = 403 if not is_allowed else 404 if is_switch else 200
            target = {"kind": "schedule", "id": "schedule_999999999"}
            answer = declare(field, target, person=person)
            assert answer.status_code == expected, (field, answer.text)

    def test_what_is_not_in_the_table_is_nobodys(self, declare):
        for field in ("reloadWorkspace", "setConcurrencyLimit", "", "launchrun"):
            assert declare(field).status_code == 403

    def test_a_person_of_another_org_has_no_such_org(self, declare, session, vault):
        stranger = make_member(session, vault)
        assert declare("launchRun", person=stranger).status_code == 404

    def test_a_session_that_works_in_another_org_now_is_refused(self, declare, session, vault):
        other = make_member(session, vault)
        person = make_colleague(session, other.org, Role.OWNER)
        assert declare("launchRun", person=person, org=other.org.slug).status_code == 200
        assert declare("launchRun", person=person).status_code == 404

    def test_nobody_without_a_session(self, gateway, member):
        for headers in ({}, {"Cookie": f"{COOKIE_NAME}=forged"}, {"X-Person-Authorization": "x"}):
            answer = gateway.post(
                f"/internal/v1/orgs/{member.org.slug}/intents",
                json={"field": "launchRun", "targets": []},
                headers=headers,
            )
            assert answer.status_code == 401

    def test_only_the_gateway_asks(self, app, anonymous, member):
        for role in set(ServiceRole) - {ServiceRole.GATEWAY}:
            token = app.state.signer.service_token(role)
            answer = anonymous.post(
                f"/internal/v1/orgs/{member.org.slug}/intents",
                json={"field": "launchRun", "targets": []},
                headers={"Authorization": f"Bearer {token}"},
            )
            assert answer.status_code == 403

    def test_an_unknown_kind_of_target_is_refused(self, declare):
        assert declare("wipeAssets", {"kind": "database", "id": "x"}).status_code == 422
        assert "asset" in TARGET_KINDS


class TestEffects:
    def test_a_launch_is_remembered_with_who_launches(self, declare, session, member):
        answer = declare("launchMultipleRuns", launches=2, role=Role.EDITOR)
        ids = answer.json()["launch_ids"]
        enter_org(session, member.org.id)
        launches = session.scalars(select(Launch).where(Launch.id.in_(ids))).all()
        assert len(launches) == len(ids) == 2
        for launch in launches:
            assert (launch.trigger, launch.actor_kind) == (RunTrigger.UI, "user")
            assert launch.actor_name.endswith("@example.com")

    def test_a_run_of_the_ui_is_its_persons(self, app, declare, session, member, vault, gateway):
        location = make_manifest(session, member, vault)
        person = make_colleague(session, member.org, Role.EDITOR)
        (launch_id,) = declare("launchRun", launches=1, person=person).json()["launch_ids"]
        launcher = app.state.signer.service_token(ServiceRole.LAUNCHER)
        gateway.headers["Authorization"] = f"Bearer {launcher}"
        answer = authorize(gateway, location, RUN["id"], launch_id=str(launch_id))
        assert answer.status_code == 200, answer.text
        enter_org(session, member.org.id)
        run = session.get_one(Run, RUN["id"])
        assert (run.trigger, run.actor_name) == (RunTrigger.UI, person.user.email)
        (entry,) = entries(session, member, resource_type="run")
        assert (entry.actor_kind, entry.actor_id) == ("user", person.user.id)

    def test_who_is_taken_out_between_launch_and_start_gets_no_credentials(
        self, app, declare, session, member, vault, gateway
    ):
        location = make_manifest(session, member, vault)
        person = make_colleague(session, member.org, Role.EDITOR)
        (launch_id,) = declare("launchRun", launches=1, person=person).json()["launch_ids"]
        session.execute(
            text("UPDATE memberships SET role = 'viewer' WHERE user_id = :id"),
            {"id": person.user.id},
        )
        session.commit()
        launcher = app.state.signer.service_token(ServiceRole.LAUNCHER)
        gateway.headers["Authorization"] = f"Bearer {launcher}"
        answer = authorize(gateway, location, RUN["id"], launch_id=str(launch_id))
        assert answer.status_code == 403

    def test_runs_that_are_ended_get_no_credentials_any_more(self, declare, session, member):
        enter_org(session, member.org.id)
        actor = member.caller.actor
        mint_token(
            session, member.org.id, actor, purpose="run", connection_ids=[], run_id=RUN["id"]
        )
        session.commit()
        assert declare("terminateRuns", RUN, role=Role.EDITOR).status_code == 200
        enter_org(session, member.org.id)
        token = session.scalars(select(TaskToken).filter_by(run_id=RUN["id"])).one()
        assert token.revoked_at is not None
        (entry,) = entries(session, member, action="cancel")
        assert (entry.resource_type, entry.resource_id) == ("run", RUN["id"])

    @pytest.mark.parametrize(
        ("field", "is_active"), [("startSchedule", True), ("stopRunningSchedule", False)]
    )
    def test_a_schedules_switch_is_its_row(self, declare, session, member, field, is_active):
        row = schedule(session, member, is_active=not is_active)
        answer = declare(field, {"kind": "schedule", "id": f"schedule_{row.id}"}, role=Role.ADMIN)
        assert answer.status_code == 200, answer.text
        enter_org(session, member.org.id)
        session.expire_all()
        assert session.get_one(Schedule, row.id).is_active is is_active
        (entry,) = entries(session, member, resource_type="schedule")
        assert entry.action == "update"
        assert entry.new_values["is_active"] is is_active

    def test_another_orgs_schedule_is_not_there(self, declare, session, vault):
        row = schedule(session, make_member(session, vault))
        answer = declare("startSchedule", {"kind": "schedule", "id": f"schedule_{row.id}"})
        assert answer.status_code == 404

    @pytest.mark.parametrize("name", ["schedule_", "schedule_01", "schedule_1x", "x", "1", ""])
    def test_what_is_no_schedule_is_not_there(self, declare, name):
        assert declare("startSchedule", {"kind": "schedule", "id": name}).status_code == 404

    def test_the_rest_is_on_record_with_what_it_was_about(self, declare, session, member):
        keys = [{"kind": "asset", "id": f"{member.org.slug}/w/s/t{n}"} for n in range(60)]
        declare("wipeAssets", *keys, role=Role.ADMIN)
        (entry,) = entries(session, member, action="wipe")
        assert (entry.resource_type, entry.resource_id) == ("asset", keys[0]["id"])
        assert entry.new_values["by"] == "wipeAssets"
        assert len(entry.new_values["targets"]) == 50
        assert entry.new_values["targets_in_all"] == 60
        assert entry.actor_kind == "user"
