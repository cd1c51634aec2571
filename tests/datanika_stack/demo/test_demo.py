"""How `datanika demo` starts, resumes, ends and fails; what it loads: tests/end_to_end/test_demo.py."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from datanika_stack import control
from datanika_stack.layout import Home
from datanika_stack.polling import wait_for
from datanika_stack.ports import is_listening
from tests.datanika_stack.cli.conftest import Command
from tests.fixtures.ports import PORTS_OF_A_STACK, free_base_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def start(home, port, *options):
    """Starts a demo as a shell starts what it runs in its background: with Ctrl-C ignored."""
    command = [sys.executable, "-m", "datanika_stack.cli.main", "demo", "--home", str(home)]
    return subprocess.Popen(
        ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command, "--port", str(port), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def nothing_listens(port):
    return not any(is_listening(port + offset) for offset in range(PORTS_OF_A_STACK))


@pytest.fixture(scope="module")
def port():
    return free_base_port()


@contextmanager
def new_home():
    """Gives a home that no other run of pytest closes, as it does with directories of its own.

    PostgreSQL's user enters through an access list, and `chmod 700` above takes that away.
    """
    directory = Path(tempfile.mkdtemp(prefix="dnd", dir="/tmp"))
    try:
        yield directory
    finally:
        control.stop(Home.at(directory))
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def home():
    with new_home() as directory:
        yield directory


@pytest.fixture(scope="module")
def first(home, port):
    """The first demo of the home: headless, and gone afterwards."""
    process = start(home, port, "--json", "--exit")
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    return json.loads(output)


class TestHeadless:
    def test_every_phase_was_measured(self, first):
        phases = {"stack", "source", "sign_up", "define", "publish", "run", "load", "transform"}
        assert phases <= first["seconds"].keys()

    def test_everything_is_stopped(self, home, port, first):
        assert control.status_of(Home.at(home)).state == "stopped"
        assert nothing_listens(port)


@pytest.fixture(scope="module")
def running(home, port, first):
    """The same home again, without --exit: stays up while the tests look around."""
    process = start(home, port, "--json")
    report = json.loads(process.stdout.readline() or "{}")
    yield report
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert control.status_of(Home.at(home)).state == "stopped"
    assert nothing_listens(port)


@pytest.fixture(scope="module")
def command(running, home, tmp_path_factory):
    """The command of somebody else, who signs up on the running stack."""
    directory = str(tmp_path_factory.mktemp("other"))
    made = Command({"XDG_CONFIG_HOME": directory, "HOME": directory, "DATANIKA_HOME": str(home)})
    options = ["--name", "Second", "--email", "second@example.com", "--password-stdin"]
    made.json("org", "create", *options, stdin="correct horse battery\n")
    return made


class TestAgain:
    def test_the_home_is_resumed(self, first, running):
        same = ("org", "email", "password", "tables", "models")
        assert {key: running[key] for key in same} == {key: first[key] for key in same}

    def test_warehouse_can_be_read_only(self, running):
        with psycopg.connect(running["warehouse_url"]) as warehouse:
            row = warehouse.execute(
                "select max(share_delayed) from marts.mart_carrier_daily_delays"
            )
            assert row.fetchone()[0] == 1
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                warehouse.execute("delete from airline.flights")

    def test_dagster_opens_for_the_owner_only(self, running):
        login = {"email": running["email"], "password": running["password"]}
        headers = {"Accept": "text/html"}
        with httpx.Client(follow_redirects=True, headers=headers) as browser:
            page = browser.get(running["dagster_url"])
            assert "Sign in" in page.text
            answer = browser.post(f"{running['api_url']}/api/v1/auth/login", json=login)
            assert answer.json()["user"]["is_platform_operator"]
            page = browser.get(running["dagster_url"])
            assert page.status_code == 200
            assert "Sign in" not in page.text


class TestSecondOrgByCommandLine:
    """The journey of the README, by the command line, beside the demo's org."""

    def test_sees_nothing_of_the_first(self, command, running):
        for noun in ("upload", "transformation", "schedule", "dependency", "run"):
            assert command.json(noun, "list") == []
        assert [row["slug"] for row in command.json("connection", "list")] in ([], ["warehouse"])
        assert command.error("upload", "list", "--org", running["org"])["status"] == 404

    def test_define_publish_run(self, command, running, tmp_path):
        self.define(command, running, tmp_path)
        published = command.json("publish", "--wait")
        assert command.json("manifest")["sha256"] == published["sha256"]
        run = command.json(
            "run", "launch", "upload:airlines", "transformation:carriers", "--follow"
        )
        assert {asset["name"]: asset["rows"] for asset in run["assets"]} == {
            "airlines": 16,
            "carriers": 16,
        }
        assert [check["status"] for check in run["checks"]] == ["pass"]
        assert command.json("run", "list")[0]["id"] == run["id"]
        assert "airlines" in command.run("run", "logs", run["id"]).stdout
        self.fail_clearly(command)

    def define(self, command, running, tmp_path):
        source = psycopg.conninfo.conninfo_to_dict(running["source_url"])
        settings = {"host": "127.0.0.1", "port": source["port"], "database": "airline"}
        options = [f"--set={name}={value}" for name, value in settings.items()]
        command.json(
            *("connection", "create", "--name", "source", "--connector", "postgres"),
            *("--direction", "source", f"--set=user={source['user']}", *options),
            "--password-stdin",
            stdin=f"{source['password']}\n",
        )
        assert command.json("connection", "test", "source")["ok"]
        assert wait_for(
            lambda: command.json("warehouse", "get")["state"] == "ready", timeout_seconds=30
        )
        command.json(
            *("upload", "create", "--name", "airlines", "--source", "source"),
            *("--mode", "single_table", "--table", "airlines", "--target-schema", "raw"),
            *("--write-disposition", "replace"),
        )
        model = tmp_path / "carriers.sql"
        model.write_text("select carrier, upper(name) as name from {{ source('raw', 'airlines') }}")
        tests = tmp_path / "carriers.json"
        tests.write_text(json.dumps({"tests": [{"type": "unique", "column": "carrier"}]}))
        command.json(
            *("transformation", "create", "--name", "carriers", "--schema", "marts"),
            *("--sql-file", str(model), "--materialization", "table", "--file", str(tests)),
        )
        upload, carriers = "upload:airlines", "transformation:carriers"
        command.json("dependency", "create", "--upstream", upload, "--downstream", carriers)
        command.json("schedule", "create", "--cron", "0 6 * * *", "--target", upload)
        command.json("freshness-policy", "create", "--target", upload, "--max-age-seconds", "3600")

    def fail_clearly(self, command):
        """A wrong password is the reason of a failed test, and the exit code says so."""
        command.run("connection", "update", "source", "--password-stdin", stdin="wrong-canary\n")
        result = command.run("connection", "test", "source", "--json", exit_code=1)
        assert json.loads(result.stdout)["code"] == "connection.auth"
        assert "wrong-canary" not in result.output


class TestFailure:
    def test_a_busy_port_is_named_and_nothing_stays(self):
        port = free_base_port()
        with new_home() as home, socket.create_server(("127.0.0.1", port)):
            process = start(home, port, "--json", "--exit")
            output, errors = process.communicate(timeout=120)
        assert process.returncode == 1
        assert output == ""
        assert str(port) in errors
        assert nothing_listens(port)


class TestInterrupted:
    def test_ctrl_c_before_its_end_stops_everything(self):
        port = free_base_port()
        with new_home() as directory:
            home = Home.at(directory)
            process = start(directory, port, "--json")
            try:
                assert wait_for(
                    lambda: control.status_of(home).state == "running", timeout_seconds=180
                )
                process.send_signal(signal.SIGINT)
                output, errors = process.communicate(timeout=60)
            finally:
                process.kill()
                process.wait()
        assert process.returncode == 130, errors
        assert output == ""
        assert nothing_listens(port)
