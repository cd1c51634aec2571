"""Logs stay bounded while their process goes on writing."""

import os
from pathlib import Path

from datanika_stack.process_log import ProcessLog


def test_a_long_log_is_moved_aside_under_its_writer(tmp_path: Path) -> None:
    log = ProcessLog(tmp_path / "p.log", longest_bytes=100)
    with log.opened() as descriptor:
        os.write(descriptor, b"a" * 150 + b"\n")
        log.bound()
        os.write(descriptor, b"after\n")
    assert (tmp_path / "p.log").read_bytes() == b"after\n"
    assert (tmp_path / "p.log.1").read_bytes() == b"a" * 150 + b"\n"
    assert (tmp_path / "p.log.1").stat().st_mode & 0o777 == 0o600
    assert log.last_line() == "after"


def test_the_last_line_is_of_this_start(tmp_path: Path) -> None:
    log = ProcessLog(tmp_path / "p.log", longest_bytes=10_000)
    with log.opened() as descriptor:
        os.write(descriptor, b"of before\n")
    with log.opened():
        pass
    assert log.last_line() == ""
    with log.opened() as descriptor:
        os.write(descriptor, b"first\n" + b"long" * 250 + b"\n")
    assert log.last_line() == ("long" * 75)
