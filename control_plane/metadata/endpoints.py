"""`/api/v1/orgs/{org}/connections/{id}/metadata`, `…/tables` and `…/sample`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.connections.service import ConnectionService
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, TaskRunnerDep, VaultDep
from control_plane.core.errors import Invalid
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cut,
    decode_cursor,
    encode_cursor,
)
from control_plane.metadata.schemas import Sample, SyncResult, TableView
from control_plane.metadata.service import MetadataService

router = APIRouter(prefix="/orgs/{org}/connections/{connection_id}", tags=["metadata"])

Reader = Annotated[Caller, Depends(Require(Permission.CONNECTIONS_READ))]
Runner = Annotated[Caller, Depends(Require(Permission.CONNECTIONS_RUN))]
Services = tuple[ConnectionService, MetadataService]
ExactName = Annotated[str, Query(min_length=1, max_length=63, pattern=r"^[^\x00]*$")]
DEFAULT_SAMPLE_ROWS = 20
MAXIMUM_SAMPLE_ROWS = 100


class TableFilters:
    """Which tables are listed."""

    def __init__(
        self,
        schema: Annotated[str | None, Query(description="Only this schema.")] = None,
        name: Annotated[str | None, Query(description="Only names that contain this.")] = None,
    ) -> None:
        self.schema_name = schema
        self.name = name


async def _services(
    session: SessionDep, factory: SessionFactoryDep, vault: VaultDep, runner: TaskRunnerDep
) -> Callable[[Caller], Services]:
    return lambda caller: (
        ConnectionService.of(session, caller, vault),
        MetadataService(session, caller.org_id, OrgTasks.of(factory, runner, vault, caller)),
    )


ServicesDep = Annotated[Callable[[Caller], Services], Depends(_services)]


@router.post("/metadata/sync")
def sync_metadata(connection_id: int, caller: Runner, services: ServicesDep) -> SyncResult:
    """Looks at the database now and remembers its tables, columns and keys."""
    connections, metadata = services(caller)
    return SyncResult(tables=metadata.sync_metadata(connections.get(connection_id)))


@router.get("/sample")
def get_sample(
    connection_id: int,
    caller: Runner,
    services: ServicesDep,
    schema: ExactName,
    table: ExactName,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_SAMPLE_ROWS)] = DEFAULT_SAMPLE_ROWS,
) -> Sample:
    """Returns the first rows of a table or model as they are now, in no particular order."""
    connections, metadata = services(caller)
    row = connections.get(connection_id)
    connections.refuse_destroyed(row)
    return metadata.sample(row, schema, table, limit)


@router.get("/tables")
def list_tables(
    connection_id: int,
    caller: Reader,
    services: ServicesDep,
    filters: Annotated[TableFilters, Depends()],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[TableView]:
    """Lists the tables that the last discovery saw, by schema and name."""
    connections, metadata = services(caller)
    row = connections.get(connection_id)
    found = metadata.page_tables(
        row.id,
        schema=filters.schema_name,
        name=filters.name,
        after=_position(cursor),
        limit=limit + 1,
    )
    tables, has_more = cut(found, limit)
    last = tables[-1] if has_more else None
    return Page(
        data=[TableView.model_validate(table, from_attributes=True) for table in tables],
        next_cursor=encode_cursor(last.schema_name, last.table_name) if last else None,
    )


def _position(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    match decode_cursor(cursor):
        case [str() as schema, str() as table]:
            return schema, table
        case _:
            raise Invalid.field("/cursor", "is not a cursor of this list")
