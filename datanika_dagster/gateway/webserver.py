"""Dagster's webserver for people in orgs.

It makes no other request context than that of the request's principal, so what it answers is the org's
however it is asked. Private names of Dagster that it uses: `tests/datanika_dagster/gateway/test_pins.py`.
"""

import asyncio
import gzip
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any, Final

from dagster._core.debug import DebugRunPayload
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._serdes import serialize_value
from dagster_webserver.graphql import _handle_async_results  # pyright: ignore[reportPrivateUsage]
from dagster_webserver.webserver import DagsterWebserver
from graphene import Schema
from graphql import ExecutionResult, GraphQLError, parse, validate
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from datanika_dagster.gateway import masking
from datanika_dagster.gateway.errors import FieldRefused, GatewayMisconfigured
from datanika_dagster.gateway.field_guard import guarded_schema
from datanika_dagster.gateway.intents import Intents
from datanika_dagster.gateway.org_context import (
    OrgProcess,
    OrgRequestContext,
    OwnInstance,
    OwnLocations,
)
from datanika_dagster.gateway.principal import PRINCIPAL, Principal
from datanika_dagster.gateway.problems import problem
from datanika_dagster.gateway.query_limits import refuse_costly
from datanika_dagster.gateway.routes import check_routes
from datanika_dagster.workspace.context import OrgWorkspace

LOG_CHUNK_BYTES: Final = 1 << 20
_STREAMS: Final = {"out": ComputeIOType.STDOUT, "err": ComputeIOType.STDERR}
_INSTANCE_ID: Final = re.compile(r'"instanceId": "[^"]*"')


class OrgWebserver(DagsterWebserver[OrgWorkspace, OrgRequestContext]):
    """The webserver.

    Args:
        workspace: Everybody's; each request sees its own org's part.
        prefix: The path under which it is.
        own_instance: Makes a principal's view of the instance.
        intents: Asked before each mutation.
    """

    def __init__(
        self, workspace: OrgWorkspace, prefix: str, own_instance: OwnInstance, intents: Intents
    ) -> None:
        self._intents = intents
        self._own_instance = own_instance
        self._own_locations = OwnLocations(workspace)
        super().__init__(workspace, prefix)

    def build_graphql_schema(self) -> Schema:
        """Returns the schema with a guard before each root field."""
        return guarded_schema(self._intents)

    def build_routes(self) -> list[BaseRoute]:
        """Returns the routes, each of which has a row in the table.

        Raises:
            GatewayMisconfigured: One has none.
        """
        routes: list[BaseRoute] = super().build_routes()
        check_routes(routes, self._app_path_prefix)
        return routes

    def _make_request_context(self, conn: HTTPConnection) -> OrgRequestContext:
        principal = conn.scope.get(PRINCIPAL)
        if not isinstance(principal, Principal):
            raise GatewayMisconfigured("A request without a principal came to the orgs' webserver.")
        process = OrgProcess(
            self._process_context, self._own_locations, self._own_instance, principal
        )
        return process.create_request_context(conn)

    def handle_graphql_errors(self, errors: Any) -> list[Any]:
        """Returns errors as they may be shown."""
        return masking.shown_errors(errors)

    def _determine_status_code(
        self, resolver_errors: list[GraphQLError] | None, captured_errors: list[Exception]
    ) -> int:
        # What the gateway itself refuses is an answer, and no failure of the server's.
        unexpected = [one for one in resolver_errors or () if not masking.is_refusal(one)]
        captured = [one for one in captured_errors if not _is_refusal(one)]
        return super()._determine_status_code(unexpected, captured)

    def graphql_execution_thread(
        self,
        request: Request,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> JSONResponse:
        """Answers a query, in a thread, unless it is larger than any page needs."""
        try:
            refuse_costly(query)
        except FieldRefused as refusal:
            return JSONResponse({"errors": [refusal.formatted]}, HTTPStatus.BAD_REQUEST)
        return super().graphql_execution_thread(request, query, variables, operation_name)

    async def execute_graphql_subscription(
        self,
        websocket: WebSocket,
        operation_id: str,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> tuple[asyncio.Task[None] | None, Any]:
        """Starts a subscription; unlike the stock one it validates the query and masks all errors."""
        try:
            invalid = await run_in_threadpool(self._invalid, query)
        except GraphQLError as error:
            return None, error.formatted
        if invalid:
            return None, masking.shown_errors(invalid)[0]
        with self.request_context(websocket) as context:
            results = await self._graphene_schema.subscribe(
                query, variables=variables, operation_name=operation_name, context=context
            )
        if isinstance(results, ExecutionResult):
            return None, masking.shown_errors(results.errors or [])[0]
        sending = _handle_async_results(_masked(results), operation_id, websocket)
        return asyncio.get_running_loop().create_task(sending), None

    def _invalid(self, query: str) -> list[GraphQLError]:
        refuse_costly(query)
        return validate(self._graphene_schema.graphql_schema, parse(query))

    async def download_captured_logs_endpoint(self, request: Request) -> Any:
        """Sends the output of a step, read through the org's own view."""
        *log_key, extension = request.path_params["path"].split("/")
        stream = _STREAMS.get(extension)
        if stream is None or not log_key:
            return _missing("output")
        return await run_in_threadpool(self._output, request, log_key, stream)

    def _output(self, request: Request, log_key: list[str], stream: ComputeIOType) -> Response:
        with self.request_context(request) as context:
            logs = context.instance.compute_log_manager
            try:
                first, offset = logs.get_log_data_for_type(log_key, stream, 0, LOG_CHUNK_BYTES)
            except GraphQLError:
                return _missing("output")
            if not first:
                return _missing("output")

        def chunks(chunk: bytes, offset: int) -> Iterator[bytes]:
            while chunk:
                yield chunk
                found, offset = logs.get_log_data_for_type(log_key, stream, offset, LOG_CHUNK_BYTES)
                chunk = found or b""

        name = f"{'__'.join(log_key)}.{'out' if stream is ComputeIOType.STDOUT else 'err'}"
        disposition = {"Content-Disposition": f'attachment; filename="{_plain(name)}"'}
        return StreamingResponse(
            chunks(first, offset), media_type="text/plain; charset=utf-8", headers=disposition
        )

    async def download_debug_file_endpoint(self, request: Request) -> Any:
        """Sends what Dagster has stored of a run of the org's; unlike the stock one in a thread."""
        return await run_in_threadpool(self._debug_file, request)

    def _debug_file(self, request: Request) -> Response:
        with self.request_context(request) as context:
            run = context.instance.get_run_by_id(request.path_params["run_id"])
            if run is None:
                return _missing("run")
            payload = serialize_value(DebugRunPayload.build(context.instance, run))
        return Response(gzip.compress(payload.encode()), media_type="application/gzip")

    async def download_notebook(self, request: Request) -> Any:
        """Refuses."""
        return _refused()

    async def report_asset_materialization_endpoint(self, request: Request) -> Any:
        """Refuses."""
        return _refused()

    async def report_asset_check_endpoint(self, request: Request) -> Any:
        """Refuses."""
        return _refused()

    async def report_asset_observation_endpoint(self, request: Request) -> Any:
        """Refuses."""
        return _refused()

    def index_html_endpoint(self, request: Request) -> HTMLResponse:
        """Sends the page under an instance id of the org's own: browsers keep what they know under it.

        Raises:
            GatewayMisconfigured: The page has no place for it.
        """
        page = super().index_html_endpoint(request)
        instance_id = f'"instanceId": "{self._instance_id(request.scope[PRINCIPAL])}"'
        text, places = _INSTANCE_ID.subn(instance_id, bytes(page.body).decode())
        if places != 1:
            raise GatewayMisconfigured("The webserver's page has no place for an instance id.")
        page.body = page.render(text)
        page.headers["content-length"] = str(len(page.body))
        return page

    def _instance_id(self, principal: Principal) -> uuid.UUID:
        storage = self._process_context.instance.run_storage
        whole = storage.get_run_storage_id()  # pyright: ignore[reportAttributeAccessIssue]
        return uuid.uuid5(uuid.UUID(whole), str(principal.org_id))


async def _masked(results: AsyncIterator[ExecutionResult]) -> AsyncGenerator[ExecutionResult, None]:
    try:
        async for result in results:
            errors = [masking.shown_error(error) for error in result.errors or ()]
            yield ExecutionResult(result.data, errors or None)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is logged, and told masked
        raise masking.shown_error(error) from None


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, GraphQLError) and masking.is_refusal(error)


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)


def _missing(kind: str) -> Response:
    return problem(HTTPStatus.NOT_FOUND, "not_found", f"This organization has no such {kind}.")


def _refused() -> Response:
    reason = "Nobody in an organization may use this."
    return problem(HTTPStatus.FORBIDDEN, "permission.denied", reason)
