"""The directories and files of a host's children: made before the fork, removed after the end."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from datanika_dagster.launcher import work_directories
from datanika_dagster.launcher.host.log_retention import LogRetention, expire, renew
from datanika_dagster.settings import Settings

RUN_LOGS = "run_logs"
COMPUTE_LOGS = "storage"
"""Where Dagster keeps captured output in its home, a directory for each run (local_compute_log_manager)."""


@dataclass(frozen=True)
class Living:
    """What of a host's places is used by children that live.

    Attributes:
        runs: The ids of its runs.
        work_dirs: The directories of all of its children.
    """

    runs: Collection[str] = ()
    work_dirs: Collection[Path] = ()


@dataclass(frozen=True)
class Places:
    """Where everything is.

    Attributes:
        work: Working directories.
        dagster_home: Where Dagster's own files are; None: this host has no runs.
        projects: Generated dbt projects, which jobs read.
        keep: How long the output of runs stays.
        is_caretaker: Whether this host removes what others have left, and output that is kept no longer.
    """

    work: Path
    dagster_home: Path | None
    projects: Path
    keep: LogRetention = field(default_factory=LogRetention)
    is_caretaker: bool = True

    @classmethod
    def of(cls, settings: Settings, *, is_caretaker: bool = True) -> "Places":
        """Returns the places that the settings name."""
        keep = LogRetention(settings.run_log_days, settings.run_log_gigabytes)
        projects = settings.projects_dir()
        return cls(settings.work_dir(), settings.dagster_home, projects, keep, is_caretaker)

    def make_work_dir(self, kind: str) -> Path:
        """Makes a private directory that is swept away when this host is gone."""
        # The host's, since the child may be writing already when its number is known.
        return work_directories.create(self.work, kind)

    def remove_work_dir(self, directory: Path) -> bool:
        """Removes the directory of a child that has tidied up itself.

        Returns:
            False where it has not: that may take a while, and is an errand.
        """
        try:
            if {entry.name for entry in directory.iterdir()} - {work_directories.OWNER}:
                # Its owner's name stays in it as long as it does.
                return False
            (directory / work_directories.OWNER).unlink(missing_ok=True)
            directory.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def readable_of(self, org_id: int) -> tuple[Path, ...]:
        """Returns what an org's children may read: its own generated projects."""
        own = self._projects_of(org_id)
        return (own,) if own.is_dir() else ()

    def make_projects(self, org_id: int) -> tuple[Path, ...]:
        """Makes the directory in which an org's projects are generated."""
        own = self._projects_of(org_id)
        own.mkdir(parents=True, exist_ok=True)
        return (own,)

    def _projects_of(self, org_id: int) -> Path:
        return self.projects / f"tenant_{org_id}"

    def make_compute_logs(self, run_id: str) -> tuple[Path, ...]:
        """Makes the directory in which a run captures its output."""
        if self.dagster_home is None:
            return ()
        directory = self.dagster_home / COMPUTE_LOGS / run_id
        directory.mkdir(parents=True, exist_ok=True)
        return (directory,)

    def open_run_log(self, run_id: str) -> int | None:
        """Returns a descriptor of the file that a run's own output goes to; the caller closes it."""
        if self.dagster_home is None:
            return None
        directory = self.dagster_home / RUN_LOGS
        directory.mkdir(exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(directory / f"{run_id}.log", flags, 0o600)

    def tidy_up(self, living: Living) -> int:
        """Removes what hosts that are gone have left, and output of runs that is kept no longer.

        What this host still uses is touched before: a host of another container or machine that has the
        same directories cannot ask whether a process lives, and goes by age.

        Args:
            living: What goes on here; the errand of a child of the host's own.
        """
        for directory in living.work_dirs:
            work_directories.touch(directory)
        logs = self._logs()
        if logs is not None:
            renew(*logs, living.runs)
        if self.is_caretaker:
            if self.work.is_dir():
                work_directories.sweep(self.work)
            if logs is not None:
                expire(*logs, self.keep, living.runs)
        return 0

    def _logs(self) -> tuple[Path, Path] | None:
        home = self.dagster_home
        return None if home is None else (home / RUN_LOGS, home / COMPUTE_LOGS)


def remove(directory: Path) -> int:
    """Removes a directory with all that is in it; the errand of a child of the host's own."""
    work_directories.remove(directory)
    return 0
