"""A child process that runs one job entry and tells what it sent: dbt must not run twice in one."""

import importlib
import json
import sys
from pathlib import Path

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


def main() -> None:
    request = json.load(sys.stdin)
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


if __name__ == "__main__":
    main()
