"""A code location whose definitions are known although its server may sleep."""

from collections.abc import Sequence
from typing import Any

from dagster import DagsterInstance
from dagster._core.definitions.timestamp import TimestampWithTimezone
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._grpc.client import DagsterGrpcClient

from datanika_dagster.workspace.kept_definitions import Answers
from datanika_dagster.workspace.org_client import OrgClient
from datanika_dagster.workspace.servers import Servers


class OrgCodeLocation(GrpcServerCodeLocation):
    """Loads from what is kept, else from the server; asks the server for everything else.

    Args:
        origin: Where the server listens.
        instance: The Dagster instance.
        servers: Wakes it.
        answers: What is kept; what was asked for is added.
    """

    def __init__(
        self,
        origin: GrpcServerCodeLocationOrigin,
        instance: DagsterInstance,
        servers: Servers,
        answers: Answers,
    ) -> None:
        self._servers = servers
        self._answers = answers
        super().__init__(origin=origin, instance=instance)
        self.client.stop_answering()
        self._answers = {}

    @property
    def client(self) -> OrgClient:
        """The client that wakes the server."""
        return self._client

    @client.setter
    def client(self, plain: DagsterGrpcClient) -> None:
        # The base class makes one when it is constructed.
        name = self.origin.location_name
        self._client = OrgClient(plain, name, self._servers, self._answers)

    def get_schedule_execution_data(
        self,
        instance: DagsterInstance,
        repository_handle: Any,
        schedule_name: str,
        scheduled_execution_time: TimestampWithTimezone | None,
        log_key: Sequence[str] | None,
    ) -> Any:
        """Evaluates a tick, without a log file: the server can write none, and ticks log nothing."""
        del log_key
        return super().get_schedule_execution_data(
            instance, repository_handle, schedule_name, scheduled_execution_time, None
        )
