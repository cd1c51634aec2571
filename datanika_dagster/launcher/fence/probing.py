"""Finds out how far this machine lets a worker host fence its children in: it tries.

Each trial is a forked child that enters the fence and looks around, so a kernel, a container or a
security module that promises more than it keeps is not believed.
"""

import contextlib
import os
import select
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal

import pydantic

import datanika_dagster.launcher.fence.view as view
from datanika_dagster import settings
from datanika_dagster.launcher import work_directories
from datanika_dagster.launcher.fence.barrier import Fence
from datanika_dagster.launcher.fence.limits import LIMITS
from datanika_dagster.launcher.fence.surroundings import Level, Principal, Surroundings
from datanika_dagster.settings import Settings

TRIAL_SECONDS: Final = 20.0
NOT_ROOT: Final = (
    "the stack is not root, so jobs of all orgs have one user, each in namespaces of its own"
)
# https://docs.kernel.org/admin-guide/sysctl/user.html, and Ubuntu's own.
SWITCHES: Final = (
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
READ_BY_ALL: Final = (os.__file__, pydantic.__file__, __file__, "/dev/urandom")
"""The standard library, packages, our own code and devices: one of each."""

CAPABILITIES: Final = (
    *("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"),
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL"),
)
"""What root must have for the level `users`, and no more; deploy/run-containers names them, too."""
_NO_ORG: Final = 0
_REASON_BYTES: Final = 4096


def probe(config: Settings | None = None) -> Fence:
    """Tries what this machine allows; the host calls it once, before it serves.

    Args:
        config: Where the home is and which user ids orgs have; None: as the environment says.
    """
    config = config or settings.read()
    if sys.platform != "linux":
        return Fence(Level.NONE, f"{sys.platform} has no namespaces")
    home = config.home.resolve()
    closed = closed_directories((*view.code_directories(), config.projects_dir()))
    if os.geteuid() == 0:
        fence = Fence(Level.USERS, "", config.worker_uid_base, home, closed)
        refusal = _try(fence, config, "job") or _try(fence, config, "run")
        advice = _advice_for_root(refusal)
    else:
        fence = Fence(Level.NAMESPACES, NOT_ROOT, config.worker_uid_base, home, closed)
        refusal = _try(fence, config, "job")
        advice = _advice_for_others()
    return fence if refusal is None else Fence(Level.NONE, f"{refusal}{advice}")


def closed_directories(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Returns the outermost directories on the way to some paths that others cannot pass."""
    found: list[Path] = []
    for path in paths:
        for parent in reversed(path.resolve().parents):
            if parent.exists() and not parent.stat().st_mode & stat.S_IXOTH:
                found.append(parent)
                break
    return tuple(dict.fromkeys(found))


def _try(fence: Fence, config: Settings, kind: Literal["run", "job"]) -> str | None:
    """Enters the fence in a child and returns why that failed, or None."""
    directory = work_directories.create(config.work_dir(), kind)
    try:
        principal = Principal(_NO_ORG, kind)
        around = Surroundings(directory, has_network=kind == "run", limits=LIMITS[kind])
        fence.prepare(principal, around)
        return _refusal_in_child(lambda: _look_around(fence, principal, around))
    except OSError as error:
        return str(error)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _look_around(fence: Fence, principal: Principal, around: Surroundings) -> None:
    fence.enter(principal, around)
    for path in READ_BY_ALL:
        with Path(path).open("rb") as file:
            file.read(1)
    (around.work_dir / "tmp" / "trial").write_text("mine")
    work_dir = around.work_dir.resolve()
    if any(path not in (work_dir, *work_dir.parents) for path in fence.home.iterdir()):
        raise OSError(f"{fence.home} is not hidden")


def _refusal_in_child(trial: Callable[[], None]) -> str | None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()
        _report(trial, writing)
    os.close(writing)
    try:
        said = b""
        ready, _, _ = select.select([reading], [], [], TRIAL_SECONDS)
        said = os.read(reading, _REASON_BYTES) if ready else b"the trial hung"
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return None if said == b"ok" else said.decode() or "the trial was killed"


def _report(trial: Callable[[], None], writing: int) -> None:
    try:
        trial()
    except OSError as error:
        os.write(writing, str(error).encode()[:_REASON_BYTES])
        os._exit(1)
    os.write(writing, b"ok")
    os._exit(0)


def _advice_for_root(refusal: str | None) -> str:
    if refusal is None or "Permission denied" not in refusal:
        return (
            f"; root needs {', '.join(CAPABILITIES)} here "
            "and Linux 5.12 or newer (a container: see docs/install.md)"
        )
    return "; the orgs' users must be able to read it: chmod -R o+rX"


def _advice_for_others() -> str:
    for path, closed, opened in SWITCHES:
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() == closed:
                return f"; as root: sysctl {opened}"
    return "; run the stack as root, or allow unprivileged user namespaces"
