"""dlt learns nothing from the machine, writes no secret, and talks to nobody else."""

import os
import pickle
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from datanika_dagster.launcher.job import JobError
from datanika_dagster.uploads.job import run
from tests.datanika_dagster.uploads.conftest import Uploader


def test_no_secret_is_written_anywhere(uploader: Uploader) -> None:
    uploader.source.execute("create table t (id int)", "insert into t values (1)")
    job = uploader.run(["t"])
    files = [path for path in job.work_dir.rglob("*") if path.is_file()]
    assert files
    passwords = [
        database.cluster.superuser_password for database in (uploader.source, uploader.warehouse)
    ]
    stored = "".join(
        str(uploader.warehouse.rows(f"select * from raw.{table}"))
        for table in ("_dlt_version", "_dlt_pipeline_state", "_dlt_loads")
    )
    for password in passwords:
        assert all(password.encode() not in path.read_bytes() for path in files)
        assert password not in job.text + stored + str(job.materializations)


def test_the_environment_configures_nothing(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__CREDENTIALS__HOST", "evil.invalid")
    monkeypatch.setenv("CREDENTIALS__PASSWORD", "wrong")
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "true")
    monkeypatch.setenv("RESTORE_FROM_DESTINATION", "false")
    monkeypatch.setenv("DLT_DATA_DIR", "/nonexistent")
    uploader.source.execute("create table t (id int)", "insert into t values (1)")
    uploader.run(["t"])
    assert uploader.warehouse.value("select count(*) from raw.t") == 1


def test_only_the_two_databases_are_connected_to(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[Any] = set()
    connect = socket.socket.connect

    def watched(self: socket.socket, address: Any) -> None:
        asked.add(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    uploader.source.execute("create table t (id int)")
    uploader.run(["t"])
    ports = {uploader.source.cluster.port, uploader.warehouse.cluster.port}
    assert asked <= {("127.0.0.1", port) for port in ports}


class Planted:
    """What runs a command when somebody unpickles it."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


def test_a_planted_pickle_is_never_loaded(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uploader.source.execute("create table t (id int)", "insert into t values (1)")
    before = uploader.run(["t"])
    pipeline = next(before.work_dir.glob("dlt_0/*"))
    marker = tmp_path / "unpickled"
    planted = pickle.dumps(Planted(f"touch {marker}"))
    monkeypatch.setenv("HOME", str(tmp_path))
    job = uploader.new_job()
    for parent in (job.work_dir / "dlt_0", tmp_path / ".dlt" / "pipelines"):
        (parent / pipeline.name).mkdir(parents=True)
        (parent / pipeline.name / "trace.pickle").write_bytes(planted)
    run(job, uploader.payload(["t"]), uploader.secrets)
    assert not marker.exists()
    pickle.loads(planted)
    assert marker.exists()  # whoever had loaded it would have shown


@pytest.mark.parametrize("side", ["shop", "warehouse"])
def test_a_wrong_password_is_named_and_not_repeated(uploader: Uploader, side: str) -> None:
    secrets = uploader.secrets
    secrets[side]["config"]["password"] = "hunter2-canary"
    job = uploader.new_job()
    with pytest.raises(JobError) as caught:
        run(job, uploader.payload(["t"]), secrets)
    assert caught.value.code == "connection.auth"
    assert "hunter2-canary" not in caught.value.message + job.text


def test_a_role_without_rights_is_told_so(uploader: Uploader) -> None:
    uploader.source.execute("create table t (id int)")
    role = f"weak_{uploader.warehouse.name}"
    uploader.warehouse.execute(f"create role {role} login password 'weak'")
    secrets = uploader.secrets
    secrets["warehouse"]["config"].update(user=role, password="weak")
    try:
        with pytest.raises(JobError, match="permission denied") as caught:
            run(uploader.new_job(), uploader.payload(["t"]), secrets)
        assert not caught.value.is_retryable
    finally:
        uploader.warehouse.execute(f"drop role {role}")


def test_a_lost_destination_is_retryable(uploader: Uploader) -> None:
    uploader.source.execute(
        "create table base as select generate_series(1, 4000) id",
        "create view t as select id from base, lateral (select pg_sleep(case when id > 0 then 0.002 end) offset 0) s",
    )

    def cut() -> None:
        with uploader.warehouse.connect() as admin:
            for _ in range(3000):
                row = admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_progress_copy"
                    " where tuples_processed >= 0 and datname = current_database()"
                ).fetchone()
                if row is not None:
                    return
                threading.Event().wait(0.02)

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(JobError) as caught:
        uploader.run(["t"])
    cutter.join()
    assert caught.value.is_retryable
