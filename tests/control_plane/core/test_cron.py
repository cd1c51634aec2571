"""Cron expressions: what is accepted, why the rest is not, and ticks that are Dagster's."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_string

from control_plane.core.cron import CronError, normal_cron, normal_timezone
from datanika_manifest.ticks import next_ticks

ACCEPTED = [
    "0 6 * * *",
    "*/15 * * * *",
    "0 0 1,15 * *",
    "30 8-18/2 * * mon-fri",
    "0 0 * jan,JUL *",
    "0 6 * * 7",
    "0 0 29 2 *",
    "0 0 L * *",
    "0 0 * * 5#2",
    "@daily",
    "@hourly",
    "@weekly",
    "@monthly",
    "@yearly",
]


class TestNormalCron:
    @pytest.mark.parametrize("cron", ACCEPTED)
    def test_accepts_what_dagster_accepts(self, cron: str):
        assert normal_cron(cron) == cron
        assert is_valid_cron_string(cron)

    @pytest.mark.parametrize(
        ("cron", "words"),
        [
            ("", "has 0 fields"),
            ("0 6 * *", "has 4 fields; a cron expression has exactly 5"),
            ("0 0 6 * * *", "has 6 fields"),
            ("60 * * * *", "out of range"),
            ("* 24 * * *", "out of range"),
            ("*/0 * * * *", "the step 0 of the minute"),
            ("*/90 * * * *", "the step 90 of the minute is outside 1 to 59"),
            ("0 0 31 2 *", "never ticks"),
            ("0 0 * foo *", "unknown"),
            ("R R * * *", "the minute 'R' is not"),
            ("H * * * *", "the minute 'H' is not"),
            ("0 6 * * mon tue", "6 fields"),
            ("@reboot", "unknown alias '@reboot'; known: @hourly"),
            ("every day at six", "exactly 5"),
            ("0 " * 200, "longer than 200"),
        ],
    )
    def test_says_what_is_wrong(self, cron: str, words: str):
        with pytest.raises(CronError, match=words):
            normal_cron(cron)

    def test_spells_it_one_way(self):
        assert normal_cron("  0   6 * *  * ") == "0 6 * * *"
        assert normal_cron("@Daily") == "@daily"


class TestNormalTimezone:
    @pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/New_York"])
    def test_accepts_iana_names(self, name: str):
        assert normal_timezone(name) == name

    @pytest.mark.parametrize(
        "name", ["", "europe/berlin", "Mars/Olympus", "../etc/passwd", "UTC+2"]
    )
    def test_refuses_the_rest(self, name: str):
        with pytest.raises(CronError, match="is not an IANA time zone"):
            normal_timezone(name)


class TestNextTicks:
    # Around the changes of the clocks of 2026 in New York and Berlin, and a plain day.
    STARTS = (
        datetime(2026, 3, 7, 22, 10, tzinfo=UTC),
        datetime(2026, 3, 28, 22, tzinfo=UTC),
        datetime(2026, 6, 1, 12, tzinfo=UTC),
        datetime(2026, 10, 24, 20, tzinfo=UTC),
        datetime(2026, 11, 1, 5, 45, tzinfo=UTC),
    )

    @pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata"])
    @pytest.mark.parametrize(
        "cron",
        ["30 2 * * *", "30 1 * * *", "0 */2 * * *", "*/20 * * * *", "15 1,2,3 * * *", "@daily"],
    )
    def test_are_the_ticks_of_dagsters_scheduler(self, cron: str, zone: str):
        for start in self.STARTS:
            expected = (
                tick
                for tick in cron_string_iterator(start.timestamp(), cron, zone)
                if tick.timestamp() > start.timestamp()
            )
            ticks = next_ticks(cron, zone, 8, after=start)
            assert [t.timestamp() for t in ticks] == [t.timestamp() for t in islice(expected, 8)]

    def test_are_in_the_zone_and_after_the_start(self):
        start = datetime(2026, 6, 1, 4, tzinfo=UTC)
        first, second = next_ticks("0 6 * * *", "Europe/Berlin", 2, after=start)
        assert first.isoformat() == "2026-06-02T06:00:00+02:00"
        assert second - first == timedelta(days=1)
