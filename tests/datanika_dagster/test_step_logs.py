"""What a step writes is in its log file when the step has ended, and no process was started for it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from datanika_dagster.step_logs import StepLogs

KEY = ["run", "compute_logs", "step"]


@pytest.fixture
def logs(tmp_path: Path) -> StepLogs:
    return StepLogs(str(tmp_path))


def test_both_streams_of_this_process_and_of_what_it_starts(logs: StepLogs, capfd) -> None:
    with capfd.disabled(), logs.capture_logs(KEY):
        os.write(1, b"a line\n")
        sys.stderr.write("a warning\n")
        subprocess.run(["/bin/echo", "from outside"], check=True)
        children = psutil.Process().children()
    with logs.open_log_stream(KEY, ComputeIOType.STDOUT) as out:
        out.seek(0)
        assert out.read() == "a line\nfrom outside\n"
    with logs.open_log_stream(KEY, ComputeIOType.STDERR) as err:
        err.seek(0)
        assert err.read() == "a warning\n"
    assert logs.is_capture_complete(KEY)
    assert [child.name() for child in children if child.name() == "tail"] == []


def test_what_was_written_before_a_failure_is_kept(logs: StepLogs, capfd) -> None:
    def fail() -> None:
        with logs.capture_logs(KEY):
            os.write(1, b"got so far\n")
            raise ValueError("wrong")

    with capfd.disabled(), pytest.raises(ValueError, match="wrong"):
        fail()
    assert logs.get_log_data(KEY).stdout == b"got so far\n"
    assert not logs.is_capture_complete(KEY)
