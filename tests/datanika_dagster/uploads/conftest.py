"""Two real clusters, and one way to run an upload between them."""

import itertools
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    # sqlglot, which dlt imports, warns of its own optional accelerator.
    warnings.filterwarnings(
        "ignore", message="sqlglotrs is deprecated", category=DeprecationWarning
    )
    import sqlglot  # noqa: F401

from datanika_dagster.uploads import job as upload_job
from datanika_stack.postgres import EmbeddedPostgres
from tests.datanika_dagster.databases import LOOPBACK, Database, RecordingJob, new_database
from tests.fixtures.ports import free_port


@pytest.fixture(scope="session")
def source_cluster() -> Iterator[EmbeddedPostgres]:
    directory = Path(tempfile.mkdtemp(prefix="dts", dir="/tmp"))
    directory.chmod(0o755)
    cluster = EmbeddedPostgres(
        directory / "data",
        free_port(),
        directory / "socket",
        secrets.token_urlsafe(16),
        durable=False,
    )
    try:
        with cluster:
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def source(source_cluster: EmbeddedPostgres) -> Iterator[Database]:
    with new_database(source_cluster) as database:
        yield database


@pytest.fixture
def warehouse(postgres_cluster: EmbeddedPostgres) -> Iterator[Database]:
    with new_database(postgres_cluster) as database:
        yield database


class Uploader:
    """Runs uploads from one database into the other, each run with a fresh directory."""

    def __init__(self, source: Database, warehouse: Database, directory: Path) -> None:
        self.source, self.warehouse, self._directory = source, warehouse, directory
        self._runs = itertools.count()

    def payload(
        self, tables: Sequence[str], disposition: str = "replace", **settings: Any
    ) -> dict[str, Any]:
        upload = {
            "id": 1,
            "slug": "orders",
            "name": "Orders",
            "source": "shop",
            "destination": "warehouse",
            "target_schema": "raw",
            "tables": [self._table(number, table) for number, table in enumerate(tables)],
            "write_disposition": disposition,
            **settings,
        }
        return {"upload": upload, "org": "acme", "run_id": "r1", "allowed_networks": LOOPBACK}

    @property
    def secrets(self) -> dict[str, Any]:
        return {"shop": self.source.secret, "warehouse": self.warehouse.secret}

    def new_job(self) -> RecordingJob:
        work_dir = self._directory / f"run{next(self._runs)}"
        work_dir.mkdir()
        return RecordingJob(work_dir)

    def run(
        self, tables: Sequence[str], disposition: str = "replace", **settings: Any
    ) -> RecordingJob:
        job = self.new_job()
        self.run_job(job, tables, disposition, **settings)
        return job

    def run_job(
        self,
        job: RecordingJob,
        tables: Sequence[str],
        disposition: str = "replace",
        **settings: Any,
    ) -> None:
        upload_job.run(job, self.payload(tables, disposition, **settings), self.secrets)

    @staticmethod
    def _table(number: int, table: str) -> dict[str, Any]:
        target = table if table.isidentifier() and table.islower() else f"table_{number}"
        return {
            "source_schema": "public",
            "source_table": table,
            "target_table": target,
            "asset_key": ["acme", "warehouse", "raw", target],
        }


@pytest.fixture
def uploader(source: Database, warehouse: Database, tmp_path: Path) -> Uploader:
    return Uploader(source, warehouse, tmp_path)
