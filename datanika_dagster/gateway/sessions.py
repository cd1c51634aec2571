"""Whose a request is: asked of the control plane, remembered for a moment.

It knows headers and sessions, and nothing of what a request wants.
"""

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from datanika_dagster.control_plane_client import ControlPlaneClient, Session
from datanika_dagster.errors import ControlPlaneRefused
from datanika_dagster.gateway.principal import SessionKey

FORWARDED = ("cookie", "authorization")
CACHE_SECONDS = 5.0
CACHE_ENTRIES = 1000
UNAUTHORIZED = 401


def session_key(headers: Mapping[str, str]) -> SessionKey:
    """Returns those of a request's headers that prove a session."""
    return tuple((name, headers[name]) for name in FORWARDED if name in headers)


@dataclass
class Sessions:
    """Answers who is calling.

    Attributes:
        control_plane_url: Who is asked.
        cache_seconds: So long an answer is good enough for reading.
    """

    control_plane_url: str
    cache_seconds: float = CACHE_SECONDS
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[bytes, tuple[float, Session]] = field(default_factory=dict, repr=False)

    def of(
        self, headers: Mapping[str, str], *, at_most_seconds_old: float | None = None
    ) -> Session | None:
        """Returns whose session the headers prove, None for nobody's.

        Args:
            headers: Of the request, names in lower case.
            at_most_seconds_old: An answer of before is good enough for so long; zero asks again.

        Raises:
            ControlPlaneUnreachable: Nobody can say.
            ControlPlaneRefused: They prove a session that has no business here.
        """
        shown = dict(session_key(headers))
        if not shown:
            return None
        key = hashlib.sha256(repr(sorted(shown.items())).encode()).digest()
        seconds = self.cache_seconds if at_most_seconds_old is None else at_most_seconds_old
        return self._remembered(key, seconds) or self._ask(key, shown)

    def _remembered(self, key: bytes, at_most_seconds_old: float) -> Session | None:
        with self._lock:
            asked_at, session = self._known.get(key, (float("-inf"), None))
        return session if time.monotonic() - asked_at < at_most_seconds_old else None

    def _ask(self, key: bytes, shown: Mapping[str, str]) -> Session | None:
        asked_at = time.monotonic()
        try:
            with ControlPlaneClient(self.control_plane_url, shown) as client:
                session = client.session()
        except ControlPlaneRefused as refusal:
            if refusal.status != UNAUTHORIZED:
                raise
            with self._lock:
                self._known.pop(key, None)
            return None
        with self._lock:
            if len(self._known) >= CACHE_ENTRIES:
                self._known.clear()
            self._known[key] = (asked_at, session)
        return session
