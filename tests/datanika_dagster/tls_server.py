"""A PostgreSQL that speaks TLS: Debian's, since the one that the wheel carries is built without."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from datanika_stack.initdb import child_options
from datanika_stack.os_access import ensure_os_user, give_directory, is_root, let_user_reach
from tests.datanika_dagster.certificates import Certified
from tests.fixtures.ports import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
SETTINGS = {
    "ssl": "on",
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "ssl_ca_file": "clients.crt",
}


@dataclass(frozen=True)
class TlsServer:
    """A cluster of its own; what the tests' databases ask of an embedded one it has too."""

    data_dir: Path
    port: int
    superuser_password: str = "tls-tests"

    def dsn(self, database: str = "postgres") -> str:
        place = f"host=127.0.0.1 port={self.port} dbname={database}"
        return f"{place} user=postgres password={self.superuser_password}"

    def use(self, certified: Certified, clients: str, *rules: str) -> None:
        """Gives the server a certificate and lines of pg_hba.conf, and waits until it uses them.

        Args:
            certified: What it shows.
            clients: Who may have signed the clients' certificates.
            rules: They come before the one that lets the superuser in.
        """
        owner = self.data_dir.stat()
        superuser = "host all postgres 127.0.0.1/32 scram-sha-256"
        for name, text in {
            "server.crt": certified.certificate,
            "server.key": certified.key,
            "clients.crt": clients,
            "pg_hba.conf": "\n".join([*rules, superuser, ""]),
        }.items():
            path = self.data_dir / name
            path.write_text(text)
            path.chmod(0o600)
            if is_root():
                os.chown(path, owner.st_uid, owner.st_gid)
        server = [BINARIES[-1] / "pg_ctl", "-D", self.data_dir, "reload"]
        user = ensure_os_user() if is_root() else None
        subprocess.run(server, check=True, capture_output=True, **child_options(user))
        time.sleep(0.3)


@contextmanager
def running_tls_server() -> Generator[TlsServer]:
    """Runs a cluster for the block, or skips the test where no such server is installed."""
    if not BINARIES:
        pytest.skip("TLS is NOT TESTED: no server in /usr/lib/postgresql")
    directory = Path(tempfile.mkdtemp(prefix="dtl", dir="/tmp"))
    user = ensure_os_user() if is_root() else None
    if user:
        let_user_reach(BINARIES[-1] / "initdb", user)
    give_directory(directory, user)
    options: dict[str, Any] = child_options(user)
    server = TlsServer(directory / "data", free_port())
    password_file = directory / "password"
    password_file.write_text(server.superuser_password)
    if user:
        os.chown(password_file, user.uid, user.gid)
    subprocess.run(
        [BINARIES[-1] / "initdb", "-D", server.data_dir, "-U", "postgres", "-A", "scram-sha-256",
         "-N", "--pwfile", password_file, "-E", "UTF8", "--locale=C"],
        check=True, capture_output=True, **options,
    )  # fmt: skip
    control = [BINARIES[-1] / "pg_ctl", "-w", "-D", server.data_dir, "-l", directory / "log"]
    listening = f"-c fsync=off -h 127.0.0.1 -p {server.port} -k {directory}"
    subprocess.run(
        [*control, "-o", listening, "start"], check=True, stdout=subprocess.DEVNULL, **options
    )
    try:
        _speak_tls(server)
        yield server
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], capture_output=True, **options)
        shutil.rmtree(directory, ignore_errors=True)


def _speak_tls(server: TlsServer) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        for name, value in SETTINGS.items():
            admin.execute(f"alter system set {name} = '{value}'")
