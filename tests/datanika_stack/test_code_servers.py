"""Which code servers run, under which names, and what Dagster is told about them."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from datanika_manifest.automation import Schedule
from datanika_stack.base_environment import base_environment
from datanika_stack.code_servers import CodeServerPlan, CodeServers
from datanika_stack.locations import CodeLocation
from datanika_stack.own_users import OwnUsers
from datanika_stack.process_spec import ProcessState
from datanika_stack.wakefulness import Automation

LONG = "a" * 60
LOCATIONS = [
    CodeLocation(7, LONG, "b" * 64, "token"),
    CodeLocation(8, hashlib.sha256(LONG.encode()).hexdigest()[:40], "c" * 64, "token"),
]


@pytest.fixture
def plan(short_dir: Path) -> CodeServerPlan:
    for name in ("dagster", "logs"):
        (short_dir / name).mkdir()
    return CodeServerPlan(
        dagster_home=short_dir / "dagster",
        socket_dir=short_dir / "code",
        log_dir=short_dir / "logs",
        control_plane_url="http://127.0.0.1:9",
        dagster_storage_url="postgresql+psycopg2://nobody@127.0.0.1:9/none",
        dagster_login_key="key",
        environment=base_environment(),
        idle_after=timedelta(0),
    )


@pytest.fixture
def servers(plan: CodeServerPlan) -> Iterator[CodeServers]:
    made = CodeServers(plan)
    made.prepare()
    yield made
    for process in made.processes():
        process.end(grace_seconds=0)


def publish(servers: CodeServers, locations: list[CodeLocation]) -> None:
    servers.sync(locations)
    servers.tick()


def workspace(plan: CodeServerPlan) -> dict[str, str]:
    entries = json.loads(plan.workspace_file.read_text())["load_from"]
    servers = [entry["grpc_server"] for entry in entries]
    return {server["location_name"]: server["socket"] for server in servers}


def test_no_org_can_choose_the_socket_of_another(
    servers: CodeServers, plan: CodeServerPlan
) -> None:
    publish(servers, LOCATIONS)
    assert workspace(plan) == {
        f"org_{LOCATIONS[0].org}": str(plan.socket_dir / "org_7" / "server.sock"),
        f"org_{LOCATIONS[1].org}": str(plan.socket_dir / "org_8" / "server.sock"),
    }
    names = {process.spec.name for process in servers.processes()}
    assert names == {"code_server_7", "code_server_8"}
    assert {path.stem for path in plan.log_dir.iterdir()} == names


def test_a_full_disk_is_outlived(servers: CodeServers, plan: CodeServerPlan) -> None:
    shutil.rmtree(plan.log_dir)
    plan.workspace_file.unlink()
    # A directory in its place refuses the file, whoever runs the test.
    plan.workspace_file.mkdir()
    publish(servers, LOCATIONS[:1])
    assert [process.state for process in servers.processes()] == [ProcessState.WAITING]
    plan.workspace_file.rmdir()
    plan.log_dir.mkdir()
    publish(servers, list(LOCATIONS[:1]))
    assert list(workspace(plan)) == [LOCATIONS[0].name]
    assert not list(plan.dagster_home.glob(".workspace*"))


class TestOneOrgsTrouble:
    """What goes wrong with one org's definitions or process is no other's trouble."""

    # A login needs a positive number: no command can be made for this one.
    BROKEN = CodeLocation(0, "broken", "d" * 64, "token")

    def test_the_others_are_served(
        self, servers: CodeServers, plan: CodeServerPlan, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                publish(servers, [self.BROKEN, *LOCATIONS])
        names = {process.spec.name for process in servers.processes()}
        assert names == {"code_server_7", "code_server_8"}
        assert [text for text in caplog.messages if "org_broken" in text] == [
            "org_broken is left alone for now: an org's number is positive, not 0"
        ]
        said = json.loads((plan.dagster_home / "code_servers.json").read_text())["servers"]
        assert said["org_broken"]["reason"] == "an org's number is positive, not 0"
        assert said[LOCATIONS[0].name]["reason"] is None

    def test_a_changed_manifest_of_it_neither(self, servers: CodeServers) -> None:
        servers.sync([self.BROKEN])
        servers.sync([replace(self.BROKEN, sha256="e" * 64), LOCATIONS[0]])
        servers.tick()
        assert [process.spec.name for process in servers.processes()] == ["code_server_7"]

    def test_a_user_that_there_cannot_be(self, plan: CodeServerPlan) -> None:
        made = CodeServers(replace(plan, uid_base=2**33))
        made._users = OwnUsers(2**33)
        try:
            publish(made, [LOCATIONS[0]])
            (process,) = made.processes()
            assert process.state is ProcessState.WAITING
            assert process.reason.startswith("it cannot be started: ")
        finally:
            for process in made.processes():
                process.end(grace_seconds=0)

    @pytest.mark.parametrize(
        ("cron", "timezone"), [("0 0 30 2 *", "UTC"), ("0 0 * * *", "Europe/Atlantis")]
    )
    def test_an_org_whose_next_tick_nobody_can_tell_stays_awake(
        self, plan: CodeServerPlan, cron: str, timezone: str
    ) -> None:
        schedule = Schedule(
            id=1, name="odd", cron=cron, timezone=timezone, is_active=True,
            asset_keys=(("acme", "warehouse", "raw", "planes"),),
        )  # fmt: skip
        odd = replace(LOCATIONS[0], automation=Automation(schedules=(schedule,)))
        made = CodeServers(replace(plan, idle_after=timedelta(minutes=15)))
        made.prepare()
        try:
            publish(made, [odd])
            assert [process.spec.name for process in made.processes()] == ["code_server_7"]
        finally:
            for process in made.processes():
                process.end(grace_seconds=0)


class TestRestart:
    def test_the_locations_of_before_stay_known_before_anything_is_published(
        self, servers: CodeServers, plan: CodeServerPlan
    ) -> None:
        publish(servers, LOCATIONS)
        before = workspace(plan)
        assert before
        CodeServers(plan).prepare()
        assert workspace(plan) == before

    def test_they_are_looked_for_where_this_start_puts_its_sockets(
        self, servers: CodeServers, plan: CodeServerPlan
    ) -> None:
        publish(servers, LOCATIONS[:1])
        moved = replace(plan, socket_dir=plan.socket_dir.with_name("elsewhere"))
        CodeServers(moved).prepare()
        assert workspace(plan) == {
            LOCATIONS[0].name: str(moved.socket_dir / "org_7" / "server.sock")
        }

    def test_what_is_published_no_more_goes(
        self, servers: CodeServers, plan: CodeServerPlan
    ) -> None:
        publish(servers, LOCATIONS)
        again = CodeServers(plan)
        again.prepare()
        publish(again, [])
        assert workspace(plan) == {}

    @pytest.mark.parametrize(
        "content",
        ["", "load_from: []", "[]", '{"load_from": 1}', '{"load_from": [{"python_module": "x"}]}'],
    )
    def test_a_file_of_another_form_names_nothing(self, plan: CodeServerPlan, content: str) -> None:
        plan.workspace_file.write_text(content)
        CodeServers(plan).prepare()
        assert workspace(plan) == {}
