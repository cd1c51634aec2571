"""Code servers as the supervisor starts them: `dagster api grpc`, one per org, on a socket."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient

from datanika_manifest.names import location_name

START_SECONDS = 60


@contextmanager
def code_server(
    org: str,
    sha256: str,
    socket_path: Path,
    environment: dict[str, str],
    *,
    python_options: tuple[str, ...] = (),
    stderr: Path | None = None,
) -> Iterator[DagsterGrpcClient]:
    command = [
        *[sys.executable, *python_options, "-m", "dagster", "api", "grpc"],
        *["--socket", str(socket_path), "-m", "datanika_dagster.definitions"],
        *["--location-name", location_name(org), "--fixed-server-id", sha256],
    ]
    output = stderr or socket_path.with_suffix(".log")
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            env={
                "PATH": "/usr/bin:/bin",
                "DATANIKA_ORG": org,
                "DATANIKA_SERVICE_TOKEN": f"code_location_{org}",
            }
            | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    client = DagsterGrpcClient(socket=str(socket_path))
    try:
        wait_until_it_answers(client, process, output)
        yield client
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        socket_path.unlink(missing_ok=True)


def wait_until_it_answers(
    client: DagsterGrpcClient, process: subprocess.Popen[bytes], output: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.ping("")
        except DagsterUserCodeUnreachableError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(output.read_text()[-4000:])
