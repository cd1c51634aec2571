"""Tasks as the control plane has them done: in a child of a worker host, one line back."""

import json
import socket
from contextlib import closing
from typing import Any

from datanika_dagster.launcher.host import client
from datanika_dagster.launcher.host.protocol import StartJob
from tests.datanika_dagster.support.worker_hosts import RunningHost


def ask(
    host: RunningHost,
    kind: str,
    payload: dict[str, Any],
    secrets: dict[str, Any] | None = None,
    *,
    org_id: int = 7,
    output: int | None = None,
) -> dict[str, Any]:
    """Runs a task and returns its answer; `output` is where what it prints goes."""
    ours, theirs = socket.socketpair()
    wanted = StartJob(org_id=org_id, kind=kind, deadline_seconds=60, has_output=output is not None)
    descriptors = [theirs.fileno()] + ([] if output is None else [output])
    order = {"form": "task", "entry": kind, "payload": payload, "secrets": secrets or {}}
    with host.connect() as connection, closing(ours):
        client.start_job(connection, wanted, descriptors)
        theirs.close()
        ours.sendall(json.dumps(order).encode() + b"\n")
        with ours.makefile("rb") as lines:
            return json.loads(lines.readline())
