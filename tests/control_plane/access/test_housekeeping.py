"""What housekeeping removes, and what it leaves."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.orm import Session

from control_plane.access.housekeeping import service
from control_plane.access.housekeeping.service import Housekeeping
from control_plane.access.oauth.models import OAuthCode
from control_plane.access.password_resets.models import PasswordReset
from control_plane.access.sessions.models import RefreshToken, UserSession
from control_plane.access.throttling.models import ThrottleCounter
from control_plane.core.clock import utc_now
from control_plane.core.database import Base, make_session_factory
from control_plane.worker import make_worker
from tests.factories.access import make_user

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def housekeeping(session: Session, outer_connection: Connection) -> Housekeeping:
    """Housekeeping on the test's transaction, in a database that was clean before.

    Counters that servers of earlier tests left could end during the test, so none stays.
    """
    session.execute(delete(ThrottleCounter))
    session.commit()
    made = Housekeeping(
        make_session_factory(outer_connection, join_transaction_mode="create_savepoint")
    )
    made.run_once()
    session.expire_all()
    return made


def add(session: Session, *rows: Base) -> None:
    session.add_all(rows)
    session.commit()


def count(session: Session, model: type[Base]) -> int:
    session.expire_all()
    return session.scalar(select(func.count()).select_from(model)) or 0


def test_counters_of_windows_that_have_ended(session: Session, housekeeping: Housekeeping):
    before = count(session, ThrottleCounter)
    now = utc_now()
    ended = ThrottleCounter(key_hash="a", window_ends_at=now - SECOND, attempts=9)
    running = ThrottleCounter(key_hash="b", window_ends_at=now + MINUTE, attempts=9)
    add(session, ended, running)
    assert housekeeping.run_once()["throttle counters"] == 1
    assert count(session, ThrottleCounter) == before + 1


def test_links_and_codes_a_week_after_they_expired(session: Session, housekeeping: Housekeeping):
    user = make_user(session)
    resets, codes = count(session, PasswordReset), count(session, OAuthCode)
    for name, ago in (("old", timedelta(days=7) + SECOND), ("new", timedelta(days=7) - MINUTE)):
        expired_at = utc_now() - ago
        add(
            session,
            PasswordReset(user_id=user.id, token_hash=name, is_mailed=False, expires_at=expired_at),
            OAuthCode(
                user_id=user.id,
                provider="google",
                code_hash=name,
                state_hash=name,
                is_new_user=False,
                expires_at=expired_at,
            ),
        )
    removed = housekeeping.run_once()
    assert (removed["password resets"], removed["oauth codes"]) == (1, 1)
    assert (count(session, PasswordReset), count(session, OAuthCode)) == (resets + 1, codes + 1)


@pytest.mark.parametrize(
    ("expires_in", "revoked_ago", "stays"),
    [
        (timedelta(days=7), None, True),
        (timedelta(days=-30) + MINUTE, None, True),
        (timedelta(days=-30) - SECOND, None, False),
        (timedelta(days=1), timedelta(days=30) + SECOND, False),
        (timedelta(days=1), timedelta(days=29), True),
    ],
)
def test_sessions_a_month_after_they_ended(
    session: Session, housekeeping: Housekeeping, expires_in, revoked_ago, stays: bool
):
    sessions, tokens = count(session, UserSession), count(session, RefreshToken)
    now = utc_now()
    row = UserSession(
        user_id=make_user(session).id,
        expires_at=now + expires_in,
        revoked_at=now - revoked_ago if revoked_ago else None,
    )
    add(session, row)
    add(session, RefreshToken(session_id=row.id, token_hash="a", used_at=now))
    add(session, RefreshToken(session_id=row.id, token_hash="b"))
    housekeeping.run_once()
    left = (count(session, UserSession) - sessions, count(session, RefreshToken) - tokens)
    assert left == ((1, 2) if stays else (0, 0))


def test_used_tokens_of_a_long_session(session: Session, housekeeping: Housekeeping):
    row = UserSession(user_id=make_user(session).id, expires_at=utc_now() + timedelta(days=7))
    add(session, row)
    for name, ago in (("old", timedelta(days=31)), ("recent", timedelta(days=29))):
        add(session, RefreshToken(session_id=row.id, token_hash=name, used_at=utc_now() - ago))
    assert housekeeping.run_once()["refresh tokens"] == 1
    assert session.scalars(select(RefreshToken.token_hash).filter_by(session_id=row.id)).all() == [
        "recent"
    ]


def test_more_than_a_batch(session: Session, housekeeping: Housekeeping, monkeypatch):
    monkeypatch.setattr(service, "BATCH", 2)
    ended_at = utc_now() - SECOND
    add(
        session,
        *(ThrottleCounter(key_hash=str(n), window_ends_at=ended_at, attempts=1) for n in range(5)),
    )
    assert housekeeping.run_once()["throttle counters"] == 5


def test_the_worker_does_it_hourly(make_settings, session, housekeeping, monkeypatch):
    worker = make_worker(make_settings())
    assert "housekeeping" in worker._jobs
    ended = ThrottleCounter(key_hash="a", window_ends_at=utc_now() - SECOND, attempts=1)
    add(session, ended)
    housekeeping.run_if_due()
    assert housekeeping.run_once()["throttle counters"] == 0
    add(session, ThrottleCounter(key_hash="b", window_ends_at=utc_now() - SECOND, attempts=1))
    housekeeping.run_if_due()
    assert housekeeping.run_once()["throttle counters"] == 1, "not due again yet"
