"""One watched process, and the state of a home; with real processes."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from datanika_stack.health import always
from datanika_stack.layout import Home
from datanika_stack.process_spec import ProcessSpec, ProcessState
from datanika_stack.processes import ManagedProcess
from datanika_stack.state import SupervisorLock, is_supervised

Run = Callable[..., ManagedProcess]
RETIRING = (
    "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "pathlib.Path('up').touch(); time.sleep(600)"
)
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
    "start_new_session=True); print('up', flush=True); time.sleep(600)"
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started: list[ManagedProcess] = []

    def start(code: str, **options: object) -> ManagedProcess:
        spec = ProcessSpec("it", (sys.executable, "-c", code), {"A": "1"}, tmp_path, **options)
        process = ManagedProcess(spec, tmp_path)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.end(grace_seconds=0)


def tick_until(process: ManagedProcess, condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        process.tick()
        time.sleep(0.02)


def test_gets_exactly_its_environment(run: Run, tmp_path: Path) -> None:
    process = run("import os; print(sorted(os.environ), flush=True)")
    tick_until(process, lambda: (tmp_path / "it.log").read_text() != "")
    shown = (tmp_path / "it.log").read_text()
    assert "'A'" in shown
    assert "PATH" not in shown


def test_is_started_again_with_growing_pauses(run: Run) -> None:
    process = run("raise SystemExit(3)")
    started = time.monotonic()
    tick_until(process, lambda: process.restarts >= 3)
    assert time.monotonic() - started >= 0.2 + 0.4


def test_comes_back_when_killed(run: Run) -> None:
    process = run("import time; time.sleep(600)")
    tick_until(process, lambda: process.state is ProcessState.RUNNING)
    before = process.pid
    os.kill(before or 0, signal.SIGKILL)
    tick_until(process, lambda: process.state is ProcessState.RUNNING and process.pid != before)
    assert process.restarts == 1


def test_the_old_one_is_gone_before_the_new_one_starts(run: Run, tmp_path: Path) -> None:
    process = run("import time; time.sleep(600)", health=always)
    tick_until(process, lambda: process.state is ProcessState.RUNNING)
    old = psutil.Process(process.pid)
    process.replace(
        ProcessSpec("it", (sys.executable, "-c", "import time; time.sleep(601)"), {}, tmp_path)
    )
    tick_until(process, lambda: process.pid not in (None, old.pid))
    assert not old.is_running()
    assert process.restarts == 0


def test_one_that_ignores_sigterm_is_killed_with_what_it_started(run: Run, tmp_path: Path) -> None:
    process = run(STUBBORN, grace_seconds=0.5)
    tick_until(process, lambda: "up" in (tmp_path / "it.log").read_text())
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) == 2
    process.end()
    gone = [not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in family]
    assert all(gone)


def test_what_cannot_be_started_waits_and_is_tried_again(run: Run, tmp_path: Path) -> None:
    # A directory where its log should be refuses it, whoever runs the test.
    (tmp_path / "it.log").mkdir()
    process = run("import time; time.sleep(600)")
    assert process.state is ProcessState.WAITING
    tick_until(process, lambda: process.restarts >= 3)
    (tmp_path / "it.log").rmdir()
    tick_until(process, lambda: process.state is ProcessState.RUNNING)


def test_a_hung_one_is_replaced(run: Run) -> None:
    answers = iter([True])
    process = run(
        "import time; time.sleep(600)", health=lambda: next(answers, False), hung_seconds=0.1
    )
    first = process.pid
    tick_until(process, lambda: process.pid not in (first, None), seconds=20)


def test_one_that_retires_goes_on_for_as_long_as_it_answers(run: Run, tmp_path: Path) -> None:
    process = run(RETIRING, health=(tmp_path / "up").exists, hung_seconds=0.1)
    tick_until(process, lambda: process.state is ProcessState.RUNNING)
    process.retire()
    first, until = process.pid, time.monotonic() + 0.5
    tick_until(process, lambda: time.monotonic() > until)
    assert (process.pid, process.state) == (first, ProcessState.STOPPING)


def test_one_that_hangs_while_it_retires_is_ended_for_good(run: Run, tmp_path: Path) -> None:
    up = tmp_path / "up"
    process = run(RETIRING, health=up.exists, hung_seconds=0.1, stop_signal=signal.SIGINT)
    tick_until(process, lambda: process.state is ProcessState.RUNNING)
    process.retire()
    up.unlink()
    tick_until(process, lambda: process.state is ProcessState.STOPPED, seconds=20)
    assert process.pid is None
    assert process.restarts == 0


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    assert not is_supervised(home)
    lock = SupervisorLock(home)
    assert lock.acquire()
    assert is_supervised(home)
    assert not SupervisorLock(home).acquire()
    lock.release()
    assert not is_supervised(home)


def test_why_it_ended_is_its_last_line(run: Run) -> None:
    process = run("import sys; sys.exit('the disk is not what it was')")
    tick_until(process, lambda: process.restarts > 0)
    assert process.info().reason == "exit code 1: the disk is not what it was"
