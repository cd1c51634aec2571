"""A job that finds no space says so, whatever library was writing."""

import os
from pathlib import Path

import pytest

from datanika_dagster.launcher import full_disk, jobs
from datanika_dagster.launcher.job import JobError

# Linux: every write to it fails with ENOSPC (full(4)).
FULL = "/dev/full"


def write():
    descriptor = os.open(FULL, os.O_WRONLY)
    try:
        os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def plain(*_):
    write()


def wrapped(*_):
    try:
        write()
    except OSError as error:
        raise RuntimeError("a step of a pipeline failed") from error


def reworded(*_):
    try:
        write()
    except OSError:
        raise JobError("upload.destination_failed", "Preparing failed: OSError.") from None


def unrelated(*_):
    raise RuntimeError("something else") from FileNotFoundError("a file")


@pytest.mark.skipif(not Path(FULL).exists(), reason=f"there is no {FULL}")
@pytest.mark.parametrize("entry", [plain, wrapped, reworded])
def test_the_disk_is_named(entry, monkeypatch):
    monkeypatch.setitem(jobs.JOBS, "writing", f"{__name__}:{entry.__name__}")
    outcome = jobs.invoke("writing", None, {}, {})
    assert outcome.error == {"code": "job.disk_full", "message": full_disk.MESSAGE, "field": None}
    assert outcome.is_retryable


def test_other_failures_stay_what_they_are(monkeypatch):
    monkeypatch.setitem(jobs.JOBS, "failing", f"{__name__}:unrelated")
    outcome = jobs.invoke("failing", None, {}, {})
    assert outcome.error["message"] == "RuntimeError: something else"
