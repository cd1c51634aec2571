"""Which process a worker is: alive, ended, a zombie, another one under the same number."""

import os
import subprocess
import sys
import time
from dataclasses import replace

from datanika_dagster.launcher import worker


def start(code):
    return subprocess.Popen([sys.executable, "-c", code])


def test_a_running_process_is_alive_and_survives_being_a_tag():
    process = start("import time; time.sleep(60)")
    try:
        of_run = worker.from_tag(worker.of_pid(process.pid).as_tag())
        assert worker.is_alive(of_run)
    finally:
        process.kill()
        process.wait()
    assert not worker.is_alive(of_run)


def test_a_zombie_is_not_alive():
    process = start("import sys; sys.stdin.read()")
    of_run = worker.of_pid(process.pid)
    process.kill()
    deadline = time.monotonic() + 10
    while worker.is_alive(of_run) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.returncode is None  # not waited for: still a zombie
    assert not worker.is_alive(of_run)
    process.wait()


def test_another_process_under_the_same_number_is_not_it():
    me = worker.of_pid(os.getpid())
    assert not worker.is_alive(replace(me, started="1"))


def test_a_process_of_another_machine_is_not_here():
    me = replace(worker.of_pid(os.getpid()), machine="elsewhere")
    assert not worker.is_here(me)
    assert not worker.is_alive(me)


def test_a_tag_that_somebody_made_up_is_nobody():
    assert worker.from_tag(None) is None
    assert worker.from_tag("{}") is None
    assert worker.from_tag('{"machine": "x", "pid": "many", "started": "1"}') is None
