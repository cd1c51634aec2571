"""The fence around the children of a worker host: made once at its start, entered by each child."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import datanika_dagster.launcher.fence.limits as limits
import datanika_dagster.launcher.fence.namespaces as namespaces
import datanika_dagster.launcher.fence.ownership as ownership
import datanika_dagster.launcher.fence.privileges as privileges
import datanika_dagster.launcher.fence.system_call_filter as system_call_filter
import datanika_dagster.launcher.fence.system_calls as linux
import datanika_dagster.launcher.fence.view as view
from datanika_dagster.launcher.fence.surroundings import Level, Principal, Surroundings
from datanika_dagster.launcher.fence.view import View

HOST_NAME: Final = "datanika"
OFFERED_FIRST: Final = {"run": 500, "job": 900}
"""Whom the kernel ends first when the machine is short of memory: not the stack, and jobs before runs."""


@dataclass(frozen=True)
class Fence:
    """What this machine lets the host do to keep its children apart.

    Attributes:
        level: How far.
        reason: Why not further, in the words of whoever may change it; empty at the highest level.
        uid_base: The first of the user ids that orgs have.
        home: The platform's directory, of which a child sees nothing but what it is given.
        closed: Directories that orgs' users could not pass: a run sees only our code in them.
    """

    level: Level
    reason: str = ""
    uid_base: int = 1_000_000
    home: Path = Path("/nonexistent")
    closed: tuple[Path, ...] = ()

    def user_of(self, principal: Principal) -> tuple[int, int] | None:
        """Returns the user and group id that a child has; None: those of the host.

        Runs and jobs of an org are different users of one group.
        """
        if self.level is not Level.USERS:
            return None
        group = self.uid_base + 2 * principal.org_id
        return group + (principal.kind == "job"), group

    def prepare(self, principal: Principal, surroundings: Surroundings) -> None:
        """Gives a child's directories to its user; the host calls it before it forks.

        What it may only read stays whose it is, and is opened to the org's group where it is ours.

        Raises:
            OSError: A directory is missing, is a link, or belongs to somebody else.
        """
        user = self.user_of(principal)
        ownership.give_fresh(surroundings.work_dir, user or (os.geteuid(), os.getegid()))
        if user is None:
            return
        for directory in surroundings.writable:
            ownership.give(directory, user)
        for directory in surroundings.readable:
            ownership.share(directory, user[1])

    def fork(self, principal: Principal) -> int:
        """Forks like `os.fork`, in the way that makes `enter` cheap for this principal.

        Raises:
            OSError: The kernel refuses.
        """
        if self.level is Level.USERS and principal.kind == "job":
            return namespaces.fork_as_first_process()
        return os.fork()

    def enter(self, principal: Principal, surroundings: Surroundings) -> None:
        """Fences this process in; the child calls it once, before it reads what to do.

        Returns in the process that goes on, which need not be the one that called: then that one
        waits, and ends as this one ends. The working directory is `work_dir` afterwards.

        Raises:
            OSError: The kernel refuses a step; the child must end.
        """
        user = self.user_of(principal)
        unready = None
        with contextlib.suppress(OSError):  # a container may have no way to say so
            privileges.offer_memory(OFFERED_FIRST[principal.kind])
        if user is not None or (self.level is Level.NAMESPACES and principal.kind == "job"):
            unready = self._enter_namespaces(principal, surroundings, user)
        # The org's own group: a run reads what its jobs have made, and nobody else does.
        os.umask(0o077 if user is None else 0o027)
        os.chdir(surroundings.work_dir)
        limits.apply(surroundings.limits, is_shared_user=self.level is Level.NONE)
        if user is not None:
            privileges.become(*user)
        elif unready is not None:
            privileges.drop_capabilities()
        privileges.harden()
        self._filter_system_calls()
        if unready is not None:
            os.close(unready)

    def _filter_system_calls(self) -> None:
        try:
            system_call_filter.install()
        except OSError:
            # At the other levels nothing is promised that does not hold.
            if self.level is not Level.NONE:
                raise

    def _enter_namespaces(
        self, principal: Principal, surroundings: Surroundings, user: tuple[int, int] | None
    ) -> int | None:
        is_job = principal.kind == "job"
        must_fork = is_job and not namespaces.is_first_process()
        namespaces.unshare(
            has_network=surroundings.has_network,
            has_own_processes=must_fork,
            is_root=user is not None,
        )
        unready = namespaces.continue_inside(user) if must_fork else None
        linux.set_host_name(HOST_NAME)
        view.enter(self._view(surroundings, is_job=is_job, user=user))
        return unready

    def _view(
        self, surroundings: Surroundings, *, is_job: bool, user: tuple[int, int] | None
    ) -> View:
        return View(
            writable=(surroundings.work_dir, *surroundings.writable),
            readable=surroundings.readable,
            temporary=surroundings.work_dir / "tmp",
            hidden=None if is_job else (self.home, *self.closed),
            user=user or (os.geteuid(), os.getegid()),
        )
