"""Every operation that changes something is on record once, in the transaction of the change.

Generated from the routes: a valid request of each comes from the matrix of permissions.
"""

from collections import Counter

import pytest
from fastapi.testclient import TestClient

from control_plane.audit.models import PlatformAuditEntry
from control_plane.routes import list_operations
from tests.control_plane.access.matrix.rows import ROWS
from tests.control_plane.access.matrix.world import OWN, World
from tests.control_plane.access.test_matrix import Attempts, attempts, http, quiet, world
from tests.control_plane.audit.expected import ENTRIES, ONE_ORG, PLATFORM, WITHOUT, Left
from tests.control_plane.audit.observation import (
    Entry,
    Logs,
    failing_commits,
    key_case,
    send,
    state,
    successful_case,
)

__all__ = ["attempts", "http", "quiet", "world"]

READING = ("GET", "HEAD")
CHANGING = {one.name: one for one in list_operations() if one.method not in READING}
# The others are refused in the matrix (no dbt, no Dagster, no warehouse): tested with these.
SUCCEEDING = sorted(n for n in CHANGING if n in ENTRIES and (ROWS[n].status or 200) < 400)
REFUSED = sorted(n for n in CHANGING if n in ROWS and (ROWS[n].status or 200) >= 400)


def left(entry: Entry) -> Left:
    return Left(
        PLATFORM if isinstance(entry, PlatformAuditEntry) else ONE_ORG,
        entry.action,
        entry.resource_type,
        entry.old_values is not None,
        entry.new_values is not None,
        entry.actor_kind,
    )


def test_every_change_has_a_row_or_a_reason():
    rows = ENTRIES.keys() | WITHOUT.keys()
    assert sorted(CHANGING.keys() - rows) == [], (
        "add a row to tests/control_plane/audit/expected.py"
    )
    assert sorted(rows - CHANGING.keys()) == [], "these operations do not exist"
    assert sorted(ENTRIES.keys() & WITHOUT.keys()) == []


@pytest.mark.parametrize("attempts", SUCCEEDING, indirect=True)
class TestSuccess:
    def test_leaves_exactly_its_entries(self, attempts: Attempts):
        case = successful_case(attempts.operation, ROWS[attempts.operation.name], attempts.world)
        with attempts.world.savepoint():
            with Logs(attempts.world).new_entries() as new:
                answer = send(attempts, case)
            assert answer.status_code == case.status, answer.text
        expected = Counter(ENTRIES[attempts.operation.name])
        assert Counter(left(entry) for entry in new) == expected
        for entry in new:
            assert entry.actor_name
            assert entry.resource_id or entry.resource_type == "key_encryption_key"
            if not entry.action.endswith("_completed"):
                assert entry.ip_address == "testclient"
                assert entry.request_id == answer.headers["X-Trace-Id"]

    def test_is_undone_together_with_them(self, attempts: Attempts):
        """Where the transaction that wrote an entry cannot commit, nothing has changed."""
        case = successful_case(attempts.operation, ROWS[attempts.operation.name], attempts.world)
        with attempts.world.savepoint():
            before = state(attempts.world)
            with failing_commits(attempts.world.factory) as failures:
                answer = send(attempts, case)
            assert failures, "no entry was written"
            assert answer.status_code >= 500
            after = state(attempts.world)
            assert {name for name in after if after[name] != before.get(name)} == set()


@pytest.mark.parametrize("attempts", REFUSED, indirect=True)
def test_a_refusal_leaves_none(attempts: Attempts):
    case = successful_case(attempts.operation, ROWS[attempts.operation.name], attempts.world)
    with attempts.world.savepoint(), Logs(attempts.world).new_entries() as new:
        assert send(attempts, case).status_code >= 400
    assert new == []


WITH_BODY = sorted(n for n in SUCCEEDING if n.startswith(("POST", "PATCH")) and ROWS[n].body)


@pytest.mark.parametrize("attempts", WITH_BODY, indirect=True)
def test_an_invalid_body_leaves_none(attempts: Attempts):
    case = successful_case(attempts.operation, ROWS[attempts.operation.name], attempts.world)
    with attempts.world.savepoint(), Logs(attempts.world).new_entries() as new:
        assert send(attempts, case, {"no_such_field": 1}).status_code == 422
    assert new == []


IN_ORG = sorted(n for n in SUCCEEDING if "/orgs/{org}" in n and ROWS[n].by_key)


@pytest.mark.parametrize("attempts", IN_ORG, indirect=True)
def test_what_a_key_changes_is_the_keys(attempts: Attempts):
    case = key_case(attempts.operation, ROWS[attempts.operation.name], attempts.world)
    if case is None or "/api/v1" not in attempts.operation.path:
        pytest.skip("no key may do this")
    with attempts.world.savepoint():
        answer = send(attempts, case)
        assert answer.status_code == case.status, answer.text
        entries = [
            one
            for one in Logs(attempts.world).entries()
            if one.request_id == answer.headers["X-Trace-Id"]
        ]
    assert entries
    for entry in entries:
        assert (entry.actor_kind, entry.actor_name) == ("api_key", "key")
        assert entry.actor_id is not None


class TestTheseTestsCanFail:
    def test_a_forgotten_row_is_found(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delitem(ENTRIES, "POST /api/v1/auth/signup")
        with pytest.raises(AssertionError, match="signup"):
            test_every_change_has_a_row_or_a_reason()

    def test_a_change_of_any_table_is_seen(self, world: World, http: TestClient):
        with world.savepoint():
            before = state(world)
            with world.inside(OWN) as session:
                session.connection().exec_driver_sql("UPDATE organizations SET name = 'Changed'")
            after = state(world)
        assert [name for name in after if after[name] != before[name]] != []
