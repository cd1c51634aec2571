"""Runs job entries, each in a fork of its own: dbt must not run twice in one process.

Reads one JSON request per line; dbt is imported once, so that a test pays for its job only.
"""

import contextlib
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

import dbt.adapters.postgres
import dbt.cli.main  # noqa: F401 - imported before the forks, see above

from datanika_dagster.launcher.job import JobError


class RecordingJob:
    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self.logs: list[tuple[str, str]] = []
        self.messages: list[dict] = []

    def log(self, level, message):
        self.logs.append((level, message))

    def materialized(self, asset_key, metadata, data_version=None):
        raise AssertionError("dbt jobs report through custom messages only")

    def custom(self, payload):
        self.messages.append(json.loads(json.dumps(payload)))


def run(request: dict) -> None:
    work_dir = Path(request["work_dir"])
    job = RecordingJob(work_dir)
    answer: dict = {"value": None, "error": None}
    module, _, function = request["entry"].partition(":")
    try:
        entry = getattr(importlib.import_module(module), function)
        answer["value"] = entry(job, request["payload"], request["secrets"])
    except JobError as error:
        answer["error"] = {"code": error.code, "message": error.message, "field": error.field}
    answer |= {"logs": job.logs, "messages": job.messages}
    (work_dir / "answer.json").write_text(json.dumps(answer))


def fork(request: dict) -> int:
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        with (Path(request["work_dir"]) / "output.txt").open("w", buffering=1) as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            with contextlib.suppress(SystemExit):
                run(request)
                status = 0
    finally:
        if status:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    for line in sys.stdin:
        print(fork(json.loads(line)), flush=True)  # noqa: T201 - the answer to the test
