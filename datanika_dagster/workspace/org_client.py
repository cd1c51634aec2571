"""Dagster's client of a code server, but one that wakes the server before it asks.

What a load has asked for is answered from what is kept, where something is. (Names of
`dagster._grpc.client`, 1.13.27; `tests/datanika_dagster/workspace/test_org_client.py` fails without.)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.client import DagsterGrpcClient

from datanika_dagster.workspace.kept_definitions import Answers
from datanika_dagster.workspace.servers import FAILING, Servers

WAKE_SECONDS = 25.0
POLL_SECONDS = 0.1
# So long the supervisor may take to notice that a server has died.
NOTICE_SECONDS = 0.5


class OrgClient(DagsterGrpcClient):
    """Asks one org's code server.

    Args:
        plain: The client that Dagster has made for the same server.
        name: The code location.
        servers: Says whether it serves, and wakes it.
        answers: What a load asks for; what is not there is asked for and added.
    """

    def __init__(
        self, plain: DagsterGrpcClient, name: str, servers: Servers, answers: Answers
    ) -> None:
        super().__init__(socket=plain.socket, metadata=plain.metadata)
        self._name = name
        self._servers = servers
        self._answers: Answers | None = answers

    def stop_answering(self) -> None:
        """Ends the load: from now on the server itself is asked, and the memory is free."""
        self._answers = None

    def list_repositories(self) -> str:
        """Returns which repositories there are."""
        return self._answer("repositories", super().list_repositories)

    def get_server_id(self, timeout: int = 60) -> str:
        """Returns the SHA-256 of the manifest that the server has."""
        return self._answer("server_id", lambda: super(OrgClient, self).get_server_id(timeout))

    def get_current_image(self) -> str:
        """Returns the container image of runs: none here, but every load asks."""
        return self._answer("image", super().get_current_image)

    def external_repository(
        self, remote_repository_origin: RemoteRepositoryOrigin, *args: Any, **kwargs: Any
    ) -> str:
        """Returns a repository's definitions."""
        ask = super().external_repository
        key = f"repository {remote_repository_origin.repository_name}"
        return self._answer(key, lambda: ask(remote_repository_origin, *args, **kwargs))

    def external_job(
        self,
        remote_repository_origin: RemoteRepositoryOrigin,
        job_name: str,
        *args: Any,
        **kwargs: Any,
    ) -> dagster_api_pb2.ExternalJobReply:
        """Returns a job's definition."""
        ask = super().external_job

        def data() -> str:
            reply = ask(remote_repository_origin, job_name, *args, **kwargs)
            if not reply.serialized_job_data:
                raise DagsterUserCodeUnreachableError(f"No definition of the job {job_name}.")
            return reply.serialized_job_data

        key = f"job {remote_repository_origin.repository_name} {job_name}"
        return dagster_api_pb2.ExternalJobReply(serialized_job_data=self._answer(key, data))

    def _answer(self, key: str, ask: Callable[[], str]) -> str:
        answers = self._answers
        if answers is None:
            return ask()
        if key not in answers:
            answers[key] = ask()
        return answers[key]

    def _get_response(self, method: str, request: Any, timeout: int = 60) -> Any:
        self._ensure_awake()
        try:
            return super()._get_response(method, request, timeout)
        except grpc.RpcError as error:
            if not self._may_come_back(error):
                raise
        time.sleep(NOTICE_SECONDS)
        self._ensure_awake()
        return super()._get_response(method, request, timeout)

    async def _gen_response(
        self,
        method: str,
        request: Any,
        timeout: int = 60,  # noqa: ASYNC109 - Dagster's own signature
    ) -> Any:
        await asyncio.to_thread(self._ensure_awake)
        try:
            return await super()._gen_response(method, request, timeout)
        except grpc.RpcError as error:
            if not self._may_come_back(error):
                raise
        await asyncio.sleep(NOTICE_SECONDS)
        await asyncio.to_thread(self._ensure_awake)
        return await super()._gen_response(method, request, timeout)

    def _get_streaming_response(
        self, method: str, request: Any, timeout: int = 60
    ) -> Iterator[Any]:
        self._ensure_awake()
        yield from super()._get_streaming_response(method, request, timeout)

    async def _gen_streaming_response(
        self,
        method: str,
        request: Any,
        timeout: int = 60,  # noqa: ASYNC109 - Dagster's own signature
    ) -> AsyncIterator[Any]:
        await asyncio.to_thread(self._ensure_awake)
        async for response in super()._gen_streaming_response(method, request, timeout):
            yield response

    def _ensure_awake(self) -> None:
        """Waits until the server serves.

        Raises:
            DagsterUserCodeUnreachableError: It does not, in time or at all.
        """
        deadline = time.monotonic() + WAKE_SECONDS
        while True:
            self._servers.use(self._name)
            server = self._servers.find(self._name)
            if server is None or server.is_serving:
                return
            if server.state == FAILING or time.monotonic() > deadline:
                reason = f": {server.reason}" if server.reason else ""
                raise DagsterUserCodeUnreachableError(
                    f"The code server of {self._name} is {server.state}{reason}"
                )
            time.sleep(POLL_SECONDS)

    @staticmethod
    def _may_come_back(error: grpc.RpcError) -> bool:
        """Returns whether nobody was there: it was going to sleep, being replaced, or has died."""
        code = getattr(error, "code", None)
        return callable(code) and code() is grpc.StatusCode.UNAVAILABLE
