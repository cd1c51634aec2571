"""Limits attempts: failed logins and sign-ups, for each account and each client address.

An attempt is counted, and the count committed, before anything is verified. So parallel attempts
cannot slip by between the check and the count, and one that is refused costs no bcrypt. What turns
out to be no failure is given back. The counters are in the database: every process of the control
plane sees the same ones.

    throttle = Throttle(factory)
    counted = throttle.count(logins_of_account(settings, email), logins_from(settings, address))
    …verify…
    throttle.give_back(counted)
"""

import hashlib
import ipaddress
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.throttling.repository import ThrottleRepository
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.dependencies import SessionFactoryDep
from control_plane.core.errors import Throttled
from control_plane.settings import Settings

LOGIN_WINDOW = timedelta(minutes=15)
SIGN_UP_WINDOW = timedelta(hours=1)
# One customer has a whole /64 (RFC 6177); counted by address, each would have 2^64 attempts.
IPV6_PREFIX = 64


@dataclass(frozen=True)
class Limit:
    """How many attempts one subject has in one window.

    Attributes:
        purpose: What is attempted; counters of two purposes never meet.
        subject: An account's e-mail address, or a client's network.
        attempts: How many pass.
        window: In which time; it starts with the first attempt.
    """

    purpose: str
    subject: str
    attempts: int
    window: timedelta

    @property
    def key_hash(self) -> str:
        """What the counter is stored under: no address can be read from it at a glance."""
        return _hash(f"{self.purpose}:{self.subject}")

    @property
    def refusals_key_hash(self) -> str:
        """What the counter of the attempts over the limit is stored under."""
        return _hash(f"refusals:{self.purpose}:{self.subject}")


@dataclass(frozen=True)
class Counted:
    """One attempt that was counted, for giving it back."""

    key_hash: str
    window_ends_at: datetime


class Throttle:
    """Counts attempts and refuses those over a limit.

    Args:
        factory: Counts are committed in transactions of their own.
    """

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory

    def count(
        self, *limits: Limit | None, on_first_refusal: Callable[[Limit], None] | None = None
    ) -> list[Counted]:
        """Counts one attempt under each limit, in this order, up to the first that is reached.

        Put a client's limit before the account's: then an address over its own limit no longer
        uses up the attempts of other people's accounts.

        Args:
            limits: None stands for a limit that does not apply (a client without an address).
            on_first_refusal: Called with the limit that is reached, once in its window: so that
                a refusal can be recorded, and nobody fills the record by being refused.

        Returns:
            What was counted, for `give_back`.

        Raises:
            Throttled: Over a limit; nobody learns which, nor whether the account exists.
        """
        now = utc_now()
        counted: list[Counted] = []
        over: Counted | None = None
        to_tell: Limit | None = None
        with transaction(self._factory) as session:
            repository = ThrottleRepository(session)
            for limit in limits:
                if limit is None:
                    continue
                attempts, ends_at = repository.add_attempt(limit.key_hash, now, now + limit.window)
                counted.append(Counted(limit.key_hash, ends_at))
                if attempts > limit.attempts:
                    over = counted[-1]
                    if on_first_refusal is not None and _is_first(repository, limit, now, ends_at):
                        to_tell = limit
                    break
        if to_tell is not None and on_first_refusal is not None:
            on_first_refusal(to_tell)
        if over is not None:
            seconds = max(1, math.ceil((over.window_ends_at - now).total_seconds()))
            raise Throttled("Too many attempts; try again later.", retry_after_seconds=seconds)
        return counted

    @contextmanager
    def giving_back_what_waits(self, counted: Sequence[Counted]) -> Generator[None]:
        """Takes attempts back when the block finds no place to look at them."""
        try:
            yield
        except Throttled:
            self.give_back(counted)
            raise

    def give_back(self, counted: Sequence[Counted]) -> None:
        """Takes attempts back that turned out to be no failures."""
        with transaction(self._factory) as session:
            for one in counted:
                ThrottleRepository(session).take_back(one.key_hash, one.window_ends_at)


def logins_of_account(settings: Settings, email: str) -> Limit:
    """Returns the limit of an account's failed logins; the same whether the account exists."""
    account = email.strip().lower()
    return Limit("login_account", account, settings.failed_logins_per_account, LOGIN_WINDOW)


def logins_from(settings: Settings, client_address: str | None) -> Limit | None:
    """Returns the limit of the failed logins from a client's address."""
    limit = settings.failed_logins_per_address
    return _from_address("login_address", client_address, limit, LOGIN_WINDOW)


def sign_ups_from(settings: Settings, client_address: str | None) -> Limit | None:
    """Returns the limit of the sign-ups from a client's address."""
    limit = settings.sign_ups_per_address
    return _from_address("sign_up_address", client_address, limit, SIGN_UP_WINDOW)


def password_resets_from(settings: Settings, client_address: str | None) -> Limit | None:
    """Returns the limit of the requests for password links from a client's address."""
    limit = settings.failed_logins_per_address
    return _from_address("password_reset_address", client_address, limit, LOGIN_WINDOW)


def client_network(client_address: str) -> str:
    """Returns what attempts of a client are counted under: its address, or its IPv6 /64."""
    try:
        address = ipaddress.ip_address(client_address.partition("%")[0])
    except ValueError:
        return client_address
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return str(mapped)
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_first(
    repository: ThrottleRepository, limit: Limit, now: datetime, window_ends_at: datetime
) -> bool:
    """Counts a refusal, apart from the attempts: those are given back, refusals never are."""
    return repository.add_attempt(limit.refusals_key_hash, now, window_ends_at)[0] == 1


def _from_address(
    purpose: str, client_address: str | None, attempts: int, window: timedelta
) -> Limit | None:
    if client_address is None:
        return None
    return Limit(purpose, client_network(client_address), attempts, window)


async def get_throttle(factory: SessionFactoryDep) -> Throttle:
    """Returns the request's throttle."""
    return Throttle(factory)


ThrottleDep = Annotated[Throttle, Depends(get_throttle)]
