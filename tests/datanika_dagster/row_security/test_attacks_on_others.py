"""What a run's login tries that would reach other orgs through what all of them share.

Tables and ids are shared, and gateway and daemon read the rows of every org: a run that locks, takes
ids or writes what nobody can read would stop all of them.
"""

import json
from datetime import UTC, datetime

import psycopg
import pytest
from dagster._core.storage.dagster_run import RunsFilter

from datanika_dagster.row_security.tables import TABLES
from tests.datanika_dagster.row_security.conftest import ACME, Secured
from tests.datanika_dagster.row_security.rows import (
    Owned,
    fresh_row,
    insert,
    make_owned,
    owners_storage,
)

CANNOT = psycopg.errors.InsufficientPrivilege
WRITTEN = sorted(name for name, table in TABLES.items() if len(table.runs) > 1)
MODES = (
    *("ROW SHARE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE"),
    *("EXCLUSIVE", "ACCESS EXCLUSIVE"),
)
LATER = "20000-01-01"
DEEP = "[" * 5000 + "]" * 5000


@pytest.fixture
def own(secured: Secured) -> Owned:
    """A fresh run."""
    return make_owned(secured, ACME)


@pytest.fixture
def acme(secured: Secured):
    with secured.as_run(ACME) as connection:
        yield connection


def try_to_lock(connection: psycopg.Connection, table: str) -> None:
    for mode in MODES:
        with pytest.raises(CANNOT), connection.transaction():
            connection.execute(f"LOCK TABLE {table} IN {mode} MODE NOWAIT".encode())


def set_status(secured: Secured, run_id: str, status: str) -> None:
    with secured.as_owner() as owner:
        owner.execute("UPDATE runs SET status = %s WHERE run_id = %s", [status, run_id])


def update(acme: psycopg.Connection, run_id: str, **values: object) -> None:
    for name, value in values.items():
        acme.execute(f"UPDATE runs SET {name} = %s WHERE run_id = %s".encode(), [value, run_id])


def body_of(connection: psycopg.Connection, run_id: str) -> dict[str, object]:
    row = connection.execute("SELECT run_body FROM runs WHERE run_id = %s", [run_id]).fetchone()
    assert row
    return json.loads(row[0])


class TestLocks:
    @pytest.mark.parametrize("table", WRITTEN)
    def test_no_table_is_locked_against_others(self, acme, table: str):
        try_to_lock(acme, table)

    def test_no_right_is_one_by_which_a_table_can_be_locked(self, acme):
        """https://www.postgresql.org/docs/current/sql-lock.html, for all versions."""
        for table in TABLES:
            for right in ("UPDATE", "DELETE", "TRUNCATE"):
                found = acme.execute(
                    "SELECT has_table_privilege(%s, %s)", [f"public.{table}", right]
                ).fetchone()
                assert found == (False,), (table, right)


class TestIds:
    @pytest.mark.parametrize("table", [name for name in WRITTEN if name != "runs"])
    def test_no_id_is_chosen(self, acme, own: Owned, table: str):
        row = fresh_row(table, own)
        with pytest.raises(CANNOT, match="permission denied"):
            insert(acme, table, row | {"id": 2**62})
        insert(acme, table, row)

    def test_no_sequence_is_set(self, acme):
        with pytest.raises(CANNOT):
            acme.execute("SELECT setval('event_logs_id_seq', 1)")


class TestStatus:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("STARTED", "QUEUED"),
            ("STARTED", "NOT_STARTED"),
            ("STARTED", "STARTING"),
            ("STARTED", "no such status"),
            ("STARTED", None),
            ("QUEUED", "STARTED"),
            ("NOT_STARTED", "SUCCESS"),
            ("SUCCESS", "STARTED"),
            ("FAILURE", "QUEUED"),
            ("CANCELED", "STARTING"),
        ],
    )
    def test_does_not_go_back(self, secured, acme, own: Owned, before: str, after: str | None):
        set_status(secured, own.run_id, before)
        with pytest.raises(CANNOT):
            update(acme, own.run_id, status=after)

    @pytest.mark.parametrize(
        ("before", "after"),
        [("CANCELED", "SUCCESS"), ("FAILURE", "SUCCESS"), ("CANCELING", "STARTED")],
    )
    def test_the_first_end_stays(self, secured, acme, own: Owned, before: str, after: str):
        set_status(secured, own.run_id, before)
        update(acme, own.run_id, status=after)
        assert read(secured, own).status.value == before

    def test_the_body_says_the_same_as_the_column(self, secured, acme, own: Owned):
        set_status(secured, own.run_id, "STARTED")
        body = body_of(acme, own.run_id) | {"status": {"__enum__": "PipelineRunStatus.QUEUED"}}
        update(acme, own.run_id, run_body=json.dumps(body))
        assert body_of(acme, own.run_id)["status"] == {"__enum__": "PipelineRunStatus.STARTED"}

    def test_an_end_has_a_time(self, secured, acme, own: Owned):
        """The daemon adds to it, for every org."""
        set_status(secured, own.run_id, "STARTED")
        update(acme, own.run_id, status="SUCCESS")
        (record,) = owners_storage(secured.owner).get_run_records(RunsFilter(run_ids=[own.run_id]))
        assert record.end_time is not None
        assert abs(record.end_time - datetime.now(UTC).timestamp()) < 60


class TestWhatNobodyCanRead:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("update_timestamp", LATER),
            ("update_timestamp", "infinity"),
            ("start_time", "NaN"),
            ("end_time", "Infinity"),
            ("end_time", -1e300),
            ("run_body", "no JSON"),
            ("run_body", "[]"),
            ("run_body", None),
            ("run_body", DEEP),
        ],
    )
    def test_is_not_put_into_a_run(self, acme, own: Owned, column: str, value: object):
        with pytest.raises(psycopg.Error):
            update(acme, own.run_id, **{column: value})

    @pytest.mark.parametrize(
        "tags", [None, [], "x", {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": ["b"]}]
    )
    def test_tags_are_texts(self, acme, own: Owned, tags: object):
        body = body_of(acme, own.run_id) | {"tags": tags}
        with pytest.raises(CANNOT):
            update(acme, own.run_id, run_body=json.dumps(body))

    @pytest.mark.parametrize("name", ["asset_selection", "solids_to_execute", "run_op_concurrency"])
    @pytest.mark.parametrize("value", [{"__class__": "NoSuch"}, {"__frozenset__": [["deep"]]}, 1])
    def test_selections_stay(self, acme, own: Owned, name: str, value: object):
        body = body_of(acme, own.run_id) | {name: value}
        with pytest.raises(CANNOT):
            update(acme, own.run_id, run_body=json.dumps(body))

    def test_what_a_text_says_twice_is_gone(self, secured, acme, own: Owned):
        text = json.dumps(body_of(acme, own.run_id))
        update(acme, own.run_id, run_body='{"run_config": ' + DEEP + ", " + text[1:])
        assert read(secured, own).run_id == own.run_id

    def test_a_body_does_not_grow_without_end(self, acme, own: Owned):
        body = body_of(acme, own.run_id) | {"tags": {"large": "x" * (1 << 20)}}
        with pytest.raises(CANNOT, match="so large"):
            update(acme, own.run_id, run_body=json.dumps(body))

    @pytest.mark.parametrize(
        ("table", "column", "value"),
        [
            ("event_logs", "event", "no JSON"),
            ("event_logs", "event", "{}"),
            (
                "event_logs",
                "event",
                '{"__class__": "EventLogEntry", "x": "' + "x" * (8 << 20) + '"}',
            ),
            ("event_logs", "timestamp", LATER),
            ("asset_keys", "last_materialization_timestamp", LATER),
            ("asset_event_tags", "event_timestamp", "infinity"),
            ("asset_check_executions", "evaluation_event_timestamp", LATER),
            ("asset_check_executions", "execution_status", "no such status"),
            ("pending_steps", "assigned_timestamp", LATER),
            ("pending_steps", "create_timestamp", LATER),
            ("concurrency_limits", "limit", -1),
            ("concurrency_limits", "limit", 2**31 - 1),
            ("concurrency_limits", "update_timestamp", LATER),
        ],
    )
    def test_is_in_no_row(self, acme, own: Owned, table: str, column: str, value: object):
        with pytest.raises(psycopg.Error):
            insert(acme, table, fresh_row(table, own) | {column: value})

    def test_an_event_may_hold_any_text(self, acme, own: Owned):
        """A log line may have been cut within a character, and hold a NUL."""
        event = json.dumps({"__class__": "EventLogEntry", "message": "\ud800 \0 \\u0000"})
        insert(acme, "event_logs", fresh_row("event_logs", own) | {"event": event})


MACHINERY = (
    *("dagster-k8s/config", "dagster-docker/x", "docker/image", "ecs/cpu", ".dagster/hidden"),
    *("dagster/priority", "dagster/max_runtime", "dagster/retry_number", "datanika/worker"),
)


class TestMachinery:
    @pytest.mark.parametrize("name", MACHINERY)
    def test_no_tag_of_a_machine_is_written(self, secured, acme, own: Owned, name: str):
        with pytest.raises(CANNOT, match="no_stamp"):
            insert(acme, "run_tags", {"run_id": own.run_id, "key": name, "value": "1"})
        body = body_of(acme, own.run_id)
        before = read(secured, own).tags
        body["tags"] = {name: "1", "mine": "x"}
        update(acme, own.run_id, run_body=json.dumps(body))
        assert read(secured, own).tags == {**before, "mine": "x"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("dagster/failure_reason", "x"),
            ("dagster/will_retry", "x"),
            ("dagster/retry_on_asset_or_op_failure", "x"),
            ("mine", "x" * (64 << 10)),
            ("mine", None),
        ],
    )
    def test_what_the_daemon_reads_has_a_known_value(
        self, secured, acme, own: Owned, name: str, value: str | None
    ):
        with pytest.raises(CANNOT, match="no_stamp"):
            insert(acme, "run_tags", {"run_id": own.run_id, "key": name, "value": value})
        body = body_of(acme, own.run_id)
        body["tags"] = {name: value or ""}
        if value:
            update(acme, own.run_id, run_body=json.dumps(body))
            assert name not in read(secured, own).tags


def read(secured: Secured, own: Owned):
    """Reads a run as gateway and daemon do."""
    (run,) = owners_storage(secured.owner).get_runs(RunsFilter(run_ids=[own.run_id]))
    return run
