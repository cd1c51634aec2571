"""`datanika demo`, as a user runs it: a stack of its own, real data, everything stopped after."""

import json
import signal
import socket
import subprocess
import sys
import time

import httpx
import psycopg
import pytest

from datanika_stack import control
from datanika_stack.layout import Home
from datanika_stack.ports import is_listening

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PORT = 18540
ROWS = {"airlines": 16, "airports": 1458, "planes": 3322, "weather": 26115, "flights": 336776}
MODELS = {"stg_flights": 336776, "stg_weather": 26115, "mart_carrier_daily_delays": 5432}
KEYS = [
    "org",
    "email",
    "password",
    "api_url",
    "dagster_url",
    "source_url",
    "warehouse_url",
    "tables",
    "models",
    "tests",
    "seconds",
]


def start(home, *options):
    command = [sys.executable, "-m", "datanika_stack.cli.main", "demo", "--home", str(home)]
    return subprocess.Popen(
        [*command, "--port", str(PORT), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def nothing_listens():
    return not any(is_listening(PORT + offset) for offset in range(4))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    yield directory
    control.stop(Home.at(directory))


@pytest.fixture(scope="module")
def first(home):
    """The first demo of the home: headless, and gone afterwards."""
    process = start(home, "--json", "--exit")
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    return json.loads(output)


class TestHeadless:
    def test_one_object_with_the_agreed_keys(self, first):
        assert list(first) == KEYS
        assert first["org"] == "acme"

    def test_rows_are_those_of_the_data_set(self, first):
        assert first["tables"] == ROWS
        assert first["models"] == MODELS

    def test_one_test_warns_and_the_others_pass(self, first):
        others = {name: s for name, s in first["tests"].items() if s != "pass"}
        assert others == {"relationships_tailnum_planes": "warn"}
        assert len(first["tests"]) == 11

    def test_every_phase_was_measured(self, first):
        phases = {"stack", "source", "sign_up", "define", "publish", "run", "load", "transform"}
        assert phases <= first["seconds"].keys()

    def test_everything_is_stopped(self, home, first):
        assert control.status_of(Home.at(home)).state == "stopped"
        assert nothing_listens()


class TestAgain:
    def test_the_home_is_resumed_shown_and_stopped_by_ctrl_c(self, home, first):
        process = start(home, "--json")
        try:
            report = json.loads(process.stdout.readline())
            assert {k: report[k] for k in ("org", "email", "password", "tables", "models")} == {
                k: first[k] for k in ("org", "email", "password", "tables", "models")
            }
            self.look_around(report)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)
        assert process.returncode == 0
        assert control.status_of(Home.at(home)).state == "stopped"
        assert nothing_listens()

    def look_around(self, report):
        """What the demo says can be looked at, can be."""
        assert httpx.get(f"{report['api_url']}/docs").status_code == 200
        with psycopg.connect(report["warehouse_url"]) as warehouse:
            row = warehouse.execute(
                "select max(share_delayed) from marts.mart_carrier_daily_delays"
            )
            assert row.fetchone()[0] == 1
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                warehouse.execute("delete from airline.flights")
        login = {"email": report["email"], "password": report["password"]}
        with httpx.Client() as browser:
            answer = browser.post(f"{report['api_url']}/api/v1/auth/login", json=login)
            assert answer.json()["user"]["is_platform_operator"]
            assert browser.get(report["dagster_url"], follow_redirects=True).status_code == 200


class TestFailure:
    def test_a_busy_port_is_named_and_nothing_stays(self, home, first):
        with socket.socket() as other:
            # Connections of the stack before may still be in TIME_WAIT.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", PORT))
            other.listen()
            process = start(home, "--json", "--exit")
            output, errors = process.communicate(timeout=120)
        assert process.returncode == 1
        assert output == ""
        assert str(PORT) in errors
        time.sleep(0.2)
        assert nothing_listens()
