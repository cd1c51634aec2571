"""A run in a container, as Docker's and Kubernetes' launchers start one: here by hand, on this machine."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus
from dagster._grpc.types import ExecuteRunArgs

from datanika_dagster.launcher import one_run, work_directories
from datanika_dagster.launcher.one_run import CommandNotUnderstood, ContainerRun, run_id_of
from datanika_dagster.launcher.worker import Worker
from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.run_records import WAITS_FOR_UNLOCK
from tests.datanika_dagster.launcher.conftest import FLIGHTS, Stack
from tests.datanika_dagster.launcher.test_run_launcher import locked, waiting_loads
from tests.datanika_dagster.support.waiting import wait_for

END_SECONDS = 90


@contextmanager
def container(stack: Stack, run_id: str, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """Does what a launcher of containers does with a queued run, up to the container's command."""
    run = stack.run(run_id)
    starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
    stack.instance.report_dagster_event(starting, run_id)
    origin = run.job_code_origin
    assert origin is not None
    arguments = ExecuteRunArgs(origin, run_id, stack.instance.get_ref()).get_command_args()
    given = {"DATANIKA_CONTROL_PLANE_URL": stack.control_plane.url}
    with subprocess.Popen(
        [sys.executable, "-m", "datanika_dagster.launcher.one_run", *arguments],
        env={"PATH": "/usr/bin:/bin", "DATANIKA_SERVICE_TOKEN": "service-launcher"}
        | environment
        | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen) -> tuple[int, str]:
    output, _ = process.communicate(timeout=END_SECONDS)
    return process.returncode, output.decode()


def left_by_another(dagster_home) -> Path:
    """A working directory of another machine's, in a home that both share, older than is kept."""
    directory = work_directories.create(
        Path(dagster_home.environment["DATANIKA_HOME"]) / "work", "run"
    )
    owner = Worker("another machine", 7, "1")
    (directory / work_directories.OWNER).write_text(owner.as_tag())
    os.utime(directory, (0, 0))
    return directory


def test_does_the_run_and_ends_as_it_ends(stack: Stack, dagster_home):
    left = left_by_another(dagster_home)
    run_id = stack.queue(FLIGHTS)
    with container(stack, run_id, dagster_home.environment) as process:
        exit_code, output = ended(process)
    assert (exit_code, stack.run(run_id).status) == (0, DagsterRunStatus.SUCCESS), output
    assert left.is_dir(), "to tidy up for others is for hosts that stay"
    work_directories.remove(left)
    assert stack.warehouse.value("SELECT count(*) FROM raw.flights") == 3
    assert stack.control_plane.redeemed == {f"dtk_{run_id}"}


def test_a_stopped_container_cancels_its_run_and_leaves_nothing(stack: Stack, dagster_home):
    run_id = stack.queue(FLIGHTS)
    with locked(stack, "flights"), container(stack, run_id, dagster_home.environment) as process:
        wait_for(lambda: waiting_loads(stack), END_SECONDS)
        inside = psutil.Process(process.pid).children(recursive=True)
        (host,) = psutil.Process(process.pid).children()
        secrets = (dagster_home.storage_url, "service-launcher")
        assert not any(one in Path(f"/proc/{host.pid}/environ").read_text() for one in secrets)
        stack.instance.report_run_canceling(stack.run(run_id))
        process.send_signal(signal.SIGTERM)
        exit_code, output = ended(process)
    assert (exit_code, stack.run(run_id).status) == (1, DagsterRunStatus.CANCELED), output
    psutil.wait_procs(inside, timeout=5)
    assert [one for one in inside if one.is_running()] == []


def test_a_run_whose_host_dies_is_failed(stack: Stack, dagster_home):
    run_id = stack.queue(FLIGHTS)
    with locked(stack, "flights"), container(stack, run_id, dagster_home.environment) as process:
        wait_for(lambda: waiting_loads(stack), END_SECONDS)
        (host,) = psutil.Process(process.pid).children()
        host.kill()
        exit_code, output = ended(process)
    assert (exit_code, stack.run(run_id).status) == (1, DagsterRunStatus.FAILURE), output


class TestStart:
    """What a container does before its run has a process, on a host that is there already."""

    @pytest.fixture
    def starting(self, stack: Stack, monkeypatch):
        monkeypatch.setattr(one_run, "RETRY_SECONDS", 0.2)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        run_id = stack.queue(FLIGHTS)
        starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, "__ASSET_JOB")
        stack.instance.report_dagster_event(starting, run_id)
        yield run_id
        for number, handler in before.items():
            signal.signal(number, handler)

    @contextmanager
    def once_it_waits(self, stack: Stack, run_id: str, act: Callable[[], object]):
        def wait_and_act():
            wait_for(lambda: WAITS_FOR_UNLOCK in stack.log(run_id))
            act()

        thread = threading.Thread(target=wait_and_act)
        thread.start()
        yield
        thread.join()

    def test_a_sealed_platform_is_waited_for_in_the_container(self, stack: Stack, starting: str):
        stack.control_plane.refusal = (423, "The platform is sealed.")

        def unseal():
            stack.control_plane.refusal = None

        with self.once_it_waits(stack, starting, unseal):
            assert ContainerRun(stack.instance, starting).do() == 0
        assert stack.run(starting).status is DagsterRunStatus.SUCCESS
        enqueued = stack.instance.get_records_for_run(
            starting, of_type=DagsterEventType.RUN_ENQUEUED
        )
        assert len(enqueued.records) == 1, "it never went back into the queue"
        assert stack.log(starting).count(WAITS_FOR_UNLOCK) == 1

    @pytest.mark.parametrize(
        ("end", "status"),
        [
            ("report_run_canceling", DagsterRunStatus.CANCELED),
            ("report_run_failed", DagsterRunStatus.FAILURE),
        ],
    )
    def test_it_waits_for_no_run_that_is_to_end(self, stack: Stack, starting: str, end, status):
        stack.control_plane.refusal = (423, "The platform is sealed.")
        run = stack.run(starting)
        with self.once_it_waits(stack, starting, lambda: getattr(stack.instance, end)(run)):
            assert ContainerRun(stack.instance, starting).do() == 1
        assert stack.run(starting).status is status
        assert WORKER_TAG not in stack.run(starting).tags

    def test_a_second_container_does_nothing(self, stack: Stack, starting: str):
        assert ContainerRun(stack.instance, starting).do() == 0
        asked = len(stack.control_plane.authorized)
        assert ContainerRun(stack.instance, starting).do() == 0
        assert len(stack.control_plane.authorized) == asked
        steps = stack.instance.get_records_for_run(starting, of_type=DagsterEventType.STEP_START)
        assert len(steps.records) == 1


@pytest.mark.parametrize(
    "arguments", [[], ["api", "execute_run"], ["dagster", "api", "execute_step", "{}"]]
)
def test_another_command_is_refused(arguments: list[str]):
    with pytest.raises(CommandNotUnderstood, match="api execute_run"):
        run_id_of(arguments)
