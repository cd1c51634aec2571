"""One dlt pipeline per upload, sealed off from the machine it runs on.

dlt keeps state, schema and the record of completed loads in the destination; the working
directory is fresh for each run. Each table is a load package of its own: its rows, its cursor and
the mark that the load is complete belong together, and a failed table takes no other along.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers.dictionary import DictionaryProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.exceptions import DltException
from dlt.common.runtime.run_context import RunContext
from dlt.common.schema import Schema
from dlt.extract import DltResource
from dlt.pipeline.pipeline import Pipeline

from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.uploads import errors
from datanika_dagster.uploads.destination import (
    TICKET_FORMAT,
    TYPE_HINT,
    copy_pipe,
    write_ticket,
)
from datanika_dagster.uploads.source_table import LOAD_ID_COLUMN
from datanika_dagster.uploads.transfer import TableTransfer
from datanika_manifest import names

_SETTINGS: dict[str, Any] = {
    "runtime": {
        "dlthub_telemetry": False,
        "log_level": "CRITICAL",
        "intercept_signals": False,
    },
    "enable_runtime_trace": False,  # a trace holds tracebacks, is pickled and read back
    "load": {"raise_on_max_retries": 1, "delete_completed_jobs": True},
    "normalize": {"workers": 1},
}
_CURSORS = "cursors"


class SealedRunContext(RunContext):
    """A dlt context that reads no environment variable, no file and no secret store."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))
        self._global_dir = str(directory)

    @property
    def run_dir(self) -> str:
        """The job's own directory, whatever the environment says."""
        return self._init_run_dir

    @property
    def local_dir(self) -> str:
        """Likewise."""
        return self._init_run_dir

    @property
    def data_dir(self) -> str:
        """Likewise."""
        return self._init_run_dir

    def initial_providers(self) -> list[Any]:
        """The settings above are all that dlt is configured with."""
        provider = DictionaryProvider()
        provider._config_doc = _SETTINGS
        return [provider]


class UploadPipeline:
    """The dlt pipeline of one upload in one run."""

    def __init__(
        self, *, org: str, upload: str, target_schema: str, destination: Endpoint, work_dir: Path
    ) -> None:
        """Seals dlt off; nothing is connected yet.

        Args:
            org: The org's slug.
            upload: The upload's slug.
            target_schema: dlt's dataset.
            destination: Where the rows go.
            work_dir: An empty private directory.
        """
        self._name = names.join(org, upload)
        self._upload, self._dataset = upload, target_schema
        self._destination, self._work_dir = destination, work_dir
        self._transfers: dict[str, TableTransfer] = {}
        self._attempts = count()
        self._pipeline: Pipeline | None = None
        Container()[PluggableRunContext] = PluggableRunContext(SealedRunContext(work_dir))

    def load(self, transfer: TableTransfer) -> None:
        """Loads one table; when this returns, rows, cursor and load record are committed.

        Args:
            transfer: The copy to make. It knows its result afterwards.

        Raises:
            JobError: The copy failed, or the destination could not be prepared for it.
        """
        self._transfers[transfer.table] = transfer
        try:
            pipeline = self._ready()
            pipeline.extract(self._resource(transfer), schema=self._schema(pipeline))
            pipeline.normalize()
            pipeline.load(workers=1)
        except DltException as error:
            self._pipeline = None  # its directory holds a package that will never be loaded
            raise (transfer.error or errors.from_dlt(error)) from None

    def _ready(self) -> Pipeline:
        """Returns the pipeline with the state that the destination holds."""
        if self._pipeline is None:
            directory = self._work_dir / f"dlt_{next(self._attempts)}"
            self._pipeline = dlt.pipeline(
                pipeline_name=self._name,
                pipelines_dir=str(directory),
                dataset_name=self._dataset,
                destination=copy_pipe(
                    self._destination.url(application_name=self._name), self._transfers
                ),
            )
            self._pipeline.sync_destination()
        return self._pipeline

    def _schema(self, pipeline: Pipeline) -> Schema:
        if self._upload in pipeline.schemas:
            return pipeline.schemas[self._upload]
        normalizers: Any = {
            "names": "datanika_dagster.uploads.naming",
            "json": {"module": "dlt.common.normalizers.json.relational"},
        }
        return Schema(self._upload, normalizers=normalizers)

    def _resource(self, transfer: TableTransfer) -> DltResource:
        def tickets() -> Iterator[Any]:
            if transfer.cursor is not None:
                state = dlt.current.resource_state()
                # Kept under the column's name: another cursor starts from its own beginning.
                cursors = state.setdefault(_CURSORS, {})
                last = cursors.get(transfer.cursor)
                cursors[transfer.cursor] = transfer.fix_bounds(last)
            ticket = write_ticket(self._work_dir, transfer.table)
            yield dlt.mark.with_file_import(str(ticket), TICKET_FORMAT, 0)

        return dlt.resource(
            tickets,
            name=transfer.table,
            table_name=transfer.table,
            columns=_hints(transfer),
            write_disposition="append",
        )()


def _hints(transfer: TableTransfer) -> Any:
    exact = {column.source.name: column.target_type for column in transfer.columns}
    exact[LOAD_ID_COLUMN] = "text"
    return {
        name: {"name": name, "data_type": "text", "nullable": True, TYPE_HINT: type_name}
        for name, type_name in exact.items()
    }
