"""Eight clients at once on the same rows: nothing fails, is lost, or happens without being logged.

15 seconds; `make test-long` takes 60. The seed is in the failure's text: `--race-seed` repeats what
the clients choose, though not in which order the server gets it.
"""

import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.sessions.service import start_session
from control_plane.access.users.models import User
from control_plane.access.users.passwords import hash_password
from control_plane.access.users.repository import UserRepository
from control_plane.audit.models import AuditEntry
from control_plane.connections.schemas import ConnectionCreate
from control_plane.connections.service import ConnectionService
from control_plane.core.database import enter_org, make_session_factory
from control_plane.main import create_app
from control_plane.schedules.models import Schedule
from control_plane.settings import Settings
from tests.control_plane.access.matrix.objects import CONNECTION
from tests.control_plane.access.race.clients import PASSWORD, Org, RacingClient, Tally
from tests.factories.access import Member, make_member, make_user
from tests.factories.targets import add, make_upload
from tests.fixtures.ports import free_port
from tests.fixtures.servers import served

CLIENTS = 8
# A change that is on record in the org's log, by what the clients count.
RECORDED = (
    "update connection",
    "update schedule",
    "update organization",
    "create api_key",
    "delete api_key",
    "create invitation",
    "renew invitation",
    "delete invitation",
)


@dataclass
class Race:
    """What was raced for, and what came of it."""

    seed: int
    tally: Tally
    shared: Org
    duel: Org
    org_ids: dict[str, int]
    versions: dict[str, int]


def versions_of(session: Session, org_id: int) -> dict[str, int]:
    """Returns the sum of the rows' versions, by the kind of resource."""
    enter_org(session, org_id)
    tables = {"connection": "connections", "schedule": "schedules", "member": "memberships"}
    return {
        kind: int(session.scalar(text(f"SELECT sum(version) FROM {table}")) or 0)
        for kind, table in tables.items()
    }


def make_org(session: Session, app, owners: int) -> tuple[Member, Org]:
    """An org with some owners, who are signed in."""
    first = make_member(session, app.state.vault)
    users = [first.user]
    for _ in range(owners - 1):
        users.append(make_user(session))
        UserRepository(session).add_membership(first.org.id, users[-1].id, Role.OWNER)
    tokens = [start_session(session, app.state.signer, user).access_token for user in users]
    session.commit()
    ids = [user.id for user in users]
    return first, Org(first.org.slug, list(zip(tokens, ids, strict=True)))


def fill(session: Session, app, first: Member, org: Org) -> None:
    """Gives an org what the clients change."""
    enter_org(session, first.org.id)
    for _ in range(3):
        member = make_user(session)
        UserRepository(session).add_membership(first.org.id, member.id, Role.VIEWER)
        org.members.append(member.id)
    service = ConnectionService.of(session, first.caller, app.state.vault)
    for number in range(3):
        body = ConnectionCreate.model_validate({**CONNECTION, "name": f"start {number}"})
        org.connections.append(service.create_connection(body).id)
    session.commit()
    target = make_upload(session, first.org.id)
    for _ in range(3):
        row = Schedule(
            org_id=first.org.id,
            cron="0 6 * * *",
            timezone="UTC",
            target_type="upload",
            target_id=target.id,
        )
        org.schedules.append(add(session, row).id)


@pytest.fixture(scope="module")
def race(
    make_settings: Callable[..., Settings], app_engine: Engine, pytestconfig: pytest.Config
) -> Race:
    seed = pytestconfig.getoption("--race-seed") or secrets.randbelow(2**32)
    port = free_port()
    app = create_app(make_settings(sign_ups_per_address=10**6, failed_logins_per_address=10**6))
    tally = Tally()
    with make_session_factory(app_engine)() as session:
        first, shared = make_org(session, app, 2)
        fill(session, app, first, shared)
        versions = versions_of(session, first.org.id)
        enter_org(session, None)
        second, duel = make_org(session, app, 2)
        enter_org(session, None)
        hashed = hash_password(PASSWORD)
        users = [make_user(session, password_hash=hashed) for _ in range(CLIENTS)]
        session.commit()
    tally.emails += [user.email for user in users]
    with served(app, port) as url:
        ended = threading.Event()
        clients = [RacingClient(url, seed + n, tally, shared, duel) for n in range(CLIENTS)]
        threads = [threading.Thread(target=client.run, args=[ended]) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(pytestconfig.getoption("--race-seconds"))
        ended.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"
    org_ids = {"shared": first.org.id, "duel": second.org.id}
    return Race(seed, tally, shared, duel, org_ids, versions)


@pytest.fixture
def log(race: Race, app_engine: Engine) -> dict[str, list[AuditEntry]]:
    """The audit entries of both orgs, in the order in which they were written."""
    found: dict[str, list[AuditEntry]] = {}
    with make_session_factory(app_engine)() as session:
        for name, org_id in race.org_ids.items():
            enter_org(session, org_id)
            found[name] = list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
    return found


def test_every_answer_is_one_that_can_be(race: Race):
    assert not race.tally.unexpected, (race.seed, race.tally.unexpected[:20])


def test_enough_happened(race: Race):
    done = {action for action, count in race.tally.changes.items() if count}
    assert done >= {*RECORDED, "update member", "refresh", "login", "sign_up", "fight"}, race.seed
    assert race.tally.answers["update connection", 412], "nobody was too late"


def test_each_change_is_on_record_once(race: Race, log: dict[str, list[AuditEntry]]):
    recorded = Counter(f"{one.action} {one.resource_type}" for one in log["shared"])
    told = {action: race.tally.changes[action] for action in RECORDED}
    assert {action: recorded[action] for action in RECORDED} == told, race.seed


def lost(entries: list[AuditEntry]) -> list[str]:
    """Names the changes whose old value is not what the change before has left."""
    found: list[str] = []
    rows = {(one.resource_type, one.resource_id) for one in entries if one.action == "update"}
    for row in rows:
        changes = [
            one
            for one in entries
            if (one.resource_type, one.resource_id) == row and one.action in {"create", "update"}
        ]
        for before, after in itertools.pairwise(changes):
            known = before.new_values or {}
            old = after.old_values or {}
            if any(known[name] != old[name] for name in known.keys() & old.keys()):
                found.append(f"{row} {before.id} {known} → {after.id} {old}")
    return found


def test_no_change_is_lost(race: Race, log: dict[str, list[AuditEntry]]):
    for entries in log.values():
        assert not lost(entries), race.seed


def test_a_lost_change_would_be_found():
    def entry(number: int, old: str, new: str) -> AuditEntry:
        values = {"resource_type": "x", "resource_id": "1", "action": "update"}
        return AuditEntry(id=number, old_values={"a": old}, new_values={"a": new}, **values)

    assert not lost([entry(1, "a", "b"), entry(2, "b", "c")])
    assert lost([entry(1, "a", "b"), entry(2, "a", "c")])


def test_versions_count_the_changes(
    race: Race, log: dict[str, list[AuditEntry]], app_engine: Engine
):
    with make_session_factory(app_engine)() as session:
        after = versions_of(session, race.org_ids["shared"])
    updates = Counter(one.resource_type for one in log["shared"] if one.action == "update")
    changed = {kind: after[kind] - before for kind, before in race.versions.items()}
    assert changed == {kind: updates[kind] for kind in changed}, race.seed


def test_every_org_keeps_an_owner(race: Race, app_engine: Engine):
    with make_session_factory(app_engine)() as session:
        for org_id in race.org_ids.values():
            enter_org(session, org_id)
            query = text("SELECT count(*) FROM memberships WHERE role = 'owner'")
            assert session.scalar(query), race.seed


def test_a_live_session_has_one_refresh_token(race: Race, app_engine: Engine):
    with make_session_factory(app_engine)() as session:
        users = select(User.id).where(User.email.in_(race.tally.emails))
        ids = list(session.scalars(users))
        query = text(
            "SELECT s.id, count(t.id) FROM user_sessions s LEFT JOIN refresh_tokens t"
            " ON t.session_id = s.id AND t.used_at IS NULL"
            " WHERE s.user_id = ANY(:ids) AND s.revoked_at IS NULL"
            " GROUP BY s.id HAVING count(t.id) <> 1"
        )
        assert session.execute(query, {"ids": ids}).all() == [], race.seed
