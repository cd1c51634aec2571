"""Interactive tasks as the control plane starts them: one process, one answer."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.datanika_dagster.support.control_plane_stand_in import ControlPlaneStandIn, serve


@pytest.fixture(scope="module")
def control_plane(postgres_cluster):
    config = {
        "host": "127.0.0.1",
        "port": postgres_cluster.port,
        "database": "postgres",
        "user": "postgres",
        "password": postgres_cluster.superuser_password,
    }
    stand_in = ControlPlaneStandIn(
        connections={"airline": {"connector": "postgres", "config": config}}
    )
    with serve(stand_in):
        yield stand_in


def run(control_plane, kind, payload, *, token=None, deadline_seconds=30.0):
    request = {
        "kind": kind,
        "payload": payload,
        "token": token,
        "control_plane_url": control_plane.url,
        "deadline_seconds": deadline_seconds,
    }
    process = subprocess.run(
        [sys.executable, "-m", "datanika_dagster.launcher.task"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        start_new_session=True,
        timeout=60,
        check=False,
    )
    return json.loads(process.stdout), process.stderr


def token(control_plane):
    _, answer = control_plane._token(f"task_{len(control_plane.tokens)}", {"org": "acme"})
    return answer["token"]


def test_a_task_redeems_its_token_and_answers(control_plane):
    payload = {"connection": "airline", "direction": "source"}
    answer, _ = run(control_plane, "connection_test", payload, token=token(control_plane))
    assert answer["ok"] is True, answer
    assert answer["value"]["server_version"]


def test_a_token_is_good_for_one_task(control_plane):
    payload = {"connection": "airline", "direction": "source"}
    used = token(control_plane)
    run(control_plane, "connection_test", payload, token=used)
    answer, _ = run(control_plane, "connection_test", payload, token=used)
    assert answer["ok"] is False
    assert answer["error"]["code"] == "control_plane.refused"


def test_the_callers_networks_do_not_count(control_plane):
    payload = {"connection": "airline", "direction": "source", "allowed_networks": ["0.0.0.0/0"]}
    answer, _ = run(control_plane, "connection_test", payload, token=token(control_plane))
    assert answer["ok"] is True  # loopback is in the networks that came with the token


def test_an_unknown_kind_is_an_error_that_names_the_known_ones(control_plane):
    answer, _ = run(control_plane, "format_disk", {})
    assert answer["ok"] is False
    assert "known: connection_test" in answer["error"]["message"]


def test_an_error_names_code_and_no_secret(control_plane, postgres_cluster):
    answer, stderr = run(
        control_plane,
        "discover",
        {"connection": "airline", "schema": "no such schema"},
        token=token(control_plane),
    )
    assert postgres_cluster.superuser_password not in json.dumps(answer) + stderr


def test_the_deadline_ends_it_with_an_answer(control_plane, tmp_path):
    started = time.monotonic()
    answer, _ = run(
        control_plane,
        "connection_test",
        {"connection": "airline", "direction": "source"},
        token=token(control_plane),
        deadline_seconds=0.01,
    )
    assert answer["error"]["code"] == "task.timeout"
    assert time.monotonic() - started < 20


def test_nothing_is_left_in_the_temporary_directory(control_plane):
    before = leftovers()
    run(control_plane, "format_disk", {})
    assert leftovers() <= before


def leftovers():
    return set(Path("/tmp").glob("datanika_task_*"))
