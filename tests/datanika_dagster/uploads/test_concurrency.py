"""Uploads that start together in a new schema."""

import json
import subprocess
import sys

from tests.datanika_dagster.uploads.conftest import Uploader

_CHILD = """
import json, sys
from pathlib import Path
from datanika_dagster.uploads import job
from tests.datanika_dagster.databases import RecordingJob
given = json.load(sys.stdin)
job.run(RecordingJob(Path(given["work_dir"])), given["payload"], given["secrets"])
"""


def test_two_uploads_make_the_same_schema(uploader: Uploader) -> None:
    children = []
    for slug in ("first", "second"):
        uploader.source.execute(f"create table {slug} as select generate_series(1, 1000) i")
        payload = uploader.payload([slug], slug=slug)
        given = {
            "work_dir": str(uploader.new_job().work_dir),
            "payload": payload,
            "secrets": uploader.secrets,
        }
        child = subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE)
        children.append(child)
        assert child.stdin is not None
        child.stdin.write(json.dumps(given).encode())
    for child in children:  # both have started and wait for the end of their input
        assert child.stdin is not None
        child.stdin.close()
    assert [child.wait(timeout=60) for child in children] == [0, 0]
    for slug in ("first", "second"):
        assert uploader.warehouse.value(f"select count(*) from raw.{slug}") == 1000
    assert uploader.warehouse.value("select count(*) from raw._dlt_loads") == 2
