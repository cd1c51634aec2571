"""Where key-encryption keys come from outside the database: the environment, a file, a command.

Errors name the source and never a value: whoever reads a log learns nothing about a key.
"""

import contextlib
import logging
import os
import re
import shlex
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from control_plane.core.errors import Sealed
from control_plane.key_strength import fernet_key_problem
from control_plane.settings import HOW_TO_MAKE_ONE

MAXIMUM_SOURCE_BYTES = 65_536
COMMAND_TIMEOUT_SECONDS = 10.0
COMMAND_PAUSE_SECONDS = 5.0
COMMAND_INTERVAL_SECONDS = 300.0
COMMAND_PATH = "/usr/local/bin:/usr/bin:/bin"
logger = logging.getLogger(__name__)


class KeySource(Protocol):
    """Gives Fernet keys; the first encrypts, all decrypt."""

    def keys(self) -> Sequence[str]:
        """Returns the keys.

        Raises:
            Sealed: The source gives none; the detail says why.
        """
        ...

    def refresh(self) -> bool:
        """Reads the keys again and tells whether they are others now."""
        ...

    def has_keys(self) -> bool:
        """Tells whether the source gives keys, as far as that is known without waiting."""
        ...


def parse_keys(text: str, source: str) -> tuple[str, ...]:
    """Reads comma- or newline-separated Fernet keys.

    Args:
        text: What the source holds.
        source: What the source is called in errors.

    Raises:
        Sealed: There is none, or one is malformed or was not made at random.
    """
    keys = tuple(part for part in re.split(r"[,\s]+", text) if part)
    if not keys:
        raise Sealed(f"{source} holds no encryption key.")
    for number, key in enumerate(keys, start=1):
        problem = fernet_key_problem(key)
        if problem is not None:
            raise Sealed(f"Key {number} of {source} {problem}. {HOW_TO_MAKE_ONE}")
    return keys


class FixedKeys:
    """Keys of the environment: a process sees others only after a restart.

    Args:
        keys: As they were set.
        source: The variable, for errors.

    Raises:
        Sealed: A key is malformed or weak.
    """

    def __init__(self, keys: Sequence[str], source: str) -> None:
        self._keys = parse_keys(",".join(keys), source)

    def keys(self) -> Sequence[str]:
        """Returns the keys."""
        return self._keys

    def refresh(self) -> bool:
        """Tells that nothing has changed."""
        return False

    def has_keys(self) -> bool:
        """Tells that there are some."""
        return True


class KeyFile:
    """Keys in a file, read again when it is another one or was changed.

    A file that cannot be read any more does not take away the keys that it gave: a secret's
    rotation replaces files, not always in one step.

    Args:
        path: Only its owner may read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[str, ...] = ()

    def keys(self) -> Sequence[str]:
        """Returns the keys.

        Raises:
            Sealed: The file cannot be read, others may read it, or it holds no keys.
        """
        with self._lock:
            self._read_changed()
            return self._keys

    def refresh(self) -> bool:
        """Reads the file whatever its times say."""
        with self._lock:
            before = self._keys
            self._seen = None
            with contextlib.suppress(Sealed):
                self._read_changed()
            return self._keys != before

    def has_keys(self) -> bool:
        """Tells whether the file, or what it held before, has keys."""
        with contextlib.suppress(Sealed):
            self.keys()
        return bool(self._keys)

    def _read_changed(self) -> None:
        try:
            facts = self._path.stat()
            seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if seen == self._seen:
                return
            self._seen = seen
            self._keys = self._read()
        except OSError as error:
            self._keep_or_raise(Sealed(f"{self._name} cannot be read ({error.strerror})."))
        except Sealed as error:
            self._keep_or_raise(error)

    def _keep_or_raise(self, error: Sealed) -> None:
        if not self._keys:
            self._seen = None
            raise error
        logger.warning("%s The keys that were read before stay in use.", error.detail)

    def _read(self) -> tuple[str, ...]:
        with self._path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise Sealed(f"{self._name} is not a regular file.")
            if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                mode = stat.S_IMODE(facts.st_mode)
                raise Sealed(
                    f"{self._name} has the mode {mode:04o}: others than its owner can use it; "
                    "make it 0600 or 0400."
                )
            text = file.read(MAXIMUM_SOURCE_BYTES).decode(errors="replace")
        return parse_keys(text, self._name)

    @property
    def _name(self) -> str:
        return f"The key file {self._path}"


class KeyCommand:
    """Keys that a command of a secrets manager prints.

    The command gets no shell and an environment of three variables. It runs when keys are first
    needed, every five minutes, and when a data key does not open, but not more often than every
    five seconds. While it fails, the keys that it gave before stay in use.

    Args:
        command: Split as a shell would, without running one.
    """

    def __init__(self, command: str) -> None:
        self._arguments = shlex.split(command)
        self._lock = threading.Lock()
        self._keys: tuple[str, ...] = ()
        self._failure: Sealed | None = None
        self._ran_at = float("-inf")
        if not self._arguments:
            raise Sealed("DATANIKA_ENCRYPTION_KEYS_COMMAND names no command.")

    def keys(self) -> Sequence[str]:
        """Returns the keys.

        Raises:
            Sealed: The command has never given any; the detail says why.
        """
        self._run_if_older_than(
            COMMAND_INTERVAL_SECONDS if self._keys else COMMAND_PAUSE_SECONDS,
            waits=not self._keys,
        )
        if not self._keys:
            raise self._failure or Sealed(f"{self._name} has given no key yet.")
        return self._keys

    def refresh(self) -> bool:
        """Runs the command again, unless it has run a moment ago."""
        before = self._keys
        self._run_if_older_than(COMMAND_PAUSE_SECONDS, waits=True)
        return self._keys != before

    def has_keys(self) -> bool:
        """Tells whether the command has ever given keys; starts none and waits for none."""
        return bool(self._keys)

    def _run_if_older_than(self, seconds: float, *, waits: bool) -> None:
        # Who has keys does not wait for the thread that is asking for newer ones.
        if time.monotonic() - self._ran_at < seconds or not self._lock.acquire(blocking=waits):
            return
        try:
            if time.monotonic() - self._ran_at < seconds:
                return
            self._keys = parse_keys(self._run(), self._name)
            self._failure = None
        except Sealed as error:
            self._failure = error
            logger.warning("%s", error.detail)
        finally:
            self._ran_at = time.monotonic()
            self._lock.release()

    def _run(self) -> str:
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own command, no shell
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": COMMAND_PATH, "LANG": "C.UTF-8", "HOME": str(Path.home())},
                start_new_session=True,
            )
        except OSError as error:
            raise Sealed(f"{self._name} cannot be started ({error.strerror}).") from None
        try:
            output, _ = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise Sealed(
                f"{self._name} did not end within {COMMAND_TIMEOUT_SECONDS:.0f} seconds."
            ) from None
        finally:
            _end(process)
        if process.returncode != 0:
            raise Sealed(f"{self._name} ended with status {process.returncode}.")
        return output[:MAXIMUM_SOURCE_BYTES].decode(errors="replace")

    @property
    def _name(self) -> str:
        # Its arguments stay out: somebody may have put a token there.
        return f"The key command '{self._arguments[0]}'"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what the command started, too: a pipe that stays open would be waited for."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
