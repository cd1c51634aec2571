"""Which requests an operation is sent, and what must come back by the permission table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from control_plane.access.caller import Require, RequireOperator, RequireService, current_user
from control_plane.access.permissions import Permission
from control_plane.access.sessions.tokens import ServiceRole
from control_plane.manifest.endpoints import org_of_reader
from control_plane.routes import Operation
from tests.control_plane.access.matrix.rows import Row
from tests.control_plane.access.matrix.world import FOREIGN, MISSING, OWN, Caller, World

EVERY = (OWN, FOREIGN, MISSING)


@dataclass(frozen=True)
class Case:
    """One request and the status that it must have.

    Attributes:
        caller: Who calls.
        slug: Whose slug is in the path.
        object: Whose object is in the path.
        status: What must come back.
    """

    caller: Caller
    slug: str
    object: str
    status: int

    def __str__(self) -> str:
        return f"{self.caller.name}, {self.slug} slug, {self.object} id"


def cases_of(operation: Operation, row: Row, world: World) -> list[Case]:
    """Returns every case of an operation."""
    gate = operation.gate
    success = row.status or operation.status
    if isinstance(gate, Require):
        return list(_in_org(operation, row, world, success))
    if isinstance(gate, RequireOperator):
        return list(_of_operators(operation, world, success))
    if isinstance(gate, RequireService):
        return list(_of_services(gate.roles, world, success))
    if gate is org_of_reader:
        return list(_of_code_locations(world, success))
    if gate is current_user:
        return list(_of_users(operation, world, success))
    assert gate is None, f"cases.py does not know the gate {gate}"
    return [Case(world.callers[0], OWN, OWN, success)]


def has_object(operation: Operation) -> bool:
    """Tells whether the path names something beside the org."""
    return "{" in operation.path.replace("{org}", "")


def _in_org(operation: Operation, row: Row, world: World, success: int) -> Iterator[Case]:
    permission = operation.gate.permission
    for caller in [*world.callers, *world.keys(permission)]:
        for slug in EVERY:
            for whose in _objects(operation, caller, slug):
                status = _status_in_org(caller, slug, whose, permission)
                if status is None:
                    status = 403 if caller.is_key and not row.by_key else success
                yield Case(caller, slug, whose, status)


def _objects(operation: Operation, caller: Caller, slug: str) -> Sequence[str]:
    """Returns whose objects are asked for; outside of the caller's org none is looked up."""
    if not has_object(operation):
        return [slug]
    return EVERY if caller.org == slug else (OWN,)


def _status_in_org(caller: Caller, slug: str, whose: str, permission: Permission) -> int | None:
    """Returns the status of a refusal, None where nothing refuses."""
    if caller.is_anonymous:
        return 401
    if slug == MISSING or caller.org != slug:
        return 404
    if permission not in caller.permissions:
        return 403
    return 404 if whose != slug else None


def _of_operators(operation: Operation, world: World, success: int) -> Iterator[Case]:
    for caller in [*world.callers, *world.keys(Permission.ORGS_READ)]:
        for whose in (OWN, MISSING) if has_object(operation) else [OWN]:
            if caller.is_anonymous or caller.is_key:
                status = 401
            elif not caller.is_operator:
                status = 403
            else:
                status = success if whose == OWN else 404
            yield Case(caller, OWN, whose, status)


def _of_users(operation: Operation, world: World, success: int) -> Iterator[Case]:
    """The object is always the caller's own, somebody else's, or nobody's."""
    owner = next(caller for caller in world.callers if caller.name == "owner")
    for caller in [world.callers[0], owner, *world.keys(Permission.ORGS_READ)]:
        for whose in EVERY if has_object(operation) else [OWN]:
            is_nobody = caller.is_anonymous or caller.is_key
            status = 401 if is_nobody else success if whose == OWN else 404
            yield Case(caller, OWN, whose, status)


def _of_services(roles: Sequence[ServiceRole], world: World, success: int) -> Iterator[Case]:
    yield Case(world.callers[0], OWN, OWN, 401)
    for caller in world.callers[1:]:
        yield Case(caller, OWN, OWN, 401)
    for role in ServiceRole:
        yield Case(world.service(role, OWN), OWN, OWN, success if role in roles else 403)


def _of_code_locations(world: World, success: int) -> Iterator[Case]:
    for caller in world.callers:
        yield Case(caller, OWN, OWN, 401)
    for role in ServiceRole:
        is_reader = role is ServiceRole.CODE_LOCATION
        yield Case(world.service(role, OWN), OWN, OWN, success if is_reader else 403)
    yield Case(world.service(ServiceRole.CODE_LOCATION, FOREIGN), OWN, OWN, 403)
    with_scope, without = world.keys(Permission.MANIFEST_READ)
    yield Case(with_scope, OWN, OWN, success)
    yield Case(with_scope, FOREIGN, FOREIGN, 404)
    yield Case(without, OWN, OWN, 403)
