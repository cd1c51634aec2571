"""Looks from outside at what the processes of a child use together, and says what is too much.

The kernel's own limits bind one process each. It reads `/proc` and working directories, and
ends nothing itself.
"""

import contextlib
import errno
import os
import stat
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from datanika_dagster.launcher.fence.surroundings import Limits

Excess = Literal["memory", "processes", "disk"]
_PROC: Final = Path("/proc")
_KIB: Final = 1024
_BLOCK: Final = 512
_LARGEST_WALK: Final = 20_000
"""So many files are counted; a directory with more is too much by itself."""


@dataclass(frozen=True)
class Watched:
    """A child and what it may use.

    Attributes:
        pid: The process that the host forked.
        work_dir: Where it works.
        limits: What it may use.
        inherited_bytes: The private memory that it shares with the host since the fork.
        also: Other directories of its own, for example the logs of a run's steps.
    """

    pid: int
    work_dir: Path
    limits: Limits
    inherited_bytes: int = 0
    also: tuple[Path, ...] = ()


def excesses(children: Iterable[Watched], *, with_disk: bool = False) -> dict[int, Excess]:
    """Returns which children use too much of what, by their pid.

    Args:
        children: The host's children.
        with_disk: Also count what lies in their directories, which takes longer.
    """
    watched = list(children)
    trees = _trees([child.pid for child in watched]) if watched else {}
    found: dict[int, Excess] = {}
    for child in watched:
        excess = _excess(child, trees.get(child.pid, []))
        if excess is None and with_disk and _is_disk_exceeded(child, trees.get(child.pid, [])):
            excess = "disk"
        if excess is not None:
            found[child.pid] = excess
    return found


def memory_of(pids: Iterable[int], *, inherited_bytes: int = 0) -> int:
    """Returns the private memory of processes in bytes.

    Where the system shows it, a page that several of them share counts in parts; elsewhere what
    each has inherited from the host is taken off.
    """
    return sum(_private_bytes(pid, inherited_bytes) for pid in pids)


def private_bytes(pid: int) -> int:
    """Returns the anonymous and shared memory that a process maps; 0 where it has gone."""
    fields = _fields(f"/proc/{pid}/status")
    return sum(fields.get(name, 0) for name in ("RssAnon", "RssShmem"))


def _excess(child: Watched, pids: list[int]) -> Excess | None:
    limits = child.limits
    if limits.processes is not None and len(pids) > limits.processes:
        return "processes"
    if limits.memory_bytes is None:
        return None
    # The upper bound costs a tenth of the true figure.
    if sum(private_bytes(pid) for pid in pids) <= limits.memory_bytes:
        return None
    used = memory_of(pids, inherited_bytes=child.inherited_bytes)
    return "memory" if used > limits.memory_bytes else None


def _is_disk_exceeded(child: Watched, pids: list[int]) -> bool:
    limit = child.limits.disk_bytes
    if limit is None:
        return False
    total = 0
    for count, used in enumerate(_all_sizes(child, pids)):
        total += used
        if total > limit or count > _LARGEST_WALK:
            return True
    return False


def _all_sizes(child: Watched, pids: list[int]) -> Iterator[int]:
    for directory in (child.work_dir, *child.also):
        yield from _sizes(str(directory))
    yield from _sizes_of_nameless(pids)


def _sizes_of_nameless(pids: list[int]) -> Iterator[int]:
    """Gives the disk space of open files that lie in no directory any more, each once.

    Only whoever may trace the processes sees them: root, where it has CAP_SYS_PTRACE.
    """
    seen = set[tuple[int, int]]()
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    status = descriptor.stat()
                    known = (status.st_dev, status.st_ino)
                    if stat.S_ISREG(status.st_mode) and not status.st_nlink and known not in seen:
                        seen.add(known)
                        yield status.st_blocks * _BLOCK


def _sizes(directory: str) -> Iterator[int]:
    """Gives the disk space of every file below a directory that may change meanwhile.

    What is nested so deeply that nobody can look is larger than any limit.
    """
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield _size(entry)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:  # gone, or a link by now
            if error.errno == errno.ENAMETOOLONG:
                yield sys.maxsize


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK
    except FileNotFoundError:
        return 0


def _trees(roots: list[int]) -> Mapping[int, list[int]]:
    """Returns each root with its descendants, and whatever is in its session."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    sessions: defaultdict[int, list[int]] = defaultdict(list)
    for pid, parent, session in _processes():
        children[parent].append(pid)
        sessions[session].append(pid)
    return {root: _descendants(root, children, sessions[root]) for root in roots}


def _descendants(root: int, children: Mapping[int, list[int]], others: list[int]) -> list[int]:
    found = dict.fromkeys([root, *others])
    waiting = list(found)
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found[child] = None
                waiting.append(child)
    return list(found)


def _processes() -> Iterator[tuple[int, int, int]]:
    """Gives process id, parent and session of every process that this one may see."""
    if not _PROC.is_dir():
        return
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            # The name may hold blanks and brackets: the fields begin after the last bracket.
            after = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            yield int(entry.name), int(after[1]), int(after[3])


def _private_bytes(pid: int, inherited_bytes: int) -> int:
    # https://docs.kernel.org/filesystems/proc.html; only whoever may trace the process sees it.
    fields = _fields(f"/proc/{pid}/smaps_rollup")
    if "Pss_Anon" in fields:
        return fields["Pss_Anon"] + fields.get("Pss_Shmem", 0)
    return max(0, private_bytes(pid) - inherited_bytes)


def _fields(path: str) -> dict[str, int]:
    """Returns the lines `Name: 12 kB` of a file in bytes; nothing where it cannot be read."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        # A process chooses its own name, which is one of these lines: any bytes, any words.
        for line in Path(path).read_text(errors="replace").splitlines():
            name, _, rest = line.partition(":")
            value = rest.split()
            if len(value) == 2 and value[1] == "kB" and value[0].isascii() and value[0].isdigit():
                found[name] = int(value[0]) * _KIB
    return found
