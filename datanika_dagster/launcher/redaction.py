"""Takes secrets out of what a process says, whatever form they appear in.

A safety net, not the fence: code must not log secrets in the first place.
"""

import base64
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from datanika_dagster.launcher.job import Secrets
from datanika_dagster.launcher.messages import OUTCOME
from datanika_manifest.connectors.registry import CONNECTORS

REPLACEMENT = "[redacted]"
MINIMUM_LENGTH = 3
"""Shorter texts occur in every sentence; taking them out would hide nothing but the meaning."""

FREE_TEXT_TYPES = frozenset({"__infer__", "text", "md", "json"})
"""Types of metadata that hold sentences; the others hold numbers and names of columns."""

FREE_TEXT_FIELDS = frozenset({"message", "adapter_response"})
"""Fields of a step's own messages that hold sentences; the others are ids, states and numbers."""

SMALLEST_LIMIT = 200
"""No text in a message is limited to fewer characters."""

OUTPUT_CHARACTERS = 10 << 20
OUTPUT_CUT = "[What the job printed further was dropped: it was too much.]"


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
        """Returns `text` without the secrets; it may become longer."""
        return self._pattern.sub(REPLACEMENT, text) if self._pattern else text

    def message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a Pipes message without the secrets in its free text.

        Methods, levels, keys, names and ids stay what they are: a password may be the word
        `model`, and a message that says something else would break the run.
        """
        params = message.get("params")
        if not isinstance(params, Mapping):
            return dict(message)
        return {**message, "params": self._params(str(message.get("method")), params)}

    def outcome(self, outcome: Mapping[str, Any]) -> dict[str, Any]:
        """Returns how a job ended without the secrets in its error's message."""
        error = outcome.get("error")
        if not isinstance(error, Mapping):
            return dict(outcome)
        return {**outcome, "error": {**error, "message": self._within(error["message"])}}

    def _params(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        match method:
            case "log":
                return {**params, "message": self._within(params["message"])}
            case "report_asset_materialization" | "report_asset_check":
                metadata = params.get("metadata") or {}
                return {**params, "metadata": {k: self._entry(v) for k, v in metadata.items()}}
            case "report_custom_message":
                return {**params, "payload": self._custom(params["payload"])}
            case _:
                return {name: self._texts(value) for name, value in params.items()}

    def _entry(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        if entry["type"] not in FREE_TEXT_TYPES:
            return dict(entry)
        return {**entry, "raw_value": self._texts(entry["raw_value"])}

    def _custom(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        if OUTCOME in payload:
            # Nobody reads the value of a job of a run: what it did, it has reported.
            return {OUTCOME: self.outcome({**payload[OUTCOME], "value": None})}
        return {
            kind: {
                name: self._texts(value) if name in FREE_TEXT_FIELDS else value
                for name, value in fields.items()
            }
            for kind, fields in payload.items()
        }

    def _texts(self, value: Any) -> Any:
        """Returns a JSON value without the secrets in its texts; keys stay."""
        if isinstance(value, str):
            return self._within(value)
        if isinstance(value, Mapping):
            return {key: self._texts(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._texts(item) for item in value]
        return value

    def _within(self, text: str) -> str:
        """Returns `text` without the secrets, and within the limit that it was written for."""
        return self.text(text)[: max(len(text), SMALLEST_LIMIT)]


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
    """Sends what this process writes to stdout and stderr through a redactor, up to a limit.

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
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a descriptor is wanted
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        self._thread.join(timeout_seconds)

    def _copy(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as lines, self._target:
            left = OUTPUT_CHARACTERS
            for line in lines:
                if left <= 0:
                    continue  # read on: whoever writes must not be stopped by a full pipe
                text = self._redactor.text(line)
                kept, left = text[:left], left - len(text)
                self._target.write(kept if left > 0 else f"{kept}\n{OUTPUT_CUT}\n")
                self._target.flush()
