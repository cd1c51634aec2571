"""Interactive tasks in a worker host's children: one order, one line."""

import json
from pathlib import Path

import psutil
import pytest

from tests.datanika_dagster.support.tasks import ask
from tests.datanika_dagster.transformations import projects

LOOPBACK = {"allowed_networks": ["127.0.0.0/8"], "refused_endpoints": []}


@pytest.fixture(scope="module")
def secrets(postgres_cluster):
    config = {
        "host": "127.0.0.1",
        "port": postgres_cluster.port,
        "database": "postgres",
        "user": "postgres",
        "password": postgres_cluster.superuser_password,
    }
    return {"airline": {"connector": "postgres", "config": config}}


def test_a_task_answers(task_host, secrets):
    payload = {"connection": "airline", "direction": "source", **LOOPBACK}
    answer = ask(task_host, "connection_test", payload, secrets)
    assert answer["ok"] is True, answer
    assert answer["value"]["server_version"]


def test_it_reaches_only_the_networks_that_it_is_told(task_host, secrets):
    payload = {"connection": "airline", "direction": "source"}
    answer = ask(task_host, "connection_test", payload, secrets)
    assert answer["error"]["code"] == "connection.network_denied"


def test_an_unknown_kind_is_an_error_that_names_the_known_ones(task_host):
    answer = ask(task_host, "format_disk", {})
    assert answer["ok"] is False
    assert "connection_test, " in answer["error"]["message"]


def test_what_it_says_and_prints_holds_no_secret(task_host, secrets, tmp_path):
    log = tmp_path / "output"
    password = secrets["airline"]["config"]["password"]
    with log.open("wb") as output:
        answer = ask(task_host, "blab", {"with": ""}, secrets, output=output.fileno())
        assert answer["value"] == password  # a value is the user's own data
        answer = ask(task_host, "blab", {"with": "crash"}, secrets, output=output.fileno())
    said = log.read_text()
    assert answer["error"]["code"] == "job.failed"
    assert password not in json.dumps(answer) + said
    assert said.count("[redacted]") == 6


def test_half_a_character_does_not_break_the_answer(task_host):
    answer = ask(task_host, "look_around", {"text": "a\ud800\0b"})
    assert answer["value"]["payload"]["text"] == "a��b"


def test_what_the_host_prepared_left_nothing_that_a_child_could_not_use(task_host, projects_dir):
    """dbt's parser has threads and its locks a process of their own; neither survives a fork."""
    assert task_host.info()["threads"] == 1
    others = psutil.Process(task_host.pid).children(recursive=True)
    commands = [Path(f"/proc/{one.pid}/cmdline") for one in others]
    assert not any(b"resource_tracker" in path.read_bytes() for path in commands if path.exists())
    models = projects.source(projects.model("one", "select 1 as n"))
    answer = ask(task_host, "dbt_parse", projects.payload(models, projects_dir))
    assert answer["ok"] is True, answer
