"""Job entries that behave badly on purpose, and a job process that knows them."""

import os
import signal
import sys
import time

from datanika_dagster.launcher import job_child, jobs
from datanika_dagster.launcher.job import JobError

BEAT_SECONDS = 0.2
MODULE = "tests.datanika_dagster.launcher.entries"


def load(job, payload, secrets):
    """Reports two tables and says its password wherever it can."""
    password = secrets["airline"]["config"]["password"]
    sys.stdout.write(f"stdout says {password}\n")
    sys.stderr.write(f"stderr says {password}\n")
    os.write(1, f"C code says {password}\n".encode())
    job.log("info", f"loading with {password}")
    for table in payload["tables"]:
        job.materialized(table, {"dagster/row_count": 3, "note": f"via {password}"})
    return {"ok": password}


def crash(job, payload, secrets):
    raise ValueError(f"cannot use {secrets['airline']['config']['password']} here")


def refuse(job, payload, secrets):
    raise JobError("upload.busy", "Another run holds the lock.", is_retryable=True)


def hang(job, payload, secrets):
    job.log("info", f"pid {os.getpid()}")
    time.sleep(60)


def silent_for_a_while(job, payload, secrets):
    """Works for longer than its run waits for a sign of life."""
    time.sleep(2)
    for table in payload["tables"]:
        job.materialized(table, {})


def stopped(job, payload, secrets):
    os.kill(os.getpid(), signal.SIGSTOP)


def imported(job, payload, secrets):
    job.log("info", ",".join(sorted(name for name in sys.modules if name == "dagster")))


def main() -> None:
    job_child.BEAT_SECONDS = BEAT_SECONDS
    for name in ("load", "crash", "refuse", "hang", "imported", "silent_for_a_while", "stopped"):
        jobs.JOBS[name] = f"{MODULE}:{name}"
    job_child.main()


if __name__ == "__main__":
    main()
