"""No secret is found anywhere but in ciphertexts and in `secrets.env`.

Unique secrets are put wherever the platform takes one; everything goes well and goes wrong with
them by REST, in runs and by the command line. Then they are looked for, while a run is in flight and
afterwards: in every file of the home, in every table of the databases, and in the command lines and
environments of every process of the stack.
"""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from datanika_manifest.connectors.registry import CONNECTORS
from datanika_stack.layout import Home
from datanika_stack.secrets import load
from tests.end_to_end.canary.needles import Canaries, forms_of
from tests.end_to_end.canary.planting import PLAIN_CONFIGS, Planter
from tests.end_to_end.canary.search import in_database, in_files, in_processes, with_descendants
from tests.end_to_end.conftest import ROOT, Org, RunningStack, wait_until

pytestmark = pytest.mark.timeout(900)
# Searched by SQL: their files are the server's own, and hold what is deleted for a while.
CLUSTERS = ("postgres", "source")


def command_line(stack: RunningStack, home_dir: Path, *arguments: str, text: str) -> str:
    """Runs the command as a person with a terminal's standard input, and returns its output."""
    done = subprocess.run(
        [sys.executable, "-m", "datanika_stack.cli.main", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(home_dir),
            "DATANIKA_HOME": str(stack.home),
            "DATANIKA_ORG": stack.demo["org"],
        },
        cwd=ROOT,
        check=False,
    )
    return done.stdout + done.stderr


def by_command_line(planter: Planter, home_dir: Path) -> None:
    """The same by the command line: secrets by standard input, and never shown again."""
    stack, canaries = planter.stack, planter.canaries
    outputs = [
        command_line(
            stack,
            home_dir,
            *("login", "--email", stack.demo["email"], "--password-stdin"),
            text=canaries.plant("wrong password of the command line"),
        )
    ]
    command_line(
        stack,
        home_dir,
        *("login", "--email", stack.demo["email"], "--password-stdin"),
        text=stack.demo["password"],
    )
    name = f"cli {secrets.token_hex(4)}"
    settings = {"host": "127.0.0.1", "port": stack.port + 3, "database": "airline", "user": "x"}
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    password = canaries.plant("password of the command line")
    arguments = ["--name", name, "--connector", "postgres", "--direction", "source"]
    outputs += [
        command_line(
            stack,
            home_dir,
            *("connection", "create", *arguments, *options, "--password-stdin", "--json"),
            text=password,
        ),
        command_line(stack, home_dir, "connection", "test", name.replace(" ", "_"), text=""),
        command_line(stack, home_dir, "connection", "list", "--json", text=""),
    ]
    assert name in outputs[-1], outputs[-1]
    for output in outputs:
        assert canaries.found_in(output.encode()) == set()


class Runs:
    """Runs of an upload whose source has a planted password."""

    def __init__(self, planter: Planter) -> None:
        self.org, self.canaries = planter.org, planter.canaries
        self.password = self.canaries.plant("password of a source that works")
        config = planter.new_source(self.password)
        name = f"Canary {secrets.token_hex(4)}"
        body = {"name": name, "connector": "postgres", "direction": "source"}
        self.source = self.org.post("connections", config=config, **body)
        self.upload = self.org.post(
            "uploads",
            name=name,
            source_connection_id=self.source["id"],
            destination_connection_id=self.org.get("warehouse")["connection_id"],
            config={
                "mode": "single_table",
                "table": "flights",
                "target_schema": name.lower().replace(" ", "_"),
                "write_disposition": "replace",
            },
        )
        self.org.post("publish", expected=200)

    def launch(self) -> dict[str, Any]:
        return self.org.post(f"uploads/{self.upload['id']}/runs", expected=202)

    def status(self, run: dict[str, Any]) -> str:
        return self.org.get(f"runs/{run['id']}")["status"]

    def succeed_watched(self, pids: "Pids") -> list[str]:
        """Runs to the end, looking at the processes meanwhile; returns what was found in them."""
        run, found = self.launch(), []
        while (status := self.status(run)) in {"pending", "running"}:
            found += in_processes(pids(), self.canaries)
        assert status == "success", status
        return found

    def fail(self) -> None:
        wrong = {"config": {"password": self.canaries.plant("password that became wrong")}}
        path = f"connections/{self.source['id']}"
        assert self.org.api.patch(path, json=wrong).status_code == 200
        assert self.org.wait_for_run(self.launch()["id"])["status"] == "failed"
        right = {"config": {"password": self.password}}
        assert self.org.api.patch(path, json=right).status_code == 200

    def cancel(self) -> None:
        run = self.launch()
        deadline = time.monotonic() + 60
        while self.status(run) == "pending" and time.monotonic() < deadline:
            time.sleep(0.1)
        self.org.api.post(f"runs/{run['id']}/cancel")
        assert self.org.wait_for_run(run["id"])["status"] in {"cancelled", "success"}

    def remove(self) -> None:
        """Leaves the org as it was, for the tests that come after."""
        for path in (f"uploads/{self.upload['id']}", f"connections/{self.source['id']}"):
            assert self.org.api.delete(path).status_code == 204
        self.org.post("publish", expected=200)

    def preview(self) -> None:
        for sql in ("select 1", "selct", "select 1/0", "select * from nowhere", "{{ target }}"):
            answer = self.org.api.post("transformations/preview", json={"sql": sql, "limit": 1})
            assert answer.status_code in {200, 422, 502}
            assert self.canaries.found_in(answer.content) == set(), sql


class Pids:
    """The processes of a stack, as they are now."""

    def __init__(self, stack: RunningStack) -> None:
        self._state_file = stack.home / "supervisor.json"
        self.seen: set[int] = set()

    def __call__(self) -> set[int]:
        state = json.loads(self._state_file.read_text())
        # PostgreSQL's servers are nobody's children: the supervisor names them.
        named = [process["pid"] for process in state["processes"] if process["pid"]]
        found = with_descendants([state["pid"], *named])
        self.seen |= found
        return found


@pytest.fixture(scope="module")
def planted(
    stack: RunningStack, acme: Org, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Canaries, list[str], Pids]:
    """Plants everything; gives also what the processes showed meanwhile."""
    canaries, pids = Canaries(), Pids(stack)
    planter = Planter(stack, acme, canaries)
    planter.everywhere()
    by_command_line(planter, tmp_path_factory.mktemp("home"))
    runs = Runs(planter)
    in_flight = runs.succeed_watched(pids)
    runs.fail()
    runs.preview()
    runs.cancel()
    runs.remove()
    return canaries, in_flight, pids


def databases(stack: RunningStack) -> Iterator[tuple[str, bool]]:
    """Returns the connection strings of every database of the stack, as a superuser."""
    values = load(Home.at(stack.home))
    for port, password in (
        (stack.port + 2, values.postgres_password),
        (stack.port + 3, values.source_password),
    ):
        url = make_url(f"postgresql://postgres@127.0.0.1:{port}/postgres").set(password=password)
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            query = "SELECT datname FROM pg_database WHERE datallowconn"
            names = [name for (name,) in connection.execute(query)]
        for name in names:
            dsn = url.set(database=name).render_as_string(hide_password=False)
            yield dsn, name in {"datanika", "dagster", "postgres"}


class TestNoSecretIsFound:
    def test_every_connector_was_planted(self):
        assert {kind for kind, one in CONNECTORS.items() if not one.is_managed} == set(
            PLAIN_CONFIGS
        ), "name a valid configuration in canary/planting.py"

    def test_in_files(self, stack: RunningStack, planted: tuple[Canaries, Any, Any]):
        clusters = [stack.home / name for name in CLUSTERS]
        leave_out = [stack.home / "secrets.env", *clusters]
        assert in_files(stack.home, planted[0], leave_out) == []

    def test_in_databases(self, stack: RunningStack, planted: tuple[Canaries, Any, Any]):
        found = [
            hit
            for dsn, everything in databases(stack)
            for hit in in_database(dsn, planted[0], everything=everything)
        ]
        assert found == []

    def test_in_processes_while_a_run_was_in_flight(self, planted: tuple[Canaries, Any, Pids]):
        _, in_flight, pids = planted
        assert in_flight == []
        assert len(pids.seen - pids()) >= 2, "no process of a run was seen"

    def test_in_processes_afterwards(self, planted: tuple[Canaries, Any, Pids]):
        canaries, _, pids = planted
        assert in_processes(pids(), canaries) == []


# Who must hold a key of the stack's own, beside the supervisor that hands them out, and why.
HOLDERS: dict[str, dict[str, str]] = {
    "secret_key": {
        "control_plane.main": "signs and checks tokens",
        "control_plane.worker": "mints task tokens",
    },
    "encryption_keys": {
        "control_plane.main": "opens data keys",
        "control_plane.worker": "opens data keys",
    },
    "app_password": {
        "control_plane.main": "opens its database",
        "control_plane.worker": "opens its database",
    },
    "dagster_password": {
        "datanika_dagster.gateway": "reads and writes Dagster's storage",
        "datanika_dagster.daemon": "reads and writes Dagster's storage",
    },
    "dagster_login_key": {
        "datanika_dagster.daemon": "computes the password of each run's login",
    },
}


def test_the_stacks_own_keys_are_only_where_they_must_be(stack: RunningStack):
    wrong: list[str] = []
    for name, value in vars(load(Home.at(stack.home))).items():
        one = Canaries()
        one.note(name, value)
        holders = HOLDERS.get(name, {})
        wrong += [
            hit
            for hit in in_processes(Pids(stack)(), one)
            if not any(holder in hit for holder in holders) or " cmdline " in hit
        ]
    assert sorted(set(wrong)) == []


class TestASecretWouldBeFound:
    @pytest.fixture
    def canaries(self) -> Canaries:
        made = Canaries()
        made.plant("on purpose")
        return made

    def forms(self, canaries: Canaries) -> list[bytes]:
        (secret,) = canaries.whole.values()
        texts = [secret, json.dumps(secret), *(f"{'x' * n}{secret}" for n in range(3))]
        return [
            *(text.encode() for text in texts),
            *(form for text in texts for form in list(forms_of(text))[1:4]),
        ]

    def test_in_a_file(self, canaries: Canaries, tmp_path: Path):
        for number, form in enumerate(self.forms(canaries)):
            (tmp_path / f"{number}.log").write_bytes(b"x" * 999_990 + form + b"y" * 30)
        assert len(in_files(tmp_path, canaries)) == len(self.forms(canaries))

    def test_in_a_table(self, canaries: Canaries, stack: RunningStack):
        (secret,) = canaries.whole.values()
        dsn, _ = next(one for one in databases(stack) if "/postgres" in one[0])
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE canary (value jsonb, raw bytea)")
            try:
                row = [json.dumps({"a": secret}), secret.encode()]
                connection.execute("INSERT INTO canary VALUES (%s, %s)", row)
                assert len(in_database(dsn, canaries)) == 1
            finally:
                connection.execute("DROP TABLE canary")

    def test_in_a_process(self, canaries: Canaries):
        (secret,) = canaries.whole.values()
        sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
        for arguments, environment in (([secret], {}), ([], {"SECRET": secret})):
            process = subprocess.Popen([*sleeping, *arguments], env=environment)
            try:
                wait_until(lambda: in_processes([process.pid], canaries), bool, 10)  # noqa: B023
            finally:
                process.kill()
                process.wait()
