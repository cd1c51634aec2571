"""Eight clients at once on the same rows: nothing fails, is lost, or happens without being logged.

15 seconds; `make test-long` takes 60. The seed is in the failure's text: `--race-seed` repeats what
the clients choose, though not in which order the server gets it.
"""

import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.sessions.service import start_session
from control_plane.access.users.models import User
from control_plane.access.users.passwords import hash_password
from control_plane.access.users.repository import UserRepository
from control_plane.audit.models import AuditEntry, PlatformAuditEntry
from control_plane.connections.models import Connection
from control_plane.connections.schemas import ConnectionCreate
from control_plane.connections.service import ConnectionService
from control_plane.core.database import enter_org, make_session_factory
from control_plane.core.vault import Vault
from control_plane.keys.data_keys import DataKeyRotator
from control_plane.main import create_app
from control_plane.schedules.models import Schedule
from control_plane.settings import Settings
from control_plane.tenancy.secrets import OrgSecrets
from tests.control_plane.access.matrix.objects import CONNECTION
from tests.control_plane.access.race.clients import CLIENTS, PASSWORD, Org, RacingClient, Tally
from tests.factories.access import Member, make_member, make_user
from tests.factories.targets import add, make_upload
from tests.fixtures.ports import free_port
from tests.fixtures.servers import served

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
    "accept invitation",
)
# By what the clients count, what of it is on record in the platform's log. An accepted invitation
# makes an account and signs it in.
IDENTITY = {
    "login session": ("login", "accept invitation"),
    "sign_up user": ("sign_up", "accept invitation"),
}


@dataclass
class Race:
    """What was raced for, and what came of it."""

    seed: int
    tally: Tally
    shared: Org
    duel: Org
    org_ids: dict[str, int]
    versions: dict[str, int]
    vault: Vault

    def slug(self, name: str) -> str:
        """Returns an org's slug."""
        return {"shared": self.shared, "duel": self.duel}[name].slug


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


def fill(session: Session, app, first: Member, org: Org, given: dict[int, set[str]]) -> None:
    """Gives an org what the clients change."""
    enter_org(session, first.org.id)
    for _ in range(3):
        member = make_user(session)
        UserRepository(session).add_membership(first.org.id, member.id, Role.VIEWER)
        org.members.append(member.id)
    service = ConnectionService.of(session, first.caller, app.state.vault)
    for number in range(3):
        body = ConnectionCreate.model_validate({**CONNECTION, "name": f"start {number}"})
        row = service.create_connection(body)
        org.connections.append(row.id)
        given[row.id].add(CONNECTION["config"]["password"])
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
        fill(session, app, first, shared, tally.passwords)
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
    return Race(seed, tally, shared, duel, org_ids, versions, app.state.vault)


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
    others = {"update member", "refresh", "login", "sign_up", "fight", "rotate data_key"}
    assert done >= {*RECORDED, *others}, race.seed
    assert race.tally.answers["update connection", 412], "nobody was too late"
    assert race.tally.answers["accept invitation", 404], "no two wanted the same invitation"


def requests_of(entries: Iterable[AuditEntry | PlatformAuditEntry], action: str) -> Counter[str]:
    """Counts the requests that an action is on record of."""
    kinds = (one for one in entries if f"{one.action} {one.resource_type}" == action)
    return Counter(one.request_id or "" for one in kinds if one.actor_kind != "system")


@pytest.mark.parametrize("action", RECORDED)
def test_each_change_is_on_record_once(race: Race, log: dict[str, list[AuditEntry]], action: str):
    """As its own request's, so that no refused one is there and none is there twice."""
    assert requests_of(log["shared"], action) == Counter(race.tally.traces[action]), race.seed


def test_each_change_of_a_role_is_on_record_once(race: Race, log: dict[str, list[AuditEntry]]):
    """Whoever gets the role that they had answers with a version that was there before."""
    for name, action in (("shared", "update member"), ("duel", "fight")):
        entries = requests_of(log[name], "update member")
        assert not entries - Counter(race.tally.traces[action]), (name, race.seed)
        changed = [one for one in race.tally.roles[race.slug(name)] if one[1] != '"1"']
        assert entries.total() == len(changed), (name, race.seed)


def test_who_signed_in_is_on_record_in_the_platforms_log(race: Race, app_engine: Engine):
    with make_session_factory(app_engine)() as session:
        query = select(PlatformAuditEntry).where(
            PlatformAuditEntry.actor_name.in_(race.tally.emails)
        )
        entries = list(session.scalars(query))
    for action, counted in IDENTITY.items():
        traces = Counter(trace for one in counted for trace in race.tally.traces[one])
        assert requests_of(entries, action) == traces, (action, race.seed)
    reused = requests_of(entries, "refresh_token_reuse session")
    assert reused.total() == race.tally.answers["reuse", 401], race.seed


def test_who_signed_in_is_on_record_in_their_org(race: Race, app_engine: Engine, log):
    """Each account that was signed up has an org of its own, and each accepted one the shared one."""
    told = race.tally.logins
    counted = 0
    with make_session_factory(app_engine)() as session:
        for email, org_id in orgs_of(session, race.tally.emails):
            enter_org(session, org_id)
            query = select(AuditEntry).where(AuditEntry.actor_name == email)
            recorded = Counter(
                f"{one.action} {one.resource_type}" for one in session.scalars(query)
            )
            is_invited = org_id == race.org_ids["shared"]
            made = "accept invitation" if is_invited else "create organization"
            assert (recorded[made], recorded["sign_up user"]) == (1, 1), (email, race.seed)
            assert recorded["login session"] == told[email] + is_invited, (email, race.seed)
            counted += told[email]
    assert counted, "nobody who has an org has signed in again"


def orgs_of(session: Session, emails: list[str]) -> list[tuple[str, int]]:
    """Returns the accounts with an org of theirs."""
    query = text(
        "SELECT u.email, m.org_id FROM users u, LATERAL memberships_of(u.id) m"
        " WHERE u.email = ANY(:emails)"
    )
    return [(row.email, row.org_id) for row in session.execute(query, {"emails": emails})]


def test_refresh_tokens_are_those_that_were_given(race: Race, app_engine: Engine):
    """A refresh leaves no entry: the rows are counted instead."""
    with make_session_factory(app_engine)() as session:
        query = text(
            "SELECT count(*) FROM refresh_tokens t JOIN user_sessions s ON s.id = t.session_id"
            " JOIN users u ON u.id = s.user_id WHERE u.email = ANY(:emails)"
        )
        given = session.scalar(query, {"emails": race.tally.emails})
    counted = ("login", "sign_up", "accept invitation", "refresh")
    assert given == sum(race.tally.changes[one] for one in counted), race.seed


def test_rotations_end_and_are_on_record(race: Race, app_engine: Engine):
    """Who asks while one is under way continues it, so fewer begin than are asked for."""
    org_id = race.org_ids["shared"]
    DataKeyRotator(make_session_factory(app_engine), race.vault, org_id).advance()
    with make_session_factory(app_engine)() as session:
        enter_org(session, org_id)
        entries = list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
        (key_id,) = session.scalars(text("SELECT id FROM data_keys"))
    begun = requests_of(entries, "rotate data_key")
    assert begun
    assert not begun - Counter(race.tally.traces["rotate data_key"]), race.seed
    keys = {
        action: [one.resource_id for one in entries if one.action == action]
        for action in ("rotate", "rotation_completed")
    }
    assert keys["rotate"] == keys["rotation_completed"], race.seed
    assert keys["rotate"][-1] == str(key_id)


def test_every_secret_is_readable_and_one_that_was_given(race: Race, app_engine: Engine):
    assert race.tally.passwords.keys() == set(race.shared.connections)
    with make_session_factory(app_engine)() as session:
        enter_org(session, race.org_ids["shared"])
        secrets_of_org = OrgSecrets(session, race.org_ids["shared"], race.vault)
        for connection_id, given in race.tally.passwords.items():
            values = secrets_of_org.read(session.get_one(Connection, connection_id))
            assert values["password"] in given, race.seed


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
    # A new row begins with version 1.
    updates["member"] += race.tally.changes["accept invitation"]
    changed = {kind: after[kind] - before for kind, before in race.versions.items()}
    assert changed == {kind: updates[kind] for kind in changed}, race.seed


def test_every_org_keeps_an_owner(race: Race, app_engine: Engine):
    with make_session_factory(app_engine)() as session:
        made = {org_id for _, org_id in orgs_of(session, race.tally.emails)}
        assert len(made) > race.tally.changes["sign_up"], "and the shared one, by invitation"
        for org_id in {*race.org_ids.values(), *made}:
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
