"""Holds the keys that a master password has opened: in this process, or in the key agent."""

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from control_plane.core.errors import Sealed, Unavailable
from control_plane.core.vault import KeyEncryptionKey
from control_plane.keys.agent import KeyAgent

# Sealing has to reach every process within two seconds.
MAXIMUM_AGE_SECONDS = 1.0


class UnlockedKeys(Protocol):
    """The opened keys, the newest first."""

    def get(self) -> tuple[KeyEncryptionKey, ...]:
        """Returns the keys; none while sealed.

        Raises:
            Sealed: Nobody can tell which they are.
        """
        ...

    def put(self, keys: Sequence[KeyEncryptionKey]) -> None:
        """Replaces the keys.

        Raises:
            Unavailable: They cannot be handed over.
        """
        ...

    def clear(self) -> None:
        """Forgets the keys.

        Raises:
            Unavailable: Other processes may have them still.
        """
        ...

    def refresh(self) -> bool:
        """Asks again and tells whether the keys are others now."""
        ...


class KeysInProcess:
    """Keys of this process alone; every process is unlocked by itself."""

    def __init__(self) -> None:
        self._keys: tuple[KeyEncryptionKey, ...] = ()

    def get(self) -> tuple[KeyEncryptionKey, ...]:
        """Returns the keys."""
        return self._keys

    def put(self, keys: Sequence[KeyEncryptionKey]) -> None:
        """Replaces the keys."""
        self._keys = newest_first(keys)

    def clear(self) -> None:
        """Forgets the keys."""
        self._keys = ()

    def refresh(self) -> bool:
        """Tells that nothing has changed."""
        return False


class KeysInAgent:
    """Keys of every process that asks the same agent.

    Who cannot ask is sealed: it could not learn that somebody has sealed the platform.

    Args:
        agent: Holds the keys.
    """

    def __init__(self, agent: KeyAgent) -> None:
        self._agent = agent
        self._lock = threading.Lock()
        self._keys: tuple[KeyEncryptionKey, ...] = ()
        self._failure: Sealed | None = None
        self._asked_at = float("-inf")

    def get(self) -> tuple[KeyEncryptionKey, ...]:
        """Returns the keys as the agent had them a second ago at most.

        Raises:
            Sealed: The agent does not answer.
        """
        with self._lock:
            if time.monotonic() - self._asked_at > MAXIMUM_AGE_SECONDS:
                self._ask()
            if self._failure is not None:
                raise self._failure
            return self._keys

    def put(self, keys: Sequence[KeyEncryptionKey]) -> None:
        """Hands the keys to the agent."""
        self._agent.put(keys)
        self._forget_answer()

    def clear(self) -> None:
        """Tells the agent to forget the keys."""
        self._agent.clear()
        self._forget_answer()

    def refresh(self) -> bool:
        """Asks the agent now."""
        with self._lock:
            before = self._keys
            self._ask()
            return self._keys != before

    def _ask(self) -> None:
        # The age counts from before the question: the answer may be as old as that.
        self._asked_at = time.monotonic()
        try:
            self._keys, self._failure = newest_first(self._agent.get()), None
        except Unavailable as error:
            self._keys, self._failure = (), Sealed(f"The platform is sealed: {error.detail}")
            # A silent agent takes longer than an answer may be old: who waits behind this one would
            # each wait as long again.
            self._asked_at = time.monotonic()

    def _forget_answer(self) -> None:
        with self._lock:
            self._asked_at = float("-inf")


def newest_first(keys: Sequence[KeyEncryptionKey]) -> tuple[KeyEncryptionKey, ...]:
    """Returns the keys in the order in which they are used."""
    return tuple(sorted(keys, key=lambda key: key.id or 0, reverse=True))
