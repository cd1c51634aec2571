"""The time, in UTC and with its time zone."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Returns the current time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place of this package that reads the clock
