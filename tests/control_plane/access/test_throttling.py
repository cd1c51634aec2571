"""The counters: windows, giving back, networks, and parallel attempts from several connections."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from control_plane.access.throttling.service import Limit, Throttle, client_network
from control_plane.core.database import make_session_factory
from control_plane.core.errors import Throttled

HOUR = timedelta(hours=1)


@pytest.fixture
def throttle(app_engine: Engine) -> Throttle:
    """A throttle that really commits; each test has a subject of its own."""
    return Throttle(make_session_factory(app_engine))


def limit(attempts: int, *, window: timedelta = HOUR, purpose: str = "test") -> Limit:
    return Limit(purpose, secrets.token_hex(8), attempts, window)


def test_lets_as_many_pass_as_the_limit_says(throttle: Throttle):
    three = limit(3)
    for _ in range(3):
        throttle.count(three)
    with pytest.raises(Throttled) as refusal:
        throttle.count(three)
    assert 3590 <= refusal.value.retry_after_seconds <= 3600


def test_counts_subjects_and_purposes_apart(throttle: Throttle):
    one, other = limit(1), limit(1)
    throttle.count(one)
    throttle.count(other)
    throttle.count(Limit("another", one.subject, 1, HOUR))


def test_gives_back_what_was_no_failure(throttle: Throttle):
    one = limit(1)
    for _ in range(5):
        throttle.give_back(throttle.count(one))


def test_giving_back_never_goes_below_what_others_used(throttle: Throttle):
    two = limit(2)
    throttle.count(two)
    counted = throttle.count(two)
    throttle.give_back(counted)
    throttle.count(two)
    with pytest.raises(Throttled):
        throttle.count(two)


def test_a_window_that_has_ended_starts_anew(throttle: Throttle):
    short = limit(1, window=timedelta(microseconds=1))
    first = throttle.count(short)
    throttle.count(short)
    throttle.give_back(first)  # of the window before: the new one keeps its attempt
    same = Limit(short.purpose, short.subject, 1, HOUR)
    throttle.count(same)
    with pytest.raises(Throttled):
        throttle.count(same)


def test_a_reached_limit_leaves_the_later_ones_alone(throttle: Throttle):
    address, account = limit(1), limit(1)
    throttle.count(address)
    with pytest.raises(Throttled):
        throttle.count(address, account)
    throttle.count(account)


def test_parallel_attempts_do_not_slip_by(throttle: Throttle):
    five = limit(5)

    def attempt(_: int) -> bool:
        try:
            throttle.count(five)
        except Throttled:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        passed = list(pool.map(attempt, range(40)))
    assert passed.count(True) == 5


def test_stores_no_address(throttle: Throttle, app_engine: Engine):
    throttle.count(Limit("login_account", "canary@example.com", 5, HOUR))
    with app_engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM throttle_counters")).all()
    assert rows
    assert "canary" not in str(rows)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_its_network(address: str, network: str):
    assert client_network(address) == network
