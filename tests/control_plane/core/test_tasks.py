"""Tasks in a real worker host's children, some of which misbehave: nobody waits for or believes them."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from control_plane.core import tasks, worker_hosts
from control_plane.core.errors import Forbidden, Sealed, Unauthorized, Unavailable, Upstream
from control_plane.core.tasks import Granted, PresentedToken, TaskFailed, TaskRunner
from control_plane.core.worker_hosts import WorkerHosts

CANARY = "canary-9c41-of-a-task"
CONNECTION = {"connector": "postgres", "config": {"host": "h", "user": "u", "password": CANARY}}
NETWORKS = {"allowed_networks": ["127.0.0.0/8"], "refused_endpoints": [["127.0.0.1", 1]]}
DEADLINE_SECONDS = 20.0


def grant(token: PresentedToken) -> Granted:
    """What tests redeem: each org has a connection that carries the org's own number."""
    config = {**CONNECTION["config"], "database": f"org{token.org_id}"}
    return Granted({"source": {**CONNECTION, "config": config}}, NETWORKS)


@pytest.fixture
def runner(task_host, worker_sockets) -> TaskRunner:
    return TaskRunner(WorkerHosts(worker_sockets), grant)


@pytest.fixture
def run(runner):
    """Returns a function that runs a task with a payload."""

    def run_task(kind, payload=None, *, org_id=1, deadline_seconds=DEADLINE_SECONDS):
        token = PresentedToken(org_id, "dtk_canary")
        return runner.run(kind, payload or {}, token=token, deadline_seconds=deadline_seconds)

    return run_task


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition, timeout_seconds=5.0):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_seconds, "not within the time"
        time.sleep(0.01)
    return time.monotonic() - started


def jobs_of(host, kind):
    return [one for one in host.info()["children"] if one.get("kind") == kind]


def the_job(host, kind, timeout_seconds=5.0):
    """Returns the process id of the one job of a kind, once it is there."""
    wait_until(lambda: jobs_of(host, kind), timeout_seconds)
    return jobs_of(host, kind)[0]["pid"]


@contextmanager
def going_on(run, kind, *arguments, **options):
    """Runs a task in a thread; gives what it ended with as the list's only entry."""
    ended = []

    def do():
        try:
            ended.append(run(kind, *arguments, **options))
        except Exception as error:  # noqa: BLE001 - looked at by the test
            ended.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    try:
        yield ended
    finally:
        thread.join(30)
        assert not thread.is_alive()


class TestSurroundings:
    def test_a_task_has_its_connections_and_nothing_of_the_platform(self, run, monkeypatch):
        monkeypatch.setenv("DATANIKA_SECRET_KEY", "canary-of-the-environment")
        seen = run("look_around", {"a": 1, "allowed_networks": ["0.0.0.0/0"]}, org_id=7)
        assert seen["payload"] == {"a": 1, **NETWORKS}
        assert seen["secrets"]["source"]["config"]["database"] == "org7"
        variables = seen["environment"].keys() - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}
        assert variables <= {"PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR"}
        assert "canary" not in json.dumps(seen["environment"])
        assert seen["modules"] == []
        assert sum(name.startswith("socket:") for name in seen["descriptors"]) == 1
        assert "dtk_canary" not in json.dumps(seen)

    def test_no_secret_is_where_others_can_read_it(self, run, task_host):
        with going_on(run, "hang", {"seconds": 1.5}) as ended:
            pid = the_job(task_host, "hang")
            time.sleep(0.3)
            for name in ("environ", "cmdline", "status"):
                assert CANARY.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        assert ended == ["awake"]
        assert CANARY not in task_host.said()
        assert "dtk_canary" not in task_host.said()

    def test_orgs_see_only_their_own(self, run):
        orgs = range(1, 9)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda org: run("look_around", org_id=org), orgs))
        databases = [seen["secrets"]["source"]["config"]["database"] for seen in found]
        assert databases == [f"org{org}" for org in orgs]
        assert len({seen["environment"]["HOME"] for seen in found}) == len(orgs)


class TestDeadline:
    @pytest.mark.parametrize("kind", ["hang", "hold_the_interpreter"])
    def test_ends_whatever_the_task_is_stuck_in(self, run, task_host, kind):
        started = time.monotonic()
        with pytest.raises(TaskFailed, match="longer than 1 seconds") as caught:
            run(kind, deadline_seconds=0.6)
        assert caught.value.code == "task.timeout"
        assert time.monotonic() - started < 0.6 + tasks.GRACE_SECONDS
        wait_until(lambda: not jobs_of(task_host, kind))

    def test_also_one_that_is_stopped(self, run, task_host):
        with going_on(run, "hang", deadline_seconds=1.0) as ended:
            psutil.Process(the_job(task_host, "hang")).suspend()
        assert ended[0].code == "task.timeout"

    def test_also_a_database_that_accepts_and_says_nothing(self, run):
        hole = socket.create_server(("127.0.0.1", 0))
        with closing(hole), pytest.raises(TaskFailed) as caught:
            run("block_in_libpq", {"port": hole.getsockname()[1]}, deadline_seconds=0.6)
        assert caught.value.code == "task.timeout"

    def test_what_a_finished_task_leaves_behind_is_killed_and_not_waited_for(self, run, task_host):
        before = set(psutil.Process(task_host.pid).children(recursive=True))
        assert run("leave_a_child") > 0
        wait_until(lambda: set(psutil.Process(task_host.pid).children(recursive=True)) <= before)


class TestAnswers:
    @pytest.mark.parametrize("text", ["", "no json\n", "[1]\n", '"ok"\n', "null\n", '{"ok": tru\n'])
    def test_unreadable_ones(self, run, text):
        with pytest.raises(Upstream, match="'say' ended without an answer"):
            run("say", {"text": text, "exit_code": 0})

    def test_one_that_is_nested_too_deeply(self, run):
        with pytest.raises(Upstream):
            run("say", {"text": "[", "times": 1_000_000, "exit_code": 0})
        with pytest.raises(Upstream):
            run("say", {"text": "[" * 100_000 + "\n", "exit_code": 0})

    def test_a_crash(self, run, task_host):
        with going_on(run, "hang") as ended:
            psutil.Process(the_job(task_host, "hang")).kill()
        assert isinstance(ended[0], Upstream)
        assert "ended without an answer" in ended[0].detail

    def test_one_that_is_too_long(self, run, monkeypatch):
        monkeypatch.setattr(worker_hosts, "MAXIMUM_ANSWER_BYTES", 1 << 20)
        with pytest.raises(Upstream, match="more than"):
            run("say", {"text": "x" * 1024, "times": 2048, "seconds": 30})

    def test_the_first_line_counts_whatever_follows(self, run):
        text = '{"ok": true, "value": 1}\n{"ok": true, "value": 2}\n'
        assert run("say", {"text": text}) == 1

    def test_a_failure_has_code_message_and_field(self, run):
        error = {"code": "connection.auth", "message": "wrong password", "field": "password"}
        with pytest.raises(TaskFailed) as caught:
            run("say", {"text": json.dumps({"ok": False, "error": error}) + "\n"})
        failed = caught.value
        assert (failed.code, failed.message, failed.field) == tuple(error.values())

    @pytest.mark.parametrize("error", ["", ', "error": 7', ', "error": {"field": [1]}'])
    def test_a_failure_without_words(self, run, error):
        with pytest.raises(TaskFailed, match=r"The task failed\."):
            run("say", {"text": f'{{"ok": false{error}}}\n'})

    def test_only_true_is_success(self, run):
        with pytest.raises(TaskFailed):
            run("say", {"text": '{"ok": 1, "value": 2}\n'})

    def test_a_long_message_is_cut(self, run):
        error = {"code": "x", "message": "m" * 10_000}
        with pytest.raises(TaskFailed) as caught:
            run("say", {"text": json.dumps({"ok": False, "error": error}) + "\n"})
        assert len(caught.value.message) == tasks.MAXIMUM_ERROR_CHARACTERS

    def test_an_unknown_kind_names_the_known_ones(self, run):
        with pytest.raises(TaskFailed, match=r"known: .*connection_test, "):
            run("format_disk")


class TestToken:
    def run_with(self, worker_sockets, error):
        def refuse(_):
            raise error

        runner = TaskRunner(WorkerHosts(worker_sockets), refuse)
        runner.run("look_around", {}, token=PresentedToken(1, "dtk"), deadline_seconds=5)

    @pytest.mark.parametrize("kind", [Unauthorized, Forbidden])
    def test_a_refused_one_is_no_refusal_of_the_person(self, task_host, worker_sockets, kind):
        with pytest.raises(TaskFailed, match="was used already") as caught:
            self.run_with(worker_sockets, kind("It was used already."))
        assert caught.value.code == "control_plane.refused"
        wait_until(lambda: not jobs_of(task_host, "look_around"))

    def test_sealed_meanwhile_is_sealed(self, task_host, worker_sockets):
        with pytest.raises(Sealed):
            self.run_with(worker_sockets, Sealed("sealed"))
        wait_until(lambda: not jobs_of(task_host, "look_around"))

    def test_it_is_not_used_where_there_is_no_host(self, tmp_path):
        def redeem(_):
            raise AssertionError("redeemed")

        runner = TaskRunner(WorkerHosts(tmp_path, wait_seconds=0.2), redeem)
        with pytest.raises(Unavailable, match="none runs") as caught:
            runner.run("discover", {}, token=PresentedToken(1, "dtk"), deadline_seconds=5)
        assert caught.value.retry_after_seconds


def test_a_closed_connection_ends_the_task(runner, task_host):
    """What the kernel does with the connections of a control plane that is killed."""
    child = runner.hosts.start(worker_hosts.Wanted("hang", 1, 30))
    with child:
        order = {"form": "task", "entry": "hang", "payload": {}, "secrets": {}}
        child.tell(order, 5)
        pid = the_job(task_host, "hang")
    assert wait_until(lambda: is_gone(pid)) < 1


CONTROL_PLANE = """
import sys
from pathlib import Path
from control_plane.core.tasks import Granted, PresentedToken, TaskRunner
from control_plane.core.worker_hosts import WorkerHosts

runner = TaskRunner(WorkerHosts(Path(sys.argv[1])), lambda token: Granted({}, {}))
runner.run("hang", {}, token=PresentedToken(1, "dtk"), deadline_seconds=60)
"""


def test_a_killed_control_plane_leaves_no_task(task_host, worker_sockets):
    command = [sys.executable, "-c", CONTROL_PLANE, str(worker_sockets)]
    with subprocess.Popen(command) as process:
        pid = the_job(task_host, "hang", timeout_seconds=30)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert wait_until(lambda: is_gone(pid)) < 3
    wait_until(lambda: not jobs_of(task_host, "hang"))


class TestHosts:
    """On one host, in this order: the last test ends it."""

    def test_a_stopped_one_is_not_waited_for(self, short_host):
        short_host.host.signal(signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(Unavailable, match="TimeoutError"):
            short_host.run("look_around")
        assert time.monotonic() - started < 6
        short_host.host.signal(signal.SIGCONT)
        # What it was asked for meanwhile is not done any more.
        wait_until(lambda: not jobs_of(short_host.host, "look_around"))
        assert short_host.run("look_around")["payload"] == NETWORKS

    def test_one_that_is_stopped_meanwhile_costs_the_deadline(self, short_host, monkeypatch):
        monkeypatch.setattr(tasks, "GRACE_SECONDS", 0.5)
        with going_on(short_host.run, "hang", deadline_seconds=1.5) as ended:
            pid = the_job(short_host.host, "hang")
            short_host.host.signal(signal.SIGSTOP)
        assert "its worker host says nothing" in str(ended[0])
        # The child sees the end of its channel although nobody ends it.
        wait_until(lambda: is_gone(pid))
        short_host.host.signal(signal.SIGCONT)

    def test_a_draining_one_takes_nothing_and_a_killed_one_is_a_clear_error(self, short_host):
        with going_on(short_host.run, "hang") as ended:
            pid = the_job(short_host.host, "hang")
            short_host.host.signal(signal.SIGTERM)
            with pytest.raises(Unavailable, match="draining"):
                short_host.run("look_around")
            short_host.host.process.kill()
            killed_at = time.monotonic()
        assert isinstance(ended[0], Upstream)
        assert "its worker host has ended" in ended[0].detail
        assert time.monotonic() - killed_at < 1
        assert wait_until(lambda: is_gone(pid)) < 1
        with pytest.raises(Unavailable, match="ConnectionRefusedError"):
            short_host.run("hang")


class ShortHost:
    """A host of one test's own, and tasks in it."""

    def __init__(self, host) -> None:
        self.host = host
        self._runner = TaskRunner(WorkerHosts(host.socket.parent, wait_seconds=0.3), grant)

    def run(self, kind, payload=None, *, deadline_seconds=10.0):
        token = PresentedToken(1, "dtk_canary")
        return self._runner.run(kind, payload or {}, token=token, deadline_seconds=deadline_seconds)


@pytest.fixture(scope="class")
def short_host(own_host):
    return ShortHost(own_host)
