"""Keeps the logins of the command line in a file that only its owner can read."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from datanika_stack.api_client import Tokens

_FILE_NAME = "logins.json"
_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Login:
    """Who is logged in at one control plane, and the org that commands work on."""

    email: str
    access_token: str
    refresh_token: str
    org: str | None = None

    def tokens(self) -> Tokens:
        """Returns what the API client needs."""
        return Tokens(self.access_token, self.refresh_token)


class LoginFile:
    """The logins of one user of this machine, by the URL of the control plane.

    Args:
        path: The file; by default `logins.json` in the user's configuration directory
            (`$XDG_CONFIG_HOME/datanika`, on macOS `~/Library/Application Support/datanika`).
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or user_config_path("datanika") / _FILE_NAME

    def find(self, api_url: str) -> Login | None:
        """Returns the login at `api_url`, None where there is none."""
        stored = self._read()["logins"].get(api_url)
        return Login(**stored) if stored else None

    def latest_url(self) -> str | None:
        """Returns the control plane of the last `datanika login`."""
        return self._read()["latest"]

    def save(self, api_url: str, login: Login) -> None:
        """Keeps `login` as the latest one."""
        content = self._read()
        content["logins"][api_url] = asdict(login)
        content["latest"] = api_url
        self._write(content)

    def remove(self, api_url: str) -> bool:
        """Forgets the login at `api_url`; tells whether there was one."""
        content = self._read()
        removed = content["logins"].pop(api_url, None) is not None
        if content["latest"] == api_url:
            content["latest"] = next(iter(content["logins"]), None)
        if removed:
            self._write(content)
        return removed

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self.path.read_text())
        except FileNotFoundError:
            return {"latest": None, "logins": {}}

    def _write(self, content: dict[str, Any]) -> None:
        """Replaces the file in one step; it is never readable by others, not for a moment."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_suffix(f".{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(fresh, flags, _OWNER_ONLY), "w") as file:
            json.dump(content, file, indent=2)
        fresh.replace(self.path)
