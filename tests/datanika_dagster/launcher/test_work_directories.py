"""What killed processes leave behind goes, what living ones use stays."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datanika_dagster.launcher import work_directories, worker
from datanika_dagster.launcher.host.places import Places
from datanika_dagster.launcher.work_directories import (
    ELSEWHERE_SECONDS,
    OWNER,
    UNFINISHED,
    UNOWNED_SECONDS,
)


def aged(directory, seconds):
    then = time.time() - seconds
    os.utime(directory, (then, then))


@pytest.mark.parametrize("prefix", ["run", "job", "task"])
def test_only_directories_of_the_dead_are_swept(tmp_path, prefix):
    mine, dead = (work_directories.create(tmp_path, prefix) for _ in range(2))
    work_directories.own(mine, os.getpid())
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    work_directories.own(dead, process.pid)
    work_directories.sweep(tmp_path)
    assert dead.exists()
    process.communicate(b"\n")
    work_directories.sweep(tmp_path)
    assert mine.exists()
    assert not dead.exists()


def test_what_is_made_belongs_to_its_maker(tmp_path):
    made = work_directories.create(tmp_path, "job")
    assert worker.from_tag((made / OWNER).read_text()) == worker.of_pid(os.getpid())
    assert (made.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (0o700, [made])


def test_whoever_is_killed_while_removing_or_making_leaves_nothing_for_long(tmp_path):
    removed = work_directories.create(tmp_path, "job")
    (removed / OWNER).unlink()
    being_made = tmp_path / f"{UNFINISHED}job_x"
    being_made.mkdir()
    work_directories.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [being_made]
    aged(being_made, UNOWNED_SECONDS + 1)
    work_directories.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_owner_s_note_is_removed_last(tmp_path, monkeypatch):
    directory = work_directories.create(tmp_path, "job")
    (directory / "a").write_text("")
    (directory / "b").mkdir()
    left = []

    def look(path, **_):
        left.append(sorted(entry.name for entry in Path(path).iterdir()))

    monkeypatch.setattr(shutil, "rmtree", look)
    work_directories.remove(directory)
    assert left[-1] == [OWNER, "b"], "the files beside it are gone; b only seemed to be removed"


def test_without_an_owner_that_can_be_asked_only_age_counts(tmp_path):
    new, old, elsewhere, forgotten = (work_directories.create(tmp_path, "run") for _ in range(4))
    for directory in (new, old):
        (directory / OWNER).unlink()
        (directory / "something").write_text("in use")
    tag = json.loads(worker.of_pid(os.getpid()).as_tag()) | {"machine": "another"}
    for directory in (elsewhere, forgotten):
        (directory / OWNER).write_text(json.dumps(tag))
    aged(old, UNOWNED_SECONDS + 1)
    aged(elsewhere, UNOWNED_SECONDS + 1)
    aged(forgotten, ELSEWHERE_SECONDS + 1)
    (tmp_path / "mine").mkdir()
    work_directories.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, elsewhere, tmp_path / "mine"])


def test_what_is_nested_deeply_is_removed_too(tmp_path):
    directory = work_directories.create(tmp_path, "job")
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(directory)
        for _ in range(1500):
            os.mkdir("d")  # noqa: PTH102 - a path would be too long
            os.chdir("d")
    finally:
        os.fchdir(here)
        os.close(here)
    work_directories.remove(directory)
    assert not directory.exists()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root for a tmpfs")
def test_a_directory_that_cannot_name_its_owner_does_not_stay(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (tmp_path / "filler").write_bytes(b"x" * 4096)
        with pytest.raises(OSError, match="No space left on device"):
            Places(tmp_path, None, tmp_path).make_work_dir("job")
        assert [entry.name for entry in tmp_path.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
