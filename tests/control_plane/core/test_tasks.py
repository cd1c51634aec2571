"""The runner of tasks, with processes that misbehave: it waits for none and believes none."""

import json
import time

import psutil
import pytest

from control_plane.core import tasks
from control_plane.core.errors import Upstream
from control_plane.core.tasks import TaskFailed, TaskRunner

# The locale that Python coerces to and macOS's own mark: no process can be started without them.
OF_THE_SYSTEM = {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}


@pytest.fixture
def run(monkeypatch):
    """Returns a function that runs an unruly task with a payload."""
    monkeypatch.setattr(tasks, "TASK_MODULE", "tests.control_plane.core.unruly_task")
    monkeypatch.setattr(tasks, "GRACE_SECONDS", 0.5)

    def run_task(payload, *, token=None, deadline_seconds=10.0):
        runner = TaskRunner("http://127.0.0.1:1")
        return runner.run("unruly", payload, token=token, deadline_seconds=deadline_seconds)

    return run_task


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid):
    deadline = time.monotonic() + 5
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


class TestEnvironment:
    def test_is_the_allow_list(self, run, monkeypatch):
        monkeypatch.setenv("DATANIKA_SECRET_KEY", "canary")
        monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
        environment = run({})["environment"]
        assert environment.keys() - OF_THE_SYSTEM == {"PATH", "LANG"}

    def test_the_token_is_on_stdin_and_nowhere_else(self, run):
        seen = run({}, token="dtk_canary")
        assert seen["request"]["token"] == "dtk_canary"
        assert "dtk_canary" not in json.dumps([seen["environment"], seen["arguments"]])

    def test_it_is_a_process_group_of_its_own(self, run):
        assert run({})["is_group_leader"]


class TestDeadline:
    def test_the_whole_group_is_killed(self, run, tmp_path):
        file = tmp_path / "pid"
        started = time.monotonic()
        with pytest.raises(Upstream, match="'unruly' did not end within"):
            run({"hang": True, "child_pid_file": str(file)}, deadline_seconds=1.5)
        assert time.monotonic() - started < 10
        wait_until_gone(int(file.read_text()))

    def test_what_a_finished_task_leaves_behind_is_killed_too(self, run, tmp_path):
        file = tmp_path / "pid"
        with pytest.raises(Upstream):
            # The child holds stdout open, so that the answer never ends.
            run({"print": "{}", "child_pid_file": str(file)}, deadline_seconds=1.5)
        wait_until_gone(int(file.read_text()))


class TestAnswers:
    @pytest.mark.parametrize("text", ["", "no json", "[1]", '"ok"', "null", '{"ok": tru'])
    def test_unreadable_ones(self, run, text):
        with pytest.raises(Upstream, match="'unruly' ended without an answer"):
            run({"print": text})

    def test_a_crash(self, run):
        with pytest.raises(Upstream):
            run({"print": "", "exit_code": 1})

    def test_a_failure_has_code_message_and_field(self, run):
        error = {"code": "connection.auth", "message": "wrong password", "field": "password"}
        with pytest.raises(TaskFailed) as caught:
            run({"print": json.dumps({"ok": False, "error": error})})
        failed = caught.value
        assert (failed.code, failed.message, failed.field) == tuple(error.values())

    def test_a_failure_without_words(self, run):
        with pytest.raises(TaskFailed, match=r"The task failed\."):
            run({"print": '{"ok": false}'})

    def test_only_true_is_success(self, run):
        with pytest.raises(TaskFailed):
            run({"print": '{"ok": 1, "value": 2}'})

    def test_a_long_message_is_cut(self, run):
        error = {"code": "x", "message": "m" * 10_000}
        with pytest.raises(TaskFailed) as caught:
            run({"print": json.dumps({"ok": False, "error": error})})
        assert len(caught.value.message) == tasks.MAXIMUM_ERROR_CHARACTERS


def test_an_unknown_kind_is_refused_by_the_real_process():
    with pytest.raises(TaskFailed, match="known: connection_test"):
        TaskRunner("http://127.0.0.1:1").run("format_disk", {}, token=None, deadline_seconds=20)
