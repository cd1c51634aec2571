"""`/api/v1/orgs/{org}/publish` and `/manifest`, and where the execution plane gets manifests."""

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session

from control_plane.access.caller import (
    Caller,
    Require,
    RequireService,
    SignerDep,
    bearer_token,
    resolve_caller,
)
from control_plane.access.permissions import Permission
from control_plane.access.sessions.tokens import ServiceClaims, ServiceRole, TokenSigner
from control_plane.access.task_tokens.service import org_of_token
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.core.database import enter_org
from control_plane.core.dependencies import (
    SessionDep,
    SessionFactoryDep,
    SettingsDep,
    TaskRunnerDep,
    VaultDep,
)
from control_plane.core.errors import Forbidden, NotFound, Unauthorized
from control_plane.manifest import service
from control_plane.manifest.compile import Compiler
from control_plane.manifest.errors import NotPublished
from control_plane.manifest.schemas import (
    Location,
    Locations,
    ManifestState,
    ManifestText,
    Published,
)
from control_plane.manifest.service import DefinitionsHost
from control_plane.settings import Settings
from control_plane.tenancy.service import get_active_org, get_organization, list_active_orgs

router = APIRouter(prefix="/orgs/{org}", tags=["manifest"])
internal = APIRouter()

Reader = Annotated[Caller, Depends(Require(Permission.MANIFEST_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.MANIFEST_WRITE))]
Supervisor = Annotated[ServiceClaims, Depends(RequireService(ServiceRole.SUPERVISOR))]


async def _get_host(request: Request) -> DefinitionsHost:
    return cast("DefinitionsHost", request.app.state.dagster)


@router.post("/publish")
def publish(
    caller: Writer,
    session: SessionDep,
    factory: SessionFactoryDep,
    vault: VaultDep,
    runner: TaskRunnerDep,
    settings: SettingsDep,
) -> Published:
    """Makes what is saved now what new runs do; a bad row is refused and nothing changes."""
    tasks = OrgTasks.of(factory, runner, vault, caller)
    compiler = Compiler(session, caller, vault, tasks, settings)
    return service.publish(session, caller, compiler.compile)


@router.get("/manifest")
def get_manifest_state(
    caller: Reader, session: SessionDep, host: Annotated[DefinitionsHost, Depends(_get_host)]
) -> ManifestState:
    """Returns the current manifest's name and whether Dagster has loaded it."""
    return service.manifest_state(session, caller, host)


@internal.get("/locations")
def list_locations(supervisor: Supervisor, session: SessionDep, signer: SignerDep) -> Locations:
    """Lists the orgs for which a code server has to run, each with its server's own token."""
    locations: list[Location] = []
    for org in list_active_orgs(session):
        enter_org(session, org.id)
        try:
            sha256 = service.get_current_sha256(session, org.id)
        except NotPublished:
            continue
        token = signer.service_token(ServiceRole.CODE_LOCATION, org.slug)
        locations.append(Location(org_id=org.id, org=org.slug, sha256=sha256, token=token))
    return Locations(locations=locations)


def org_of_reader(
    request: Request, org: str, session: SessionDep, signer: SignerDep, settings: SettingsDep
) -> int:
    """Lets an org's own code server, runs and API keys read its manifests; returns its id."""
    if request.headers.get(settings.api_key_header) is not None:
        return _org_of_key(request, org, session, signer, settings)
    token = bearer_token(request)
    if token is None:
        raise Unauthorized("Send a code location's token, a task token or an API key.")
    if token.startswith("dtk_"):
        org_id = org_of_token(session, token)
        if get_organization(session, org_id).slug != org:
            raise NotFound(f"There is no organization '{org}'.")
        return org_id
    claims = signer.read_service(token)
    if claims.role != ServiceRole.CODE_LOCATION or claims.org != org:
        raise Forbidden(f"This token does not belong to the code location of '{org}'.")
    org_id = get_active_org(session, org).id
    enter_org(session, org_id)
    return org_id


def _org_of_key(
    request: Request, org: str, session: Session, signer: TokenSigner, settings: Settings
) -> int:
    caller = resolve_caller(request, org, session, signer, settings)
    if Permission.MANIFEST_READ not in caller.permissions:
        raise Forbidden(f"This needs an API key with the scope '{Permission.MANIFEST_READ}'.")
    return caller.org_id


OrgOfReader = Annotated[int, Depends(org_of_reader)]


@internal.get("/orgs/{org}/manifest")
def get_current_manifest(org: str, org_id: OrgOfReader, session: SessionDep) -> ManifestText:
    """Returns the current manifest's text."""
    return service.text_of(service.get_current_manifest(session, org_id))


@internal.get("/orgs/{org}/manifests/{sha256}")
def get_manifest(org: str, sha256: str, org_id: OrgOfReader, session: SessionDep) -> ManifestText:
    """Returns the text of the manifest with this name."""
    return service.text_of(service.get_manifest(session, org_id, sha256))
