"""How long the output of runs is kept: for some days, and within some space.

Each run leaves what it said itself and what its steps wrote. Nobody else removes that: Dagster keeps it
for ever. What the control plane and Dagster's database know of a run stays.
"""

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from datanika_dagster.launcher import work_directories

_DAY_SECONDS = 24 * 3600.0
_GIGABYTE = 1_000_000_000
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNTOUCHED_SECONDS = _DAY_SECONDS
"""What was written to more recently stays whatever it takes: it may be a run's that goes on."""


@dataclass(frozen=True)
class LogRetention:
    """What is kept; zero sets no limit.

    Attributes:
        days: How long after the last output of a run.
        gigabytes: How much the output of all runs may take.
    """

    days: float = 90.0
    gigabytes: float = 10.0


@dataclass
class _Output:
    """Everything that one run has written."""

    paths: list[Path] = field(default_factory=list)
    size_bytes: int = 0
    written_at: float = 0.0

    def add(self, path: Path) -> None:
        self.paths.append(path)
        for status in _statuses(path):
            self.size_bytes += status.st_blocks * 512
            # Not the time of modification, which whoever owns the file can set as they like.
            self.written_at = max(self.written_at, status.st_ctime)


def expire(
    run_logs: Path,
    compute_logs: Path,
    keep: LogRetention,
    living: Collection[str] = (),
    now: float | None = None,
) -> int:
    """Removes the output of runs that ended long ago, and what is too much.

    Where there is too much, runs go by the order of magnitude of what they have written, the oldest of
    each first: one that wrote without end costs the others nothing.

    Args:
        run_logs: Holds `<run>.log` of each run.
        compute_logs: Holds a directory of each run.
        keep: What to keep.
        living: Runs of this host that go on; those of others are kept by `renew`, which they call.
        now: In seconds since the epoch; None: this moment.

    Returns:
        How many runs' output was removed.
    """
    found = _outputs(run_logs, compute_logs)
    total_bytes = sum(output.size_bytes for output in found.values())
    now = time.time() if now is None else now
    ended = [
        output
        for run_id, output in found.items()
        if run_id not in living and now - output.written_at > UNTOUCHED_SECONDS
    ]
    too_old: list[_Output] = []
    others: list[_Output] = []
    for output in ended:
        is_old = keep.days and now - output.written_at > keep.days * _DAY_SECONDS
        (too_old if is_old else others).append(output)
    total_bytes -= sum(output.size_bytes for output in too_old)
    too_much: list[_Output] = []
    for output in sorted(others, key=_first_to_go):
        if not keep.gigabytes or total_bytes <= keep.gigabytes * _GIGABYTE:
            break
        too_much.append(output)
        total_bytes -= output.size_bytes
    for output in (*too_old, *too_much):
        _remove(output.paths)
    return len(too_old) + len(too_much)


def renew(run_logs: Path, compute_logs: Path, living: Collection[str]) -> None:
    """Makes the output of runs that go on look written to, for hosts that do not know of them.

    Args:
        run_logs: Holds `<run>.log` of each run.
        compute_logs: Holds a directory of each run.
        living: Runs of this host.
    """
    for run_id in living:
        for path in (run_logs / f"{run_id}.log", compute_logs / run_id):
            work_directories.touch(path)


def _first_to_go(output: _Output) -> tuple[int, float]:
    return -output.size_bytes.bit_length(), output.written_at


def _outputs(run_logs: Path, compute_logs: Path) -> dict[str, _Output]:
    found: dict[str, _Output] = {}
    for directory, suffix in ((run_logs, ".log"), (compute_logs, "")):
        for path in _entries(directory):
            run_id = path.name.removesuffix(suffix)
            # Dagster keeps other things beside them.
            if _RUN_ID.fullmatch(run_id):
                found.setdefault(run_id, _Output()).add(path)
    return found


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:  # there was no run yet
        return []


def _statuses(path: Path) -> Iterator[os.stat_result]:
    """Gives what the system says of a file, or of a directory and all in it; follows no link."""
    with contextlib.suppress(FileNotFoundError):  # another host's upkeep may be at it
        yield path.lstat()
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield (Path(folder) / name).lstat()


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            work_directories.remove(path)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
