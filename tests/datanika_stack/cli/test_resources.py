"""Connections, keys and the errors of the API, by the command line."""

import json

import pytest

from control_plane.core.database import enter_org
from tests.datanika_stack.cli.conftest import PASSWORD
from tests.factories.targets import make_upload

CONFIG = ["--set", "host=db.example.com", "--set", "database=crm", "--set", "user=reader"]
CREATE = ["connection", "create", "--connector", "postgres", "--direction", "source"]
SECRET = "canary-secret"


def create(command, name="CRM"):
    options = ["--name", name, *CONFIG, "--password-stdin"]
    return command.json(*CREATE, *options, stdin=f"{SECRET}\n")


class TestConnections:
    def test_create_list_get_update_delete(self, command):
        made = create(command)
        assert made["secrets_set"] == ["password"]
        assert [row["slug"] for row in command.json("connection", "list")] == ["crm"]
        for reference in ("crm", "CRM", str(made["id"])):
            assert command.json("connection", "get", reference) == made
        options = ["--set", "port=5433", "--password-stdin"]
        changed = command.json("connection", "update", "crm", *options, stdin=f"{SECRET}\n")
        assert changed["config"]["port"] == 5433
        assert changed["config"]["host"] == "db.example.com"
        assert command.json("connection", "delete", "crm") == {"deleted": made["id"]}
        assert command.json("connection", "list") == []

    def test_secrets_are_never_shown(self, command):
        create(command)
        for arguments in (["list"], ["get", "crm"]):
            assert SECRET not in command.run("connection", *arguments).output
            assert SECRET not in command.run("connection", *arguments, "--json").output

    def test_config_from_a_file(self, command, tmp_path):
        path = tmp_path / "config.json"
        config = {"host": "h", "database": "d", "user": "u", "password": SECRET}
        path.write_text(json.dumps(config))
        made = command.json(*CREATE, "--name", "a", "--config-file", str(path))
        assert made["config"]["host"] == "h"

    def test_the_whole_object_from_standard_input(self, command):
        body = {
            "name": "whole",
            "connector": "postgres",
            "direction": "both",
            "config": {"host": "h", "database": "d", "user": "u", "password": SECRET},
        }
        made = command.json("connection", "create", "--file", "-", stdin=json.dumps(body))
        assert made["direction"] == "both"

    def test_a_secret_argument_is_refused(self, command):
        arguments = [*CREATE, "--name", "a", *CONFIG, "--set", f"password={SECRET}"]
        result = command.run(*arguments, exit_code=2)
        assert "not taken from the command line" in result.stderr
        assert SECRET not in result.output

    def test_the_api_names_the_wrong_field(self, command):
        error = command.error(*CREATE, "--name", "a", "--set", "host=h")
        assert error["status"] == 422
        assert {"/config/database", "/config/user"} <= {e["pointer"] for e in error["errors"]}
        text = command.run(*CREATE, "--name", "a", "--set", "host=h", exit_code=1).stderr
        assert "/config/database" in text

    def test_an_unknown_name_lists_the_known_ones(self, command):
        create(command)
        error = command.error("connection", "get", "erp", exit_code=2)
        assert error["detail"] == "No 'erp' in connections; there are: crm."


PERSONAL = [
    ("whoami",),
    ("org", "list"),
    ("session", "list"),
    ("password", "change", "--password-stdin"),
    ("unlock", "--password-stdin"),
    ("keys", "status"),
    ("operator", "list"),
    ("system", "orgs"),
    ("system", "audit", "export"),
]


def program_of(make_command, org, key):
    """Returns the command of a program that has the key."""
    program = make_command()
    program.environment |= {"DATANIKA_API_KEY": key, "DATANIKA_ORG": org}
    return program


def with_key(command, make_command, scope):
    """Returns the command of a program with a fresh key of the org."""
    options = ["--name", f"for {scope}", "--scope", scope]
    key = command.json("api-key", "create", *options)["key"]
    return program_of(make_command, command.org, key)


class TestKeys:
    def test_a_key_works_instead_of_a_login(self, command, make_command):
        options = ["--name", "ci", "--scope", "connections:read", "--scope", "orgs:read"]
        key = command.json("api-key", "create", *options)["key"]
        assert [row["name"] for row in command.json("api-key", "list")] == ["ci"]
        assert key not in command.run("api-key", "list", "--json").output
        program = program_of(make_command, command.org, key)
        assert program.json("connection", "list") == []
        assert program.error("api-key", "list")["status"] == 403
        command.run("api-key", "delete", "ci")
        error = program.error("connection", "list")
        assert error["status"] == 401
        assert "login" not in error["detail"], "a key is what it wants"

    @pytest.mark.parametrize("arguments", PERSONAL, ids=" ".join)
    def test_what_needs_a_person_says_so(self, command, make_command, arguments):
        program = with_key(command, make_command, "orgs:read")
        error = program.error(*arguments, stdin=f"{SECRET}\n{SECRET}\n")
        assert error["status"] == 401
        assert "run `datanika login`, and unset DATANIKA_API_KEY" in error["detail"]

    def test_logging_out_ends_the_login_and_not_the_key(self, command, make_command):
        program = with_key(command, make_command, "orgs:read")
        stolen = make_command()
        for other in (program, stolen):
            other.run("login", "--email", command.email, "--password-stdin", stdin=PASSWORD)
        rows = len(command.json("session", "list"))
        program.run("logout")
        assert len(command.json("session", "list")) == rows - 1
        assert program.json("org", "get", "--org", command.org)["slug"] == command.org


class TestOrgs:
    def test_another_org_does_not_exist(self, command, make_command):
        assert command.error("connection", "list", "--org", "nobody_has_this")["status"] == 404
        assert command.error("org", "use", "nobody_has_this")["status"] == 404

    def test_choosing_an_org(self, command):
        assert command.json("org", "use", command.org)["slug"] == command.org

    def test_members(self, command):
        rows = command.json("member", "list")
        assert [(row["email"], row["role"]) for row in rows] == [(command.email, "owner")]
        assert command.email in command.run("member", "list").stdout


class TestAudit:
    def test_what_was_done_newest_first(self, command):
        made = create(command)
        rows = command.json("audit", "list")
        assert rows[0]["resource_id"] == str(made["id"])
        assert SECRET not in json.dumps(rows)
        table = command.run("audit", "list").stdout
        assert command.email in table
        assert "organization" in table, "no column is cut where no terminal is"
        assert len(table.splitlines()) == len(rows) + 1

    def test_filters(self, command):
        create(command)
        rows = command.json("audit", "list", "--resource-type", "connection")
        assert {row["resource_type"] for row in rows} == {"connection"}
        assert command.json("audit", "list", "--action", "no.such.action") == []
        assert len(command.json("audit", "list", "--limit", "1")) == 1


class TestSchedules:
    def test_the_next_ticks(self, command, live_api):
        with live_api.application.state.session_factory() as session:
            org_id = command.json("org", "get")["id"]
            enter_org(session, org_id)
            upload = make_upload(session, org_id, name="Nightly")
            target = f"upload:{upload.id}"
        options = ["--cron", "0 6 * * *", "--timezone", "Asia/Tokyo", "--target", target]
        made = command.json("schedule", "create", *options)
        answer = command.json("schedule", "next", str(made["id"]), "--count", "2")
        assert answer["timezone"] == "Asia/Tokyo"
        assert [tick[11:] for tick in answer["ticks"]] == ["06:00:00+09:00"] * 2


class TestUploads:
    def test_a_warehouse_that_is_not_ready_is_named(self, command):
        create(command)
        arguments = ["upload", "create", "--name", "a", "--source", "crm", "--mode", "single_table"]
        error = command.error(*arguments, "--table", "t", exit_code=2)
        assert "warehouse is pending" in error["detail"]


class TestOutput:
    def test_tables_for_people(self, command):
        create(command)
        lines = command.run("connection", "list").stdout.splitlines()
        assert lines[0].split() == ["id", "slug", "name", "connector", "direction"]
        assert lines[1].split()[1:] == ["crm", "CRM", "postgres", "source"]

    def test_an_empty_list(self, command):
        assert "Nothing yet" in command.run("api-key", "list").stdout
