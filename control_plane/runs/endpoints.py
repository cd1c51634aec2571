"""`/api/v1/orgs/{org}/runs`, the launches of targets, and what launcher and shells ask."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from control_plane.access.caller import (
    Caller,
    Require,
    RequireService,
    SignerDep,
    actor_of,
    bearer_token,
    resolve_caller,
)
from control_plane.access.permissions import SHELL_RUN, Permission
from control_plane.access.sessions.tokens import ServiceClaims, ServiceRole
from control_plane.audit.service import SYSTEM
from control_plane.connections.schemas import Redeemed
from control_plane.core.database import enter_org, transaction
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, SettingsDep, VaultDep
from control_plane.core.errors import Forbidden, Invalid, NotFound, Unauthorized
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cut,
    decode_cursor,
    encode_cursor,
)
from control_plane.core.requests import client_address, trace_id
from control_plane.core.slots import Slots
from control_plane.core.vault import Vault
from control_plane.runs import authorization, reconciliation, service
from control_plane.runs.authorization import StartingRun
from control_plane.runs.dagster import DagsterClient
from control_plane.runs.launching import RunLauncher
from control_plane.runs.models import Run, RunStatus, RunTrigger
from control_plane.runs.reading import ReadingDep
from control_plane.runs.redemption import Redemption
from control_plane.runs.schemas import (
    AuthorizedRun,
    CheckKey,
    RunAuthorize,
    RunCreate,
    RunLog,
    RunRetry,
    RunSummary,
    RunTarget,
    RunView,
    ShellRunAuthorize,
)
from control_plane.targets.service import TargetRef, TargetService
from control_plane.tenancy.service import get_active_org

router = APIRouter(prefix="/orgs/{org}", tags=["runs"])
internal = APIRouter()

FROM_FAILURE = RunRetry()
Reader = Annotated[Caller, Depends(Require(Permission.RUNS_READ))]
Runner = Annotated[Caller, Depends(Require(Permission.RUNS_RUN))]
Launcher = Annotated[ServiceClaims, Depends(RequireService(ServiceRole.LAUNCHER))]
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=200, description="The same key never leads to two runs."),
]


async def get_dagster(request: Request) -> DagsterClient:
    """Returns the application's adapter to Dagster."""
    return cast("DagsterClient", request.app.state.dagster)


DagsterDep = Annotated[DagsterClient, Depends(get_dagster)]


class Launches:
    """What the launching endpoints share."""

    def __init__(
        self,
        request: Request,
        caller: Runner,
        factory: SessionFactoryDep,
        dagster: DagsterDep,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        self._slots = cast("Slots", request.app.state.launch_slots)
        self._caller = caller
        self._vault = cast("Vault", request.app.state.vault)
        self._factory = factory
        self._dagster = dagster
        self._launcher = RunLauncher(factory, dagster, caller)
        self._key = idempotency_key
        self._response = response

    def launch_one(self, kind: Literal["upload", "transformation"], target_id: int) -> RunSummary:
        """Launches a run of the target that the path names.

        Raises:
            NotFound: The org has no such target.
        """
        with transaction(self._factory, self._caller.org_id) as session:
            targets = TargetService(session, self._caller.org_id)
            if targets.find_target(TargetRef(kind, target_id)) is None:
                raise NotFound(f"There is no {kind} {target_id}.")
        return self.launch([RunTarget(type=kind, id=target_id)])

    def launch(self, targets: list[RunTarget], priority: int = 0) -> RunSummary:
        """Launches a run and points to it."""
        with self._slots.take(self._caller.org_id):
            return self._answer(self._launcher.launch(targets, self._key, priority))

    def retry(self, run_id: str, *, from_failure: bool) -> RunSummary:
        """Does a run again and points to the new one.

        Raises:
            NotFound: The org has no such run, or Dagster says that it is another org's.
        """
        with transaction(self._factory, self._caller.org_id) as session:
            run = service.get_run(session, self._caller, run_id)
        with self._slots.take(self._caller.org_id):
            service.require_own(run, self._caller, self._dagster)
            return self._answer(
                self._launcher.retry(run, from_failure=from_failure, idempotency_key=self._key)
            )

    def _answer(self, run: Run) -> RunSummary:
        self._response.headers["Location"] = f"/api/v1/orgs/{self._caller.org}/runs/{run.id}"
        return service.with_reason(RunSummary.model_validate(run), self._vault)


LaunchesDep = Annotated[Launches, Depends()]


@router.post("/runs", status_code=202)
def launch_run(body: RunCreate, launches: LaunchesDep) -> RunSummary:
    """Launches one run of several targets, or of everything that is published."""
    return launches.launch(body.targets, body.priority)


@router.post("/uploads/{upload_id}/runs", status_code=202)
def launch_upload(upload_id: int, launches: LaunchesDep) -> RunSummary:
    """Launches a run of an upload."""
    return launches.launch_one("upload", upload_id)


@router.post("/transformations/{transformation_id}/runs", status_code=202)
def launch_transformation(transformation_id: int, launches: LaunchesDep) -> RunSummary:
    """Launches a run of a transformation."""
    return launches.launch_one("transformation", transformation_id)


@router.get("/runs")
def list_runs(
    caller: Reader,
    session: SessionDep,
    vault: VaultDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
    status: Annotated[RunStatus | None, Query(description="Only runs in this status.")] = None,
) -> Page[RunSummary]:
    """Lists the runs, newest first."""
    rows = service.page_runs(session, caller, _position(cursor), limit + 1, status)
    page, has_more = cut(rows, limit)
    last = page[-1] if has_more else None
    return Page(
        data=[service.with_reason(RunSummary.model_validate(run), vault) for run in page],
        next_cursor=encode_cursor(last.created_at.isoformat(), last.id) if last else None,
    )


@router.get("/runs/{run_id}")
def get_run(
    run_id: str, caller: Reader, reading: ReadingDep, dagster: DagsterDep, vault: VaultDep
) -> RunView:
    """Returns a run with its tables, models, checks and steps."""
    with reading.of_run(caller, run_id) as run:
        return service.with_reason(service.view_run(run, caller, dagster), vault)


@router.get("/runs/{run_id}/logs")
def get_run_logs(
    run_id: str,
    caller: Reader,
    reading: ReadingDep,
    dagster: DagsterDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Events to look at.")] = 200,
    cursor: CursorText = None,
) -> RunLog:
    """Returns a page of a run's log, oldest first; the cursor goes on working while it grows."""
    with reading.of_run(caller, run_id) as run:
        return service.read_log(run, caller, dagster, cursor, limit)


@router.post("/runs/{run_id}/cancel", status_code=202)
def cancel_run(run_id: str, caller: Runner, session: SessionDep, dagster: DagsterDep) -> RunSummary:
    """Asks for the end of a run; its status shows when it has ended."""
    run = service.get_run(session, caller, run_id)
    service.cancel_run(session, caller, run, dagster)
    return RunSummary.model_validate(run)


@router.post("/runs/{run_id}/retry", status_code=202)
def retry_run(run_id: str, launches: LaunchesDep, body: RunRetry = FROM_FAILURE) -> RunSummary:
    """Does a run again, with what is published now: what failed in it, or all of it."""
    return launches.retry(run_id, from_failure=body.from_failure)


@internal.post("/runs/changes", status_code=204)
def note_run_changes(_launcher: Launcher, session: SessionDep) -> None:
    """Has the worker look at once which runs have changed in Dagster."""
    reconciliation.wake(session)


@internal.post("/runs/{run_id}/authorize")
def authorize_launched_run(
    run_id: str, body: RunAuthorize, request: Request, launcher: Launcher, session: SessionDep
) -> AuthorizedRun:
    """Registers a run that the launcher is about to start, and mints its token."""
    org = get_active_org(session, body.org)
    enter_org(session, org.id)
    run = StartingRun(
        run_id=run_id,
        trigger=RunTrigger.SCHEDULE if body.schedule else RunTrigger.UI,
        manifest_sha256=body.manifest_sha256,
        asset_keys=body.asset_keys,
        checked_keys=_checked(body.check_keys),
        schedule=body.schedule,
        launch_id=body.launch_id,
    )
    actor = actor_of(request, SYSTEM.kind, None, body.schedule or SYSTEM.name)
    minted = authorization.authorize_run(session, org.id, actor, run)
    return AuthorizedRun(token=minted.token, expires_at=minted.expires_at, org_id=org.id)


@internal.post("/task-tokens")
def authorize_shell_run(
    body: ShellRunAuthorize,
    request: Request,
    session: SessionDep,
    signer: SignerDep,
    settings: SettingsDep,
) -> AuthorizedRun:
    """Registers a run from a shell, which presents an API key, and mints its token."""
    if request.headers.get(settings.api_key_header) is None:
        raise Unauthorized("Send an API key.")
    caller = resolve_caller(request, body.org, session, signer, settings)
    if not caller.permissions >= SHELL_RUN:
        scopes = " and ".join(f"'{permission}'" for permission in sorted(SHELL_RUN))
        raise Forbidden(f"This needs an API key with the scopes {scopes}.")
    run = StartingRun(
        body.run_id,
        RunTrigger.SHELL,
        body.manifest_sha256,
        body.asset_keys,
        _checked(body.check_keys),
    )
    minted = authorization.authorize_shell_run(session, caller.org_id, caller.actor, run)
    return AuthorizedRun(token=minted.token, expires_at=minted.expires_at, org_id=caller.org_id)


@internal.post("/task-tokens/redeem")
def redeem(
    request: Request, factory: SessionFactoryDep, vault: VaultDep, settings: SettingsDep
) -> Redeemed:
    """Exchanges a task token, once, for the credentials that it names.

    While the platform is sealed that is a 423 and the token is not used up: who waits asks again.
    """
    token = bearer_token(request)
    if token is None:
        raise Unauthorized("Send a task token: Authorization: Bearer …")
    redemption = Redemption(factory, vault, settings)
    return redemption.redeem(token, client_address(request), trace_id(request))


def _checked(keys: list[CheckKey] | None) -> list[list[str]] | None:
    return None if keys is None else [key.asset_key for key in keys]


def _position(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    position: list[Any] = decode_cursor(cursor)
    try:
        at, run_id = position
        return datetime.fromisoformat(at), str(run_id)
    except (ValueError, TypeError):
        raise Invalid.field("/cursor", "is not a cursor of this list") from None
