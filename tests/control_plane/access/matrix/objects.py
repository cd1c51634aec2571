"""Makes what a request needs: each function prepares one org and returns the request's parts."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.key_store.models import ApiKey
from control_plane.connections.schemas import ConnectionCreate
from control_plane.connections.service import ConnectionService
from control_plane.core.clock import utc_now
from control_plane.core.vault import Vault
from control_plane.dependencies.models import Dependency
from control_plane.freshness.models import FreshnessPolicy
from control_plane.manifest.models import CurrentManifest, Manifest
from control_plane.runs.models import Run
from control_plane.schedules.models import Schedule
from datanika_manifest.code_location import CodeLocation
from tests.control_plane.access.matrix.world import World
from tests.factories.access import Member
from tests.factories.targets import (
    make_connection,
    make_tables,
    make_transformation,
    make_upload,
)


@dataclass(frozen=True)
class Stage:
    """Where objects are made: a session inside an org."""

    world: World
    session: Session
    member: Member

    @property
    def org_id(self) -> int:
        return self.member.org.id

    @property
    def vault(self) -> Vault:
        return self.world.vault

    def add(self, row: Any) -> Any:
        """Inserts a row of this org."""
        self.session.add(row)
        self.session.commit()
        return row


@dataclass(frozen=True)
class Request:
    """The parts of a request.

    Attributes:
        path: Values of the path's parameters, without the org's slug.
        body: JSON, None for none.
        query: Query parameters.
        headers: More headers than the caller's.
        form: Fields of a form, instead of a body.
    """

    path: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] | None = None


def nothing(_: Stage) -> Request:
    return Request()


def api_key(stage: Stage) -> Request:
    values = {"name": "k", "key_hash": uuid.uuid4().hex * 2, "scopes": ["runs:read"]}
    row = ApiKey(org_id=stage.org_id, created_by_user_id=stage.member.user.id, **values)
    return Request({"key_id": stage.add(row).id})


def deleted(kind: type[Any], prepare: Callable[[Stage], Request]) -> Callable[[Stage], Request]:
    """Returns what prepares a deleted row, to be restored."""

    def make(stage: Stage) -> Request:
        request = prepare(stage)
        row = stage.session.get_one(kind, next(iter(request.path.values())))
        row.deleted_at = utc_now()
        stage.session.commit()
        return request

    return make


CONNECTION = {
    "name": "new",
    "connector": "postgres",
    "direction": "source",
    "config": {"host": "db.example.com", "database": "d", "user": "u", "password": "p"},
}


def connection(stage: Stage) -> Request:
    """With its secrets, as the API makes it."""
    service = ConnectionService.of(stage.session, stage.member.caller, stage.vault)
    row = service.create_connection(ConnectionCreate.model_validate(CONNECTION))
    stage.session.commit()
    return Request({"connection_id": row.id})


def new_connection(_: Stage) -> Request:
    return Request(body=CONNECTION)


def upload(stage: Stage) -> Request:
    return Request({"upload_id": make_upload(stage.session, stage.org_id).id})


def sample(stage: Stage) -> Request:
    return replace(connection(stage), query={"schema": "public", "table": "flights"})


def new_upload(stage: Stage) -> Request:
    """Its source is known already: nothing has to be discovered."""
    source = make_connection(stage.session, stage.org_id)
    make_tables(stage.session, source)
    target = make_connection(stage.session, stage.org_id, direction="destination")
    body = {
        "name": "new",
        "source_connection_id": source.id,
        "destination_connection_id": target.id,
        "config": {"mode": "single_table", "table": "flights"},
    }
    return Request(body=body)


def transformation(stage: Stage) -> Request:
    row = make_transformation(stage.session, stage.org_id)
    return Request({"transformation_id": row.id})


def new_transformation(stage: Stage) -> Request:
    target = make_connection(stage.session, stage.org_id, direction="both")
    return Request(body={"name": "new", "connection_id": target.id, "sql": "select 1 as one"})


def preview(stage: Stage) -> Request:
    target = make_connection(stage.session, stage.org_id, direction="both")
    return Request(body={"connection_id": target.id, "sql": "select 1 as one"})


def _edge(stage: Stage) -> dict[str, Any]:
    return {
        "upstream_type": "upload",
        "upstream_id": make_upload(stage.session, stage.org_id).id,
        "downstream_type": "transformation",
        "downstream_id": make_transformation(stage.session, stage.org_id).id,
    }


def dependency(stage: Stage) -> Request:
    row = Dependency(org_id=stage.org_id, **_edge(stage))
    return Request({"dependency_id": stage.add(row).id})


def new_dependency(stage: Stage) -> Request:
    return Request(body=_edge(stage))


def neighbours(stage: Stage) -> Request:
    target = make_upload(stage.session, stage.org_id)
    return Request(query={"target_type": "upload", "target_id": target.id})


def _target(stage: Stage) -> dict[str, Any]:
    return {"target_type": "upload", "target_id": make_upload(stage.session, stage.org_id).id}


def schedule(stage: Stage) -> Request:
    row = Schedule(org_id=stage.org_id, cron="0 6 * * *", timezone="UTC", **_target(stage))
    return Request({"schedule_id": stage.add(row).id})


def new_schedule(stage: Stage) -> Request:
    return Request(body={"cron": "0 6 * * *", **_target(stage)})


def policy(stage: Stage) -> Request:
    values = {"max_age_seconds": 3600, "timezone": "UTC", "severity": "warn"}
    row = FreshnessPolicy(org_id=stage.org_id, **values, **_target(stage))
    return Request({"policy_id": stage.add(row).id})


def new_policy(stage: Stage) -> Request:
    return Request(body={"max_age_seconds": 3600, **_target(stage)})


def run(stage: Stage) -> Request:
    row = Run(id=str(uuid.uuid4()), org_id=stage.org_id, trigger="api", actor_name="a", targets=[])
    return Request({"run_id": stage.add(row).id})


def manifest(stage: Stage) -> Request:
    """A published manifest without anything in it."""
    location = CodeLocation(org_id=stage.org_id, org=stage.member.org.slug)
    sha256 = location.sha256()
    text = location.canonical_json()
    row = stage.add(Manifest(org_id=stage.org_id, sha256=sha256, text=text, created_by="a"))
    stage.add(CurrentManifest(org_id=stage.org_id, manifest_id=row.id))
    return Request({"sha256": sha256})


def launched_run(stage: Stage) -> Request:
    sha256 = manifest(stage).path["sha256"]
    body = {"org": stage.member.org.slug, "manifest_sha256": sha256}
    return Request({"run_id": str(uuid.uuid4())}, body)
