"""What a run's login tries with rows that are half its own: each attempt fails or changes nothing."""

import json
import re

import psycopg
import pytest
from dagster._core.storage.dagster_run import RunsFilter

from datanika_dagster.row_security.installation import catalogue, install, state_of
from datanika_dagster.row_security.statements import statements
from datanika_dagster.storage import StampingRunStorage
from datanika_manifest.run_records import ORG_TAG
from tests.datanika_dagster.row_security.conftest import ACME, GLOBEX, PROVISIONER, Secured
from tests.datanika_dagster.row_security.rows import (
    Owned,
    fresh_row,
    insert,
    key_of,
    make_owned,
)
from tests.datanika_dagster.test_storage import run_of

CANNOT = psycopg.errors.InsufficientPrivilege


@pytest.fixture(scope="module")
def own(secured: Secured) -> Owned:
    return make_owned(secured, ACME)


@pytest.fixture(scope="module")
def foreign(secured: Secured) -> Owned:
    return make_owned(secured, GLOBEX)


@pytest.fixture
def acme(secured: Secured):
    with secured.as_run(ACME) as connection:
        yield connection


class TestHalfOwnRows:
    @pytest.mark.parametrize(
        ("table", "column"),
        [
            ("event_logs", "asset_key"),
            ("asset_keys", "last_run_id"),
            ("asset_event_tags", "event_id"),
            ("asset_event_tags", "asset_key"),
            ("asset_check_executions", "run_id"),
            ("asset_check_executions", "asset_key"),
            ("pending_steps", "run_id"),
            ("pending_steps", "concurrency_key"),
        ],
    )
    def test_are_refused(self, acme, own: Owned, foreign: Owned, table: str, column: str):
        row = fresh_row(table, own) | {column: fresh_row(table, foreign)[column]}
        with pytest.raises(CANNOT, match="row-level security"):
            insert(acme, table, row)
        insert(acme, table, fresh_row(table, own))

    @pytest.mark.parametrize("run_id", [None, ""])
    def test_an_event_of_no_run_is_refused(self, acme, own: Owned, run_id: str | None):
        with pytest.raises(CANNOT):
            insert(acme, "event_logs", fresh_row("event_logs", own) | {"run_id": run_id})

    def test_a_prefix_is_not_an_org(self, acme, own: Owned):
        for key in ('["acme_too", "x"]', '["acme"]', '["Acme", "x"]', '["acme","x"]', "acme"):
            with pytest.raises(CANNOT):
                insert(acme, "asset_keys", {"asset_key": key})
        for pool in ("acme_too__dlt__x", "acme", "acme_", "_acme__x"):
            with pytest.raises(CANNOT):
                insert(acme, "concurrency_slots", {"concurrency_key": pool, "deleted": False})

    def test_an_upsert_of_a_foreign_asset_tells_nothing_of_it(self, secured, acme, foreign: Owned):
        with secured.as_owner() as owner:
            owner.execute(
                "INSERT INTO asset_keys (asset_key) VALUES (%s) ON CONFLICT DO NOTHING",
                [key_of(GLOBEX)],
            )
        said = []
        for key in (key_of(GLOBEX), key_of(GLOBEX, "not_there")):
            with pytest.raises(CANNOT) as refusal:
                acme.execute(
                    "INSERT INTO asset_keys (asset_key) VALUES (%s) ON CONFLICT (asset_key)"
                    " DO UPDATE SET last_materialization = 'x'",
                    [key],
                )
            said.append(str(refusal.value))
        assert said[0] == said[1]


class TestStamps:
    def test_no_tag_of_the_platforms_is_written(self, acme, own: Owned):
        for name in (ORG_TAG, "datanika/worker", "datanika/anything"):
            with pytest.raises(CANNOT, match="no_stamp"):
                insert(acme, "run_tags", {"run_id": own.run_id, "key": name, "value": "x"})
        changed = acme.execute(
            "UPDATE run_tags SET value = 'globex' WHERE key LIKE 'datanika/%'"
        ).rowcount
        assert changed == 0
        with pytest.raises(CANNOT):
            acme.execute("UPDATE run_tags SET key = 'datanika/org'")

    def test_a_tag_in_the_body_is_put_back(self, secured: Secured, acme, own: Owned):
        body = body_of(acme, own.run_id)
        body["tags"] = {ORG_TAG: "globex", "datanika/new": "x", "mine": "kept"}
        acme.execute(
            "UPDATE runs SET run_body = %s WHERE run_id = %s",
            [json.dumps(body), own.run_id],
        )
        assert tags_in_body(secured, own.run_id) == {ORG_TAG: "acme", "mine": "kept"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("run_id", "another"),
            ("external_pipeline_origin", None),
            ("parent_run_id", "another"),
            ("pipeline_snapshot_id", "another"),
            ("execution_plan_snapshot_id", "another"),
            ("added", 1),
        ],
    )
    def test_what_a_run_is_stays(self, acme, own: Owned, name: str, value: object):
        body = body_of(acme, own.run_id) | {name: value}
        with pytest.raises(CANNOT, match="status and tags only"):
            acme.execute(
                "UPDATE runs SET run_body = %s WHERE run_id = %s", [json.dumps(body), own.run_id]
            )

    def test_the_owner_of_the_tables_may(self, secured: Secured, own: Owned):
        storage = StampingRunStorage(secured.owner.render_as_string(hide_password=False))
        storage.add_run_tags(own.run_id, {"datanika/worker": "{}"})
        assert tags_in_body(secured, own.run_id)["datanika/worker"] == "{}"


class TestSlots:
    def test_a_foreign_slot_is_neither_taken_nor_freed(self, secured, acme, own, foreign: Owned):
        pool = "globex__upload__x"
        with secured.as_owner() as owner:
            for run_id in (None, foreign.run_id):
                row = {"concurrency_key": pool, "run_id": run_id, "deleted": False}
                insert(owner, "concurrency_slots", row)
            for attempt in (
                "UPDATE concurrency_slots SET run_id = %(own)s",
                "UPDATE concurrency_slots SET run_id = NULL",
                "UPDATE concurrency_slots SET deleted = true",
            ):
                acme.execute(attempt + " WHERE concurrency_key = %(pool)s", {
                    "own": own.run_id, "pool": pool,
                })  # fmt: skip
            kept = owner.execute(
                "SELECT run_id, deleted FROM concurrency_slots WHERE concurrency_key = %s"
                " ORDER BY id", [pool],
            ).fetchall()  # fmt: skip
        assert kept == [(None, False), (foreign.run_id, False)]

    def test_an_own_slot_is_not_given_to_a_foreign_run(self, acme, own, foreign: Owned):
        row = {"concurrency_key": "acme__upload__y", "deleted": False}
        with pytest.raises(CANNOT):
            insert(acme, "concurrency_slots", row | {"run_id": foreign.run_id})
        insert(acme, "concurrency_slots", row | {"run_id": own.run_id})


def test_set_role_changes_nothing(acme, foreign: Owned):
    acme.execute("SET ROLE datanika_dagster_runs")
    assert acme.execute("SELECT datanika.org()").fetchone() == ("acme",)
    found = acme.execute("SELECT 1 FROM runs WHERE run_id = %s", [foreign.run_id]).fetchall()
    assert found == []


def test_a_login_that_nobody_registered_sees_nothing(secured: Secured):
    with secured.as_owner() as owner:
        owner.execute("UPDATE datanika.logins SET login = 'x' WHERE login = 'datanika_run_900002'")
        with secured.as_run(GLOBEX) as connection:
            for table in ("runs", "run_tags", "event_logs", "asset_keys", "concurrency_slots"):
                query = b"SELECT count(*) FROM " + table.encode()
                assert connection.execute(query).fetchone() == (0,)
        owner.execute("UPDATE datanika.logins SET login = 'datanika_run_900002' WHERE login = 'x'")


class TestOwners:
    def test_are_stored_with_the_run(self, secured: Secured):
        storage = StampingRunStorage(secured.owner.render_as_string(hide_password=False))
        run, nobodys = storage.add_run(run_of("org_acme")), storage.add_run(run_of(None))
        assert owners(secured, run.run_id) == [("acme",)]
        assert owners(secured, nobodys.run_id) == []
        storage.delete_run(run.run_id)
        assert owners(secured, run.run_id) == []

    def test_a_run_without_its_owner_is_not_stored(self, secured: Secured):
        storage = StampingRunStorage(secured.owner.render_as_string(hide_password=False))
        run = run_of("org_acme")
        with secured.as_owner() as owner:
            owner.execute("ALTER TABLE datanika.run_owners ADD CHECK (org <> 'acme') NOT VALID")
            try:
                with pytest.raises(Exception, match="run_owners"):
                    storage.add_run(run)
            finally:
                owner.execute(
                    "ALTER TABLE datanika.run_owners DROP CONSTRAINT run_owners_org_check"
                )
        assert not storage.has_run(run.run_id)

    def test_are_filled_in_for_runs_from_before(self, secured: Secured, own: Owned):
        with secured.as_owner() as owner:
            owner.execute("DELETE FROM datanika.run_owners")
            install(owner, PROVISIONER)
        assert owners(secured, own.run_id) == [("acme",)]


class TestInstallation:
    def test_changes_nothing_the_second_time(self, secured: Secured):
        with secured.as_owner() as owner:
            before, state = catalogue(owner), state_of(owner, PROVISIONER)
            install(owner, PROVISIONER)
            assert (catalogue(owner), state_of(owner, PROVISIONER)) == (before, state)

    def test_sets_right_what_somebody_has_changed(self, secured: Secured):
        with secured.as_owner() as owner:
            state = state_of(owner, PROVISIONER)
            owner.execute(
                "GRANT SELECT ON kvs TO PUBLIC; ALTER TABLE runs DISABLE ROW LEVEL SECURITY"
            )
            assert state_of(owner, PROVISIONER) != state
            install(owner, PROVISIONER)
            assert state_of(owner, PROVISIONER) == state

    def test_refuses_a_name_that_needs_quotes(self):
        with pytest.raises(ValueError, match="role name"):
            list(statements("owner", 'x" TO PUBLIC; --'))

    def test_every_definer_function_has_its_search_path(self, secured: Secured):
        with secured.as_owner() as owner:
            rows = owner.execute(
                "SELECT proname, proconfig::text FROM pg_proc WHERE prosecdef"
                " AND pronamespace IN ('public'::regnamespace, 'datanika'::regnamespace)"
            ).fetchall()
        assert {name for name, _ in rows} == {
            *("org", "asset_key_prefix", "pool_prefix"),
            *("remove_pending_steps", "free_slots", "shrink_pool"),
            *("register_logins", "forget_logins"),
        }
        assert all(re.search("search_path=pg_catalog, pg_temp", config) for _, config in rows)


def owners(secured: Secured, run_id: str) -> list[tuple[str]]:
    with secured.as_owner() as owner:
        return owner.execute(
            "SELECT org FROM datanika.run_owners WHERE run_id = %s", [run_id]
        ).fetchall()


def tags_in_body(secured: Secured, run_id: str) -> dict[str, str]:
    storage = StampingRunStorage(secured.owner.render_as_string(hide_password=False))
    (run,) = storage.get_runs(RunsFilter(run_ids=[run_id]))
    return run.tags


def body_of(connection: psycopg.Connection, run_id: str) -> dict[str, object]:
    row = connection.execute("SELECT run_body FROM runs WHERE run_id = %s", [run_id]).fetchone()
    assert row
    return json.loads(row[0])
