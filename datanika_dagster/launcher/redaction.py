"""Takes secrets out of what a process says, whatever form they appear in.

A safety net, not the fence: code must not log secrets in the first place.
"""

import base64
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from datanika_dagster.launcher.job import Secrets
from datanika_manifest.connectors.registry import CONNECTORS

REPLACEMENT = "[redacted]"
MINIMUM_LENGTH = 3
"""Shorter texts occur in every sentence; taking them out would hide nothing but the meaning."""


class Redactor:
    """Knows the secrets of one job.

    Args:
        secrets: The connections that the job was given.
    """

    def __init__(self, secrets: Secrets) -> None:
        forms = {form for secret in _secret_texts(secrets) for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def text(self, text: str) -> str:
        """Returns `text` without the secrets."""
        return self._pattern.sub(REPLACEMENT, text) if self._pattern else text

    def json(self, value: Any) -> Any:
        """Returns a JSON value without the secrets, in its keys or its texts."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.json(item) for item in value]
        return value


def _secret_texts(secrets: Secrets) -> Iterator[str]:
    for connection in secrets.values():
        declaration = CONNECTORS.get(str(connection.get("connector")))
        for name, value in connection.get("config", {}).items():
            is_secret = declaration is None or name in declaration.secret_fields()
            if is_secret and isinstance(value, str):
                # A key file is logged line by line.
                yield from (value, *value.splitlines())


def _forms(secret: str) -> Iterator[str]:
    if len(secret) < MINIMUM_LENGTH:
        return
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield base64.b64encode(secret.encode()).decode()


class RedactedOutput:
    """Sends everything this process writes to stdout and stderr through a redactor.

    It works on the descriptors, so it holds for C code and child processes too.

    Args:
        redactor: Takes the secrets out.
        target_fd: Where the rest goes; stays open.
    """

    def __init__(self, redactor: Redactor, target_fd: int) -> None:
        self._redactor = redactor
        self._target = os.fdopen(os.dup(target_fd), "w", encoding="utf-8", errors="replace")
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        self._thread = threading.Thread(target=self._copy, args=(reading,), daemon=True)
        self._thread.start()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Ends the process's output; returns when all of it has been written."""
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a descriptor is wanted
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        self._thread.join(timeout_seconds)

    def _copy(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as lines, self._target:
            for line in lines:
                self._target.write(self._redactor.text(line))
                self._target.flush()
