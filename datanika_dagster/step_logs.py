"""Where a step's output goes: straight into its log file.

Dagster's own local log manager starts two `tail`s and two Python interpreters around each step, which
copy the output to the run's as well. Starting them takes longer than a short load, and a run child is
given no right to start anything (docs/decisions/0121-a-step-writes-its-own-log.md).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dagster._config.config_schema import UserConfigSchema
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import (
    IO_TYPE_EXTENSION,
    LocalComputeLogManager,
)
from dagster._serdes import ConfigurableClassData

from datanika_dagster import settings

DIRECTORY = "storage"


class StepLogs(LocalComputeLogManager):
    """Log files below `$DAGSTER_HOME/storage`, written by the steps themselves."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Returns the settings in `dagster.yaml`: none, the place is the instance's own."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Makes the manager that `dagster.yaml` describes."""
        base_dir = settings.read().required_dagster_home() / DIRECTORY
        return cls(str(base_dir.absolute()), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:  # type: ignore[override]
        """Redirects stdout and stderr of this process to the step's files."""
        out, err = (
            self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type])
            for io_type in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        )
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with redirect_to_file(sys.stdout, out), redirect_to_file(sys.stderr, err):
            yield CapturedLogContext(log_key)
        # Whoever follows the log learns from this file that nothing more comes.
        Path(self.complete_artifact_path(log_key)).touch()
