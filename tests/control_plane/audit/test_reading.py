"""The audit logs through the REST API: filters, cursors, exports, and who may read them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from control_plane.access.sessions.service import start_session
from control_plane.audit import reading
from control_plane.audit.models import AuditEntry, PlatformAuditEntry
from control_plane.audit.reading import EntryFilter, export_entries
from control_plane.audit.service import Actor, AuditLog, PlatformAuditLog
from control_plane.core.database import enter_org, make_session_factory, read_only_transaction
from tests.factories.access import make_member, make_user

START = datetime(2026, 1, 1, tzinfo=UTC)


def add_entries(session: Session, org_id: int, count: int, **values: object) -> list[int]:
    """Entries an hour apart, oldest first."""
    enter_org(session, org_id)
    defaults = {
        "actor_kind": "user",
        "actor_id": 7,
        "actor_name": "a@example.com",
        "action": "update",
        "resource_type": "connection",
        "resource_id": "1",
    }
    rows = [
        AuditEntry(org_id=org_id, occurred_at=START + timedelta(hours=n), **{**defaults, **values})
        for n in range(count)
    ]
    session.add_all(rows)
    session.commit()
    return [row.id for row in rows]


@pytest.fixture
def url(client) -> str:
    return f"/api/v1/orgs/{client.org}/audit"


@pytest.fixture
def operator(anonymous, app, session):
    """A client of a platform operator."""
    enter_org(session, None)
    user = make_user(session, is_platform_operator=True)
    tokens = start_session(session, app.state.signer, user)
    session.commit()
    anonymous.headers["Authorization"] = f"Bearer {tokens.access_token}"
    return anonymous


def ids(answer) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in answer.json()["data"]]


def lines(answer) -> list[dict]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


class TestFilters:
    @pytest.mark.parametrize(
        "other",
        [
            {"action": "delete"},
            {"resource_type": "upload"},
            {"resource_id": "2"},
            {"actor_kind": "api_key"},
        ],
    )
    def test_each_column(self, client, url, session, member, other):
        add_entries(session, member.org.id, 2)
        wanted = add_entries(session, member.org.id, 2, **other)
        assert ids(client.get(url, params=other)) == wanted[::-1]

    def test_a_users_number_is_not_a_keys(self, client, url, session, member):
        add_entries(session, member.org.id, 1, actor_kind="api_key", actor_id=99)
        wanted = add_entries(session, member.org.id, 1, actor_id=99)
        assert ids(client.get(url, params={"user_id": 99})) == wanted

    def test_time_includes_since_and_excludes_until(self, client, url, session, member):
        rows = add_entries(session, member.org.id, 5)
        since, until = START + timedelta(hours=1), START + timedelta(hours=3)
        params = {"since": since.isoformat(), "until": until.isoformat()}
        assert ids(client.get(url, params=params)) == [rows[2], rows[1]]
        assert [line["id"] for line in lines(client.get(f"{url}/export", params=params))] == [
            rows[1],
            rows[2],
        ]

    def test_times_are_compared_in_their_zones(self, client, url, session, member):
        rows = add_entries(session, member.org.id, 2)
        params = {"since": "2026-01-01T03:00:00+02:00", "resource_type": "connection"}
        assert ids(client.get(url, params=params)) == [rows[1]]

    @pytest.mark.parametrize(
        "params",
        [
            {"since": "2026-01-01T00:00:00"},
            {"until": "yesterday"},
            {"user_id": "0"},
            {"user_id": str(2**70)},
            {"actor_kind": "robot"},
            {"action": "a\x00b"},
        ],
    )
    @pytest.mark.parametrize("path", ["", "/export"])
    def test_what_makes_no_sense_is_named(self, client, url, params, path):
        answer = client.get(f"{url}{path}", params=params)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"

    def test_pages_stay_while_the_log_grows(self, client, url, session, member):
        rows = add_entries(session, member.org.id, 6)
        params = {"resource_type": "connection", "limit": 2}
        seen, cursor = [], None
        while True:
            page = client.get(url, params={**params, **({"cursor": cursor} if cursor else {})})
            seen += ids(page)
            cursor = page.json()["next_cursor"]
            add_entries(session, member.org.id, 3)
            if cursor is None:
                break
        assert seen == rows[::-1]


class TestExport:
    def test_is_whole_oldest_first_and_ends_with_what_was_there(
        self, client, url, session, member, monkeypatch
    ):
        monkeypatch.setattr(reading, "BATCH_ROWS", 3)
        rows = add_entries(session, member.org.id, 10)
        found = lines(client.get(f"{url}/export", params={"resource_type": "connection"}))
        assert [line["id"] for line in found] == rows
        assert found[0]["occurred_at"] == "2026-01-01T00:00:00Z"

    def test_is_audited_with_its_filters(self, client, url):
        answer = client.get(
            f"{url}/export", params={"action": "login", "since": "2026-01-01T00:00Z"}
        )
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        (entry,) = client.get(url, params={"action": "export"}).json()["data"]
        assert entry["resource_type"] == "audit_log"
        assert entry["new_values"] == {"action": "login", "since": "2026-01-01T00:00:00+00:00"}
        assert entry["request_id"] == answer.headers["x-trace-id"]

    def test_of_another_org_has_nothing_of_this_one(self, client, url, session, vault):
        other = make_member(session, vault)
        foreign = add_entries(session, other.org.id, 3)
        assert not set(foreign) & {line["id"] for line in lines(client.get(f"{url}/export"))}
        assert client.get(f"/api/v1/orgs/{other.org.slug}/audit/export").status_code == 404

    def test_reads_under_row_level_security_and_cannot_write(self, session, app_engine, vault):
        member = make_member(session, vault)
        factory = make_session_factory(
            session.connection(), join_transaction_mode="create_savepoint"
        )
        add_entries(session, member.org.id, 2)
        other = make_member(session, vault)
        foreign = add_entries(session, other.org.id, 2)
        with read_only_transaction(factory, member.org.id) as inside:
            seen = set(inside.scalars(text("SELECT id FROM audit_entries")))
        assert seen
        assert not seen & set(foreign)
        with pytest.raises(DBAPIError, match="read-only"), read_only_transaction(factory) as inside:
            inside.execute(text("INSERT INTO throttle_counters DEFAULT VALUES"))

    def test_holds_one_batch_and_no_connection(self, databases, app_engine, vault, monkeypatch):
        """Committed rows, so that the pool shows what is held while somebody reads slowly."""
        monkeypatch.setattr(reading, "BATCH_ROWS", 2)
        factory = make_session_factory(app_engine)
        with factory() as opened:
            member = make_member(opened, vault)
            rows = add_entries(opened, member.org.id, 5)
        before = app_engine.pool.checkedout()
        batches = export_entries(factory, member.org.id, rows[-1] + 1, EntryFilter())
        sizes = []
        for batch in batches:
            sizes.append(len(batch))
            assert app_engine.pool.checkedout() == before
        assert max(sizes) == 2
        assert sum(sizes) >= 5


class TestPlatform:
    def test_operators_read_and_export_it(self, operator, session):
        enter_org(session, None)
        actor = Actor("user", 3, "root@example.com", "10.0.0.1", "trace-1")
        entry = PlatformAuditLog(session, actor).record("unlock", "platform", new={"a": 1})
        session.commit()
        params = {"action": "unlock", "user_id": 3}
        assert ids(operator.get("/api/v1/system/audit", params=params)) == [entry.id]
        (line,) = lines(operator.get("/api/v1/system/audit/export", params=params))
        assert (line["ip_address"], line["new_values"]) == ("10.0.0.1", {"a": 1})
        own = session.scalars(
            select(PlatformAuditEntry).where(PlatformAuditEntry.action == "export")
        ).all()
        assert own[-1].new_values == params

    @pytest.mark.parametrize("path", ["audit", "audit/export"])
    def test_nobody_else_does(self, client, path):
        assert client.get(f"/api/v1/system/{path}").status_code == 403

    def test_exports_in_batches(self, operator, session, monkeypatch):
        monkeypatch.setattr(reading, "BATCH_ROWS", 2)
        enter_org(session, None)
        log = PlatformAuditLog(session, Actor("system", None, "datanika"))
        for _ in range(5):
            log.record("rotate_in_batches", "key")
        session.commit()
        found = lines(
            operator.get("/api/v1/system/audit/export", params={"action": "rotate_in_batches"})
        )
        assert len(found) == 5
        assert [line["id"] for line in found] == sorted(line["id"] for line in found)


class TestAppendOnly:
    @pytest.mark.parametrize("table", ["audit_entries", "platform_audit_entries"])
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE {} SET actor_name = 'nobody'",
            "DELETE FROM {}",
            "TRUNCATE {}",
            "MERGE INTO {} t USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
            "INSERT INTO {} SELECT * FROM {} ON CONFLICT (id) DO UPDATE SET actor_name = 'x'",
            "SELECT 1 FROM {} FOR UPDATE",
            "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
            "DROP TABLE {}",
            "CREATE RULE gone AS ON INSERT TO {} DO INSTEAD NOTHING",
        ],
    )
    def test_the_database_refuses(self, session, member, table, statement):
        AuditLog(session, member.org.id, member.caller.actor).record("update", "x")
        PlatformAuditLog(session, member.caller.actor).record("update", "x")
        session.flush()
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
            session.execute(text(statement.replace("{}", table)))

    def test_nor_an_object_that_was_loaded(self, session, member):
        entry = AuditLog(session, member.org.id, member.caller.actor).record("update", "x")
        session.commit()
        entry.actor_name = "nobody"
        with pytest.raises(DBAPIError, match="permission denied"):
            session.flush()

    def test_nor_another_orgs_entry(self, session, member, vault):
        other = make_member(session, vault)
        enter_org(session, member.org.id)
        AuditLog(session, other.org.id, member.caller.actor).record("update", "x")
        with pytest.raises(DBAPIError, match="row-level security"):
            session.flush()
