"""Children that a test forks, fences in and lets attack; what they saw comes back as JSON."""

import contextlib
import faulthandler
import json
import os
import select
import shutil
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datanika_dagster.launcher.fence import (
    Fence,
    Level,
    Limits,
    Principal,
    Surroundings,
    namespaces,
    privileges,
    probing,
    system_calls,
    view,
)
from datanika_dagster.launcher.fence.view import View
from datanika_dagster.settings import Settings

ORDINARY = 65534
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What a child said and how it ended; `error` is the name of the exception that ended it."""

    said: Any
    error: str | None
    exit_code: int


def told(action: Callable[[], Any], fork: Callable[[], int] = os.fork) -> Answer:
    """Forks, does it there, and returns what came of it."""
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        os.close(reading)
        _tell(action, writing)
    os.close(writing)
    said = _read_all(reading, pid)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    content = json.loads(said) if said else {"said": None, "error": None}
    return Answer(content["said"], content["error"], exit_code)


def _tell(action: Callable[[], Any], writing: int) -> None:
    content = {"said": None, "error": None}
    try:
        os.setsid()
        faulthandler.disable()
        os.umask(0o077)  # as the host's children have it
        content["said"] = action()
    except BaseException as error:  # noqa: BLE001 - the process ends with this
        traceback.print_exc()
        content["error"] = type(error).__name__
    with os.fdopen(writing, "w") as answer:
        json.dump(content, answer)
    os._exit(1 if content["error"] else 0)


def _read_all(reading: int, pid: int) -> bytes:
    said = b""
    with os.fdopen(reading, "rb", buffering=0) as answer:
        while select.select([answer], [], [], PATIENCE_SECONDS)[0]:
            chunk = answer.read(65536)
            if not chunk:
                return said
            said += chunk
    os.killpg(pid, signal.SIGKILL)
    raise AssertionError("the child hung")


def as_ordinary(home: Path, action: Callable[[], Any]) -> Any:
    """Does it as a user without any privilege, who can read this interpreter and owns the home."""
    if os.geteuid() != 0:
        return action()

    def become_and_act() -> Any:
        closed = probing.closed_directories(view.code_directories())
        namespaces.unshare(has_network=True, has_own_processes=False, is_root=True)
        view.enter(View((home,), (), home / "tmp", (home, *closed), (ORDINARY, ORDINARY)))
        # One to write to: a namespace of users is told there whom it maps.
        system_calls.mount("proc", "/proc", "proc", 0)
        privileges.become(ORDINARY, ORDINARY)
        return action()

    answer = told(become_and_act)
    assert answer.error is None
    return answer.said


@dataclass
class Machine:
    """A host's view of itself, at one level, with a home in which orgs 1 and 2 work."""

    level: Level
    home: Path
    fence: Fence = field(init=False)

    def __post_init__(self) -> None:
        self.fence = Fence(
            self.level, home=self.home, closed=probing.closed_directories(view.code_directories())
        )

    @property
    def config(self) -> Settings:
        return Settings(home=self.home)

    def work_dir(self, name: str = "job_one") -> Path:
        return self.home / "work" / name

    def job(self, attack: Callable[[], Any], **given: Any) -> Answer:
        """Lets a job of org 1 attack."""
        return self._child(attack, Principal(given.pop("org_id", 1), "job"), given)

    def run(self, attack: Callable[[], Any], **given: Any) -> Answer:
        """Lets a run of org 1 attack."""
        return self._child(attack, Principal(given.pop("org_id", 1), "run"), given)

    def _child(
        self, attack: Callable[[], Any], principal: Principal, given: dict[str, Any]
    ) -> Answer:
        given = {"limits": Limits(), "work_dir": self.work_dir()} | given
        surroundings = Surroundings(**given)

        def as_host() -> Any:
            # Fresh, as the host's are.
            shutil.rmtree(surroundings.work_dir, ignore_errors=True)
            surroundings.work_dir.mkdir()
            self.fence.prepare(principal, surroundings)

            def fenced() -> Any:
                self.fence.enter(principal, surroundings)
                return attack()

            answer = told(fenced, lambda: self.fence.fork(principal))
            return [answer.said, answer.error, answer.exit_code]

        return Answer(*self.on_host(as_host))

    def on_host(self, action: Callable[[], Any]) -> Any:
        """Does something as a host of this level would."""
        return action() if self.level is Level.USERS else as_ordinary(self.home, action)
