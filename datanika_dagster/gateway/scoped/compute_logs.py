"""Output of runs, backfills and ticks, as an org may read it.

A log's key becomes a path: its parts must be plain names, and what it is of must be the org's.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.storage.compute_log_manager import (
    CapturedLogData,
    CapturedLogMetadata,
    CapturedLogSubscription,
    ComputeIOType,
)
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from typing_extensions import override

from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped.boundary import OrgBoundary
from datanika_dagster.gateway.scoped.ownership import Ownership
from datanika_dagster.gateway.scoped.policy import (
    Custom,
    Deny,
    Derived,
    Facade,
    Pass,
    Policy,
    facade,
)
from datanika_dagster.gateway.scoped.schedule_storage import OrgScheduleStorage

_PART: Final = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00]+\Z")
_LARGEST_TICK_ID: Final = (1 << 63) - 1
_EXTENSIONS: Final = frozenset({"out", "err", "complete"})

POLICIES: Final[Mapping[str, Policy]] = {
    "build_cursor": Pass(),
    "build_log_key_for_run": Pass(),
    "capture_logs": Deny(),
    "complete_artifact_path": Deny(),
    "config_type": Deny(),
    "delete_logs": Deny(),
    "from_config_value": Deny(),
    "get_captured_local_path": Custom(),
    "get_captured_log_download_url": Custom(),
    "get_log_data": Custom(),
    "get_log_data_for_type": Custom(),
    "get_log_keys_for_log_key_prefix": Custom(),
    "get_log_metadata": Custom(),
    "inst_data": Derived(),
    "is_capture_complete": Custom(),
    "open_log_stream": Deny(),
    "parse_cursor": Pass(),
    "polling_timeout": Derived(),
    "read_log_lines_for_log_key_prefix": Derived(),
    "read_path": Deny(),
    "subscribe": Custom(),
    "unsubscribe": Pass(),
}


@facade(LocalComputeLogManager, POLICIES)
class OrgComputeLogs(Facade, LocalComputeLogManager):
    """The output of an org's runs, backfills and ticks.

    Args:
        inner: Everybody's.
        own: What is the org's.
        role: What who asks is in the org.
        ticks: The org's.
    """

    def __init__(
        self,
        inner: LocalComputeLogManager,
        own: Ownership,
        role: Role,
        ticks: OrgScheduleStorage,
    ) -> None:
        super().__init__(inner, own, role)
        self._ticks = ticks

    # Dagster's webserver asks for nothing but this and says the path to nobody.
    @override
    def get_captured_local_path(
        self, log_key: Sequence[str], extension: str, partial: Any = False
    ) -> str:
        if extension not in _EXTENSIONS:
            raise OrgBoundary("get_captured_local_path")
        return self._inner.get_captured_local_path(self._checked(log_key), extension, partial)

    @override
    def get_captured_log_download_url(self, log_key: Any, io_type: Any) -> str:
        return self._inner.get_captured_log_download_url(self._checked(log_key), io_type)

    @override
    def get_log_data(
        self, log_key: Sequence[str], cursor: str | None = None, max_bytes: int | None = None
    ) -> CapturedLogData:
        return self._inner.get_log_data(self._checked(log_key), cursor, max_bytes)

    @override
    def get_log_data_for_type(
        self,
        log_key: Sequence[str],
        io_type: ComputeIOType,
        offset: int | None = 0,
        max_bytes: int | None = None,
    ) -> Any:
        return self._inner.get_log_data_for_type(self._checked(log_key), io_type, offset, max_bytes)

    @override
    def get_log_keys_for_log_key_prefix(
        self, log_key_prefix: Sequence[str], io_type: ComputeIOType
    ) -> Sequence[list[str]]:
        return self._inner.get_log_keys_for_log_key_prefix(self._checked(log_key_prefix), io_type)

    @override
    def get_log_metadata(self, log_key: Sequence[str]) -> CapturedLogMetadata:
        found: CapturedLogMetadata = self._inner.get_log_metadata(self._checked(log_key))
        # Where the files are is the platform's business.
        return CapturedLogMetadata(
            stdout_download_url=found.stdout_download_url,
            stderr_download_url=found.stderr_download_url,
        )

    @override
    def is_capture_complete(self, log_key: Sequence[str]) -> bool:
        return self._inner.is_capture_complete(self._checked(log_key))

    @override
    def subscribe(
        self, log_key: Sequence[str], cursor: str | None = None
    ) -> CapturedLogSubscription:
        return self._inner.subscribe(self._checked(log_key), cursor)

    def _checked(self, log_key: Sequence[str]) -> list[str]:
        parts = list(log_key)
        if not all(_PART.match(part) for part in parts) or not self._is_own(parts):
            raise OrgBoundary("log")
        return parts

    def _is_own(self, parts: Sequence[str]) -> bool:
        match parts:
            case ["backfill", backfill_id, *_]:
                return self._own.has_backfill(backfill_id)
            case [repository, name, tick_id] if repository == SINGLETON_REPOSITORY_NAME:
                return self._is_own_tick(name, tick_id)
            case [run_id, _, *_]:
                return self._own.has_run(run_id)
            case _:
                return False

    def _is_own_tick(self, name: str, tick_id: str) -> bool:
        if not (tick_id.isascii() and tick_id.isdigit()) or int(tick_id) > _LARGEST_TICK_ID:
            return False
        ticks = self._ticks.get_ticks_by_ids([int(tick_id)])
        return any(tick.instigator_name == name for tick in ticks)
