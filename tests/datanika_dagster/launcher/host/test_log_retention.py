"""Output of runs goes after a while, or where it takes too much; never that of a run that goes on."""

import json
import os
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from datanika_dagster.launcher import work_directories, worker
from datanika_dagster.launcher.fence import LIMITS, Fence, Level, Principal, Surroundings
from datanika_dagster.launcher.host import log_retention, upkeep
from datanika_dagster.launcher.host.child import Fenced
from datanika_dagster.launcher.host.children import Child
from datanika_dagster.launcher.host.log_retention import LogRetention, expire
from datanika_dagster.launcher.host.places import COMPUTE_LOGS, RUN_LOGS, Living, Places
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


def test_thousands_cost_no_more_than_one_look_at_each(logs: Logs, monkeypatch: pytest.MonkeyPatch):
    comparisons = 0

    def compare(one: object, other: object) -> bool:
        nonlocal comparisons
        comparisons += 1
        return one is other

    monkeypatch.setattr(log_retention._Output, "__eq__", compare)
    logs.runs.mkdir()
    for _ in range(200):
        (logs.runs / f"{uuid.uuid4()}.log").write_text("started")
    assert logs.expire(LogRetention(days=1), days=3) == 200
    assert comparisons == 0


class TestSeveralHosts:
    """Hosts that share what is kept, of which none can see another's processes."""

    @pytest.fixture
    def work(self, tmp_path: Path) -> Path:
        return tmp_path / "work"

    @pytest.fixture
    def places(self, tmp_path: Path, work: Path, logs: Logs) -> Places:
        logs.write("one")
        logs.write("two")
        return Places(work, tmp_path, tmp_path, LogRetention(days=30))

    @pytest.fixture
    def elsewhere(self, work: Path) -> tuple[Path, Path]:
        """Two directories that belong to processes of another machine, made long ago."""
        both = work_directories.create(work, "run"), work_directories.create(work, "job")
        owner = worker.of_pid(os.getpid())
        assert owner is not None
        for directory in both:
            tag = json.loads(owner.as_tag()) | {"machine": "another"}
            (directory / work_directories.OWNER).write_text(json.dumps(tag))
            long_ago = time.time() - work_directories.ELSEWHERE_SECONDS - 60
            os.utime(directory, (long_ago, long_ago))
        return both

    def test_what_one_still_uses_the_others_leave(
        self, places: Places, elsewhere: tuple[Path, Path], logs: Logs
    ):
        used, _ = elsewhere
        of_two = (logs.runs / f"{TWO}.log", logs.steps / TWO)
        before = [path.stat().st_ctime_ns for path in of_two]
        time.sleep(0.02)
        only_own = replace(places, is_caretaker=False)
        assert only_own.tidy_up(Living(runs=[TWO], work_dirs=[used])) == 0
        assert [path.is_dir() for path in elsewhere] == [True, True], "nobody's caretaker"
        after = [path.stat().st_ctime_ns for path in of_two]
        assert all(new > old for old, new in zip(before, after, strict=True))
        assert places.tidy_up(Living()) == 0
        assert [path.is_dir() for path in elsewhere] == [True, False]
        touched_at = min(path.stat().st_ctime for path in of_two)
        expire(logs.runs, logs.steps, places.keep, now=touched_at + 30 * DAY - 0.005)
        assert logs.kept() == {"two"}, "its age counts from there"

    def test_a_host_whose_run_has_no_log_yet(self, places: Places):
        assert places.tidy_up(Living(runs=[str(uuid.uuid4())], work_dirs=[Path("/no/such")])) == 0


@dataclass
class Ground:
    """What upkeep asks of a host's ground."""

    places: Places
    errands: int = 0
    living: list[Child] = field(default_factory=list)
    is_slow: bool = False

    @property
    def children(self) -> "Ground":
        return self

    @property
    def is_untidy(self) -> bool:
        return False

    def of_kind(self, *kinds: str) -> list[Child]:
        return [one for one in self.living if one.kind in kinds]

    def errand(self, body, kind) -> None:
        self.errands += 1
        if self.is_slow:
            self.living.append(Child(kind, {}, on_end=lambda _: None))
        assert body() == 0


def test_a_host_starts_no_upkeep_beside_one_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ground = Ground(Places(tmp_path / "work", tmp_path, tmp_path), is_slow=True)
    kept = Upkeep(ground)
    now = time.monotonic()
    for hour in range(1, 4):
        moment = now + hour * upkeep.INTERVAL_SECONDS
        monkeypatch.setattr(upkeep.time, "monotonic", lambda moment=moment: moment)
        kept.do_what_is_due()
        assert kept.due_at > moment, "the loop must not spin"
    assert ground.errands == 1
    ground.living.clear()
    moment = now + 5 * upkeep.INTERVAL_SECONDS
    monkeypatch.setattr(upkeep.time, "monotonic", lambda: moment)
    kept.do_what_is_due()
    assert ground.errands == 2


def test_what_a_host_s_own_children_use_is_touched(tmp_path: Path, logs: Logs):
    logs.write("one")
    places = Places(tmp_path / "work", tmp_path, tmp_path)
    directory = places.make_work_dir("run")
    os.utime(directory, (0, 0))
    child = Child("run", {"run_id": ONE}, on_end=lambda _: None)
    fence = Fence(Level.NONE)
    child.fenced = Fenced(fence, Principal(7, "run"), Surroundings(directory, limits=LIMITS["run"]))
    Upkeep(Ground(places, living=[child])).do_what_is_due()
    assert time.time() - directory.stat().st_mtime < 60


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
