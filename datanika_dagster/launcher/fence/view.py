"""The file system that a child sees: a root of its own with what it needs, and nothing else.

A `job` gets a fresh root: the system's programs and libraries, a few files of `/etc`, this
interpreter with its packages, and its own directories. A `run` keeps the machine's tree, in which
the platform's home and every directory that its user could not pass are replaced by empty ones.
Both are read-only but for what is said to be writable. It knows mounts, and nothing of users.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import datanika_dagster.launcher.fence.system_calls as linux

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
ETC: Final = (
    *("alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "gai.conf"),
    *("host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types"),
    *("nsswitch.conf", "os-release", "pki/ca-trust", "pki/tls/certs", "protocols", "resolv.conf"),
    *("services", "ssl/certs", "ssl/openssl.cnf", "timezone"),
)
"""What programs look up: names, certificates, time zones. Keys and passwords are not among it."""

# Not `zero`: mapped and shared it is memory that nobody counts.
DEVICES: Final = ("full", "null", "random", "urandom")
SHARED_MEMORY_BYTES: Final = 64 << 20
TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - what they are for others
_PROCESSES: Final = Path("/proc")
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108
_EMPTY: Final = "mode=0755,size=1m"
# Where the root is put together: the one directory of every Linux system that nothing of ours is in.
_STAGE: Final = _PROCESSES


@dataclass(frozen=True)
class View:
    """What a child sees.

    Attributes:
        writable: Directories that it may change, at their own places.
        readable: Directories and files that it may read, at their own places.
        temporary: What `/tmp` and `/var/tmp` are.
        hidden: None: a fresh root. Else the machine's tree without these directories.
        user: Its user and group id.
    """

    writable: tuple[Path, ...]
    readable: tuple[Path, ...]
    temporary: Path
    hidden: tuple[Path, ...] | None
    user: tuple[int, int]


def code_directories() -> tuple[Path, ...]:
    """Returns where this interpreter and the code that children import are."""
    package = Path(__file__).resolve().parents[2]
    siblings = (package, package.with_name("datanika_manifest"))
    prefixes = (Path(sys.prefix), Path(sys.base_prefix))
    return tuple(dict.fromkeys(path for path in (*prefixes, *siblings) if path.is_dir()))


def enter(view: View) -> None:
    """Makes the view this process's root; it must be in a mount namespace of its own.

    Raises:
        OSError: The kernel refuses a step.
    """
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    os.umask(0o022)  # what is made here is passed by a user who does not own it
    if view.hidden is None:
        _begin_empty(view.user)
    else:
        _begin_with_machine(view.hidden)
    opened = [*_bind_temporary(view.temporary)]
    for path in (*code_directories(), *view.readable):
        _show(path)
    opened += [_bind(path, _place(path.resolve())) for path in view.writable]
    opened.append(_mount_own())
    linux.close_tree(_STAGE)
    for place in opened:
        linux.open_mount(place)
    os.chdir(_STAGE)
    linux.pivot_root_here()
    linux.detach(".")
    os.chdir("/")


def _begin_empty(user: tuple[int, int]) -> None:
    linux.mount("tmpfs", str(_STAGE), "tmpfs", linux.MS_NOSUID, _EMPTY)
    for path in (*SYSTEM, *(f"/etc/{name}" for name in ETC)):
        if Path(path).exists():
            _show(Path(path))
    uid, gid = user
    name = "datanika"
    _place(Path("/etc")).mkdir(exist_ok=True)
    passwd = f"{name}:x:{uid}:{gid}::/tmp:/usr/sbin/nologin\n"
    _place(Path("/etc/passwd")).write_text(passwd)
    _place(Path("/etc/group")).write_text(f"{name}:x:{gid}:\n")
    devices = _place(Path("/dev"))
    devices.mkdir()
    for device in DEVICES:
        _show(Path("/dev") / device)
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        (devices / stream).symlink_to(f"/proc/self/fd/{number}")
    (devices / "fd").symlink_to("/proc/self/fd")


def _begin_with_machine(hidden: Iterable[Path]) -> None:
    linux.mount("/", str(_STAGE), None, linux.MS_BIND | linux.MS_REC)
    for path in sorted((*hidden, *TEMPORARY)):
        place = _place(path)
        if place.is_dir():  # not one inside another that is hidden already
            linux.mount("tmpfs", str(place), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, _EMPTY)


def _place(path: Path) -> Path:
    return _STAGE / path.relative_to("/")


def _show(path: Path) -> None:
    """Binds a file or a directory to its own place, and what leads to it by symbolic links."""
    source = _linked(path)
    place = _place(source)
    if place.exists():
        return  # with a directory that it is in
    if source.is_dir():
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    linux.mount(str(source), str(place), None, linux.MS_BIND | linux.MS_REC)


def _linked(path: Path) -> Path:
    """Makes the symbolic links on the way to `path` and returns what they lead to."""
    for way in (*reversed(path.parents), path):
        if way.is_symlink():
            link = _place(way)
            # Below what is shown already the link is there too.
            if not os.path.lexists(link):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(way.readlink())
            target = way.parent / way.readlink()
            return _linked(Path(os.path.normpath(target / path.relative_to(way))))
    return path


def _bind_temporary(source: Path) -> Iterator[Path]:
    for path in TEMPORARY:
        yield _bind(source, _place(path))


def _bind(source: Path, place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    linux.mount(str(source), str(place), None, linux.MS_BIND | linux.MS_REC)
    return place


def _mount_own() -> Path:
    """Mounts what shows only this child's own; returns what it may write to."""
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    memory, processes = _place(_SHARED_MEMORY), _place(_PROCESSES)
    for place in (memory, processes):
        place.mkdir(parents=True, exist_ok=True)
    options = f"mode=1777,size={SHARED_MEMORY_BYTES}"
    linux.mount("tmpfs", str(memory), "tmpfs", flags, options)
    linux.mount("proc", str(processes), "proc", flags | linux.MS_RDONLY, "hidepid=2")
    return memory
