"""The job `upload`: loads the tables of one upload, each one committed and reported on its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.registry import of_payload
from datanika_dagster.launcher.job import Job, JobError, Secrets
from datanika_dagster.uploads import errors
from datanika_dagster.uploads.lock import WAIT_SECONDS, UploadLock, lock_key, settle, upload_lock
from datanika_dagster.uploads.report import TableReport
from datanika_dagster.uploads.transfer import Connections, TableTransfer
from datanika_manifest import names
from datanika_manifest.uploads import Upload, UploadTable

LOCK_WAIT_SECONDS = WAIT_SECONDS


def run(job: Job, payload: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    """Loads tables from a source into a destination.

    Args:
        job: The channel to the run.
        payload: `upload` (JSON of `datanika_manifest.uploads.Upload`), `tables` (asset keys of
            the tables to load; absent: all), `org`, `run_id`, `allowed_networks`,
            `refused_endpoints`.
        secrets: The credentials of the upload's two connections.

    Returns:
        `tables`: name, rows and seconds of each.

    Raises:
        JobError: A connection fails, another run is loading, or tables failed; the tables that
            did not fail are loaded and reported all the same.
    """
    upload = Upload.model_validate(payload["upload"])
    source = of_payload(secrets[upload.source], payload)
    destination = of_payload(secrets[upload.destination], payload)
    name = names.join(payload["org"], upload.slug)
    key = lock_key("upload", name)
    with upload_lock(job, destination, key, name, LOCK_WAIT_SECONDS) as lock:
        settle(destination, upload.target_schema)
        loader = _Loader(job, upload, payload["org"], (source, destination), lock)
        return {"tables": loader.load(_selected(upload, payload.get("tables")))}


class _Loader:
    def __init__(
        self,
        job: Job,
        upload: Upload,
        org: str,
        endpoints: tuple[Endpoint, Endpoint],
        lock: UploadLock,
    ) -> None:
        # dlt is imported here: a job that fails to connect need not wait for it.
        from datanika_dagster.uploads.pipeline import UploadPipeline  # noqa: PLC0415

        self._job, self._upload = job, upload
        self._name, self._lock = names.join(org, upload.slug), lock
        self._source, self._destination = endpoints
        self._pipeline = UploadPipeline(
            org=org,
            upload=upload.slug,
            target_schema=upload.target_schema,
            destination=self._destination,
            work_dir=job.work_dir,
        )

    def load(self, tables: list[UploadTable]) -> list[dict[str, Any]]:
        done: list[dict[str, Any]] = []
        failures: dict[str, JobError] = {}
        for table in tables:
            report = TableReport(self._job, table)
            report.started()
            try:
                done.append(self._load(table, report))
            except JobError as error:
                report.failed(error.message)
                failures[table.target_table] = error
        if failures:
            raise errors.failed_tables(failures, len(tables))
        return done

    def _load(self, table: UploadTable, report: TableReport) -> dict[str, Any]:
        self._lock.verify()
        with self._connections() as connections:
            transfer = TableTransfer(self._upload, table, connections, report.progress, self._name)
            self._pipeline.load(transfer)
            facts = report.committed(transfer)
            self._tidy(transfer)
        return facts

    def _tidy(self, transfer: TableTransfer) -> None:
        try:
            transfer.vacuum()
        except psycopg.Error as error:
            reason = errors.from_database(error, "destination").message
            self._job.log("warning", f"{transfer.table}: not vacuumed. {reason}")

    @contextmanager
    def _connections(self) -> Iterator[Connections]:
        with (
            self._source.connect(application_name=self._upload.slug) as source,
            self._destination.connect(application_name=self._upload.slug) as destination,
        ):
            source.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            source.read_only = True
            yield Connections(source, destination)


def _selected(upload: Upload, asset_keys: list[list[str]] | None) -> list[UploadTable]:
    if asset_keys is None:
        return list(upload.tables)
    wanted = {tuple(key) for key in asset_keys}
    return [table for table in upload.tables if tuple(table.asset_key) in wanted]
