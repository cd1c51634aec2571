"""`/api/v1/system/orgs`: organizations, for platform operators."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.caller import RequireService
from control_plane.access.invitations.delivery import DeliveryDep
from control_plane.access.invitations.endpoints import issued_view
from control_plane.access.operators.endpoints import OperatingActor
from control_plane.access.platform_orgs.schemas import (
    OrgQuota,
    PlatformOrgCreate,
    PlatformOrgCreated,
    PlatformOrgView,
)
from control_plane.access.platform_orgs.service import PlatformOrgService
from control_plane.access.sessions.tokens import ServiceClaims, ServiceRole
from control_plane.core.database import transaction
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, SettingsDep, VaultDep
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cursor_id,
    page_of,
)
from control_plane.core.restorations import RestorationsDep
from control_plane.tenancy.service import list_quotas
from datanika_manifest.quotas import Quotas

router = APIRouter(prefix="/system/orgs", tags=["platform"])
internal = APIRouter()

Launcher = Annotated[ServiceClaims, Depends(RequireService(ServiceRole.LAUNCHER))]


@router.get("")
def list_orgs(
    actor: OperatingActor,
    session: SessionDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[PlatformOrgView]:
    """Lists every organization, suspended and deleted ones too."""
    rows = PlatformOrgService(session, actor).page(cursor_id(cursor), limit + 1)
    return page_of(rows, limit, PlatformOrgView)


@router.post("", status_code=201)
def create_org(
    body: PlatformOrgCreate,
    actor: OperatingActor,
    factory: SessionFactoryDep,
    vault: VaultDep,
    delivery: DeliveryDep,
) -> PlatformOrgCreated:
    """Makes an organization and invites its owner, also where sign-up is closed."""
    with transaction(factory) as session:
        service = PlatformOrgService(session, actor)
        org, issued = service.create_org(vault, body.name, body.owner_email)
    link = delivery.deliver(issued, org.name, actor.name)
    view = PlatformOrgView.model_validate(org)
    return PlatformOrgCreated(**view.model_dump(), invitation=issued_view(issued, link))


@router.put("/{slug}/quota")
def set_quota(
    slug: str, body: OrgQuota, actor: OperatingActor, session: SessionDep
) -> PlatformOrgView:
    """Sets what an organization may run; the queue keeps to it within seconds."""
    service = PlatformOrgService(session, actor)
    return PlatformOrgView.model_validate(
        service.set_quota(slug, body.parallel_runs, body.runs_per_hour)
    )


@router.post("/{slug}/suspend")
def suspend_org(slug: str, actor: OperatingActor, session: SessionDep) -> PlatformOrgView:
    """Shuts an organization: nobody gets in and nothing starts; what runs may end."""
    return PlatformOrgView.model_validate(PlatformOrgService(session, actor).suspend(slug))


@router.post("/{slug}/resume")
def resume_org(slug: str, actor: OperatingActor, session: SessionDep) -> PlatformOrgView:
    """Opens a suspended organization again."""
    return PlatformOrgView.model_validate(PlatformOrgService(session, actor).resume(slug))


@router.post("/{slug}/restore")
def restore_org(
    slug: str,
    actor: OperatingActor,
    session: SessionDep,
    vault: VaultDep,
    restorations: RestorationsDep,
) -> PlatformOrgView:
    """Brings a deleted organization back; API keys, invitations and destroyed secrets do not."""
    service = PlatformOrgService(session, actor)
    return PlatformOrgView.model_validate(service.restore(slug, vault, restorations))


@internal.get("/quotas")
def get_quotas(launcher: Launcher, session: SessionDep, settings: SettingsDep) -> Quotas:
    """Tells the queue of runs what each organization may run."""
    return Quotas(
        parallel_runs=settings.parallel_runs,
        default=settings.quota(),
        orgs={slug: settings.quota(*own) for slug, *own in list_quotas(session)},
    )
