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

FORWARDED = ("cookie", "authorization")
CACHE_SECONDS = 5.0
CACHE_ENTRIES = 1000
UNAUTHORIZED = 401


@dataclass
class Sessions:
    """Answers who is calling.

    Attributes:
        control_plane_url: Who is asked.
    """

    control_plane_url: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[bytes, tuple[float, Session]] = field(default_factory=dict, repr=False)

    def of(self, headers: Mapping[str, str], *, fresh: bool) -> Session | None:
        """Returns whose session the headers prove, None for nobody's.

        Args:
            headers: Of the request, names in lower case.
            fresh: True asks again; for everything that changes something.

        Raises:
            ControlPlaneUnreachable: Nobody can say.
        """
        shown = {name: headers[name] for name in FORWARDED if name in headers}
        if not shown:
            return None
        key = hashlib.sha256(repr(sorted(shown.items())).encode()).digest()
        known = None if fresh else self._remembered(key)
        return known or self._ask(key, shown)

    def _remembered(self, key: bytes) -> Session | None:
        with self._lock:
            until, session = self._known.get(key, (0.0, None))
        return session if until > time.monotonic() else None

    def _ask(self, key: bytes, shown: Mapping[str, str]) -> Session | None:
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
            self._known[key] = (time.monotonic() + CACHE_SECONDS, session)
        return session
