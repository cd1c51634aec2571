"""Cron expressions and time zones: what is accepted, and when they tick next.

Accepted is what Dagster's scheduler accepts as well (`dagster._utils.schedules`): five fields or
an alias, evaluated in an IANA time zone. Anything that only one of the two reads is refused when
it is saved. It must not know what a tick is good for.
"""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from croniter import (  # pyright: ignore[reportMissingTypeStubs] - it ships none
    CroniterBadDateError,
    croniter,
)

ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
MAXIMUM_CRON_CHARACTERS = 200
_FIELD_NAMES = ("minute", "hour", "day of the month", "month", "day of the week")
_FIELD_MAXIMA = (59, 23, 31, 12, 7)
_VALUE = r"(?:\d+|[a-z]{3})"
_PART = re.compile(
    rf"(?:\*|\?|{_VALUE}(?:-{_VALUE})?)(?:/(?P<step>\d+))?|l|l[0-7]|{_VALUE}#[1-5]", re.IGNORECASE
)
# Never firing within this many years means never: 29 February comes at least every eight.
_MAXIMUM_YEARS_BETWEEN_TICKS = 8


class CronError(ValueError):
    """A text that is no cron expression or no time zone; the message says why."""


def normal_cron(text: str) -> str:
    """Returns the expression in its normal spelling: single spaces, aliases in lower case.

    Args:
        text: Five fields (minute, hour, day of the month, month, day of the week) with names,
            ranges, lists and steps, or an alias such as `@daily`.

    Raises:
        CronError: It is neither, or it never ticks.
    """
    cron = " ".join(text.split())
    if len(cron) > MAXIMUM_CRON_CHARACTERS:
        raise CronError(f"is longer than {MAXIMUM_CRON_CHARACTERS} characters")
    if cron.startswith("@"):
        if cron.lower() not in ALIASES:
            raise CronError(f"unknown alias '{cron}'; known: {', '.join(ALIASES)}")
        return cron.lower()
    fields = cron.split(" ")
    if len(fields) != len(_FIELD_NAMES) or not cron:
        raise CronError(
            f"'{cron}' has {len(fields) if cron else 0} fields; a cron expression has exactly 5: "
            f"{', '.join(_FIELD_NAMES)}"
        )
    for name, maximum, field in zip(_FIELD_NAMES, _FIELD_MAXIMA, fields, strict=True):
        _check_field(name, maximum, field)
    _check_ticks(cron)
    return cron


def normal_timezone(text: str) -> str:
    """Returns an IANA time zone's name.

    Raises:
        CronError: No zone has this name, exactly as it is spelled.
    """
    try:
        if text in available_timezones():
            ZoneInfo(text)
            return text
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass  # the same answer as for a name that is not listed
    raise CronError(f"'{text}' is not an IANA time zone; for example UTC or Europe/Berlin")


def _check_field(name: str, maximum: int, field: str) -> None:
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise CronError(f"the {name} '{field}' is not a value, range, list or step")
        step = match.group("step")
        if step is not None and not 0 < int(step) <= maximum:
            raise CronError(f"the step {step} of the {name} is outside 1 to {maximum}")


def _check_ticks(cron: str) -> None:
    try:
        croniter(
            cron,
            datetime(2024, 3, 1, tzinfo=UTC),
            max_years_between_matches=_MAXIMUM_YEARS_BETWEEN_TICKS,
        ).get_next(datetime)
    except CroniterBadDateError:
        raise CronError(f"'{cron}' never ticks: no such date exists") from None
    except (ValueError, KeyError):
        raise CronError(f"'{cron}' has a value that is out of range or unknown") from None
