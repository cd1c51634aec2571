"""Output of runs goes after a while, or where it takes too much; never that of a run that goes on."""

import os
import time
import uuid
from pathlib import Path

import pytest

from datanika_dagster.launcher.host import upkeep
from datanika_dagster.launcher.host.log_retention import LogRetention, expire
from datanika_dagster.launcher.host.places import COMPUTE_LOGS, RUN_LOGS, Places
from datanika_dagster.launcher.host.upkeep import Upkeep
from datanika_dagster.settings import Settings
from datanika_dagster.step_logs import StepLogs

DAY = 24 * 3600.0
RUNS = {name: str(uuid.uuid4()) for name in ("one", "two", "old", "huge", "new")}
ONE, TWO = RUNS["one"], RUNS["two"]
FOREVER = LogRetention(days=0, gigabytes=0)


class Logs:
    """A home of Dagster's in which runs have written."""

    def __init__(self, home: Path) -> None:
        self.runs, self.steps = home / RUN_LOGS, home / COMPUTE_LOGS

    def write(self, name: str, size_bytes: int = 10) -> None:
        run_id = RUNS[name]
        self.runs.mkdir(exist_ok=True)
        (self.runs / f"{run_id}.log").write_text("started")
        directory = self.steps / run_id / "compute_logs"
        directory.mkdir(parents=True)
        (directory / "step.out").write_bytes(b"x" * size_bytes)

    def kept(self) -> set[str]:
        kept = {path.stem for path in self.runs.iterdir()}
        assert kept == {path.name for path in self.steps.iterdir()}
        return {name for name, run_id in RUNS.items() if run_id in kept}

    def expire(self, keep: LogRetention, days: float, living: tuple[str, ...] = ()) -> int:
        return expire(self.runs, self.steps, keep, living, time.time() + days * DAY)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_after_some_days(logs: Logs):
    logs.write("one")
    assert logs.expire(LogRetention(days=30), days=29.9) == 0
    assert logs.expire(FOREVER, days=3000) == 0
    assert logs.kept() == {"one"}
    assert logs.expire(LogRetention(days=30), days=30.1) == 1
    assert logs.kept() == set()


def test_not_while_the_run_goes_on(logs: Logs):
    logs.write("one")
    logs.write("two")
    assert logs.expire(LogRetention(days=30), days=31, living=(TWO,)) == 1
    assert logs.kept() == {"two"}


def test_who_owns_a_file_cannot_make_it_look_new(logs: Logs):
    logs.write("one")
    future = time.time() + 1000 * DAY
    for path in (logs.runs / f"{ONE}.log", *logs.steps.rglob("*")):
        os.utime(path, (future, future))
    assert logs.expire(LogRetention(days=30), days=31) == 1


def test_too_much_goes_by_size_then_by_age(logs: Logs):
    for run_id, size_bytes in (("old", 40_000), ("huge", 900_000), ("new", 40_000)):
        logs.write(run_id, size_bytes)
        time.sleep(0.02)
    assert logs.expire(LogRetention(days=0, gigabytes=0.0005), days=2) == 1
    assert logs.kept() == {"old", "new"}, "who writes without end costs the others nothing"
    assert logs.expire(LogRetention(days=0, gigabytes=0.00007), days=2) == 1
    assert logs.kept() == {"new"}


def test_what_was_written_today_stays(logs: Logs):
    logs.write("huge", 900_000)
    assert logs.expire(LogRetention(days=0.001, gigabytes=0.0001), days=0.9) == 0
    assert logs.kept() == {"huge"}


def test_links_are_removed_and_not_followed(logs: Logs, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    logs.write("one")
    (logs.steps / ONE / "link").symlink_to(elsewhere)
    (logs.steps / TWO).symlink_to(elsewhere)
    assert logs.expire(LogRetention(days=1), days=3) == 2
    assert [path.name for path in logs.steps.iterdir()] == []
    assert (elsewhere / "mine").read_text() == "mine"


def test_what_is_no_runs_stays(logs: Logs):
    logs.write("one")
    (logs.steps / "acme").mkdir()
    (logs.runs / "notes.txt").write_text("mine")
    logs.expire(LogRetention(days=1), days=3)
    assert (logs.steps / "acme").is_dir()
    assert (logs.runs / "notes.txt").exists()
    assert not (logs.runs / f"{ONE}.log").exists()


def test_without_any_run(logs: Logs):
    assert logs.expire(LogRetention(days=1), days=3) == 0


def test_a_log_that_has_gone_reads_as_empty(logs: Logs):
    logs.write("one")
    logs.expire(LogRetention(days=1), days=3)
    read = StepLogs(str(logs.steps)).get_log_data([ONE, "compute_logs", "step"])
    assert (read.stdout, read.stderr) == (None, None)


class Ground:
    """What upkeep asks of a host's ground."""

    def __init__(self, places: Places) -> None:
        self.places, self.children, self.errands = places, self, 0

    def of_kind(self, *kinds: str) -> list[object]:
        assert kinds == ("run",)
        return []

    def errand(self, body) -> None:
        self.errands += 1
        assert body() == 0


def test_a_host_looks_at_its_start_and_every_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Logs
):
    logs.write("one")
    places = Places.of(Settings(home=tmp_path, DAGSTER_HOME=tmp_path, run_log_days=7))
    assert places.keep == LogRetention(days=7, gigabytes=10)
    ground = Ground(places)
    kept = Upkeep(ground)
    kept.do_what_is_due()
    kept.do_what_is_due()
    assert ground.errands == 1
    assert logs.kept() == {"one"}
    later = time.monotonic() + upkeep.INTERVAL_SECONDS
    assert kept.due_at <= later
    monkeypatch.setattr(upkeep.time, "monotonic", lambda: later)
    in_a_week = time.time() + 8 * DAY
    monkeypatch.setattr("time.time", lambda: in_a_week)
    kept.do_what_is_due()
    assert ground.errands == 2
    assert logs.kept() == set()
