"""Creates and deletes edges; the graph never has a circle."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.audit.resources import ResourceService
from control_plane.core.clock import utc_now
from control_plane.core.errors import Conflict, Invalid
from control_plane.core.etags import ANY_VERSION, IfMatch
from control_plane.dependencies.errors import CircularDependency
from control_plane.dependencies.graph import Edge, find_path, reachable, reversed_edges
from control_plane.dependencies.models import Dependency
from control_plane.dependencies.repository import DependencyRepository
from control_plane.dependencies.schemas import DependencyCreate, DependencyUpdate
from control_plane.targets.service import Target, TargetRef, TargetService, TargetType
from control_plane.tenancy.repository import Deleted
from control_plane.transformations.lineage import implied_edges


class DependencyService(ResourceService[Dependency]):
    """The edges of one org.

    Args:
        session: Inside the org.
        caller: In whose name; the org is the caller's.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        self._rows = DependencyRepository(session, caller.org_id)
        super().__init__(self._rows, caller.audit(session))
        self._targets = TargetService(session, caller.org_id)

    def create_dependency(self, body: DependencyCreate) -> Dependency:
        """Creates an edge.

        Raises:
            Invalid: A target does not exist, or both are the same.
            Conflict: The edge exists.
            CircularDependency: The downstream target leads to the upstream one already.
        """
        upstream = self._targets.require_target(
            TargetRef(body.upstream_type, body.upstream_id), "upstream"
        )
        downstream = self._targets.require_target(
            TargetRef(body.downstream_type, body.downstream_id), "downstream"
        )
        if upstream.ref == downstream.ref:
            raise Invalid.field("/downstream_id", f"the {upstream} cannot depend on itself")
        self._rows.lock_all()
        self._refuse_edge(upstream, downstream)
        return self._create(
            Dependency(
                org_id=self._org_id,
                upstream_type=upstream.ref.type,
                upstream_id=upstream.ref.id,
                downstream_type=downstream.ref.type,
                downstream_id=downstream.ref.id,
                triggers_since=utc_now() if body.runs_after_success else None,
                fresh_within_seconds=body.fresh_within_seconds,
            )
        )

    def update_dependency(
        self, dependency_id: int, body: DependencyUpdate, if_match: IfMatch = ANY_VERSION
    ) -> Dependency:
        """Changes whether, and how, successes launch the downstream target; what is past does not.

        Raises:
            NotFound: The org has no such edge.
            PreconditionFailed: It is another version by now.
        """
        row = self._lock(dependency_id, if_match)
        values: dict[str, Any] = {}
        if "fresh_within_seconds" in body.model_fields_set:
            values["fresh_within_seconds"] = body.fresh_within_seconds
        if body.runs_after_success not in (None, row.runs_after_success):
            values["triggers_since"] = utc_now() if body.runs_after_success else None
        return self._update(row, values)

    def page_dependencies(
        self, conditions: dict[str, object], after_id: int | None, limit: int
    ) -> Sequence[Dependency]:
        """Returns the edges after `after_id` whose ends are as `conditions` say."""
        return self._rows.page_where(conditions, after_id, limit)

    def edges(self) -> list[Edge]:
        """Returns every edge that somebody declared."""
        return [_edge(row) for row in self._rows.list_all()]

    def upstream_of(self, target: TargetRef) -> list[TargetRef]:
        """Returns everything that runs before a target by declared edges."""
        return reachable(reversed_edges(self.edges()), target)

    def downstream_of(self, target: TargetRef) -> list[TargetRef]:
        """Returns everything that runs after a target by declared edges."""
        return reachable(self.edges(), target)

    def _check_restorable(self, row: Dependency) -> None:
        edge = _edge(row)
        upstream = self._targets.require_live_target(edge.upstream, hold=False)
        downstream = self._targets.require_live_target(edge.downstream, hold=False)
        self._rows.lock_all()
        self._refuse_edge(upstream, downstream)

    def _hold_references(self, row: Dependency) -> None:
        edge = _edge(row)
        for ref in sorted((edge.upstream, edge.downstream)):
            self._targets.require_live_target(ref, hold=True)

    def _audit_values(self, row: Dependency) -> dict[str, Any]:
        return {
            "upstream": f"{row.upstream_type} {row.upstream_id}",
            "downstream": f"{row.downstream_type} {row.downstream_id}",
            "runs_after_success": row.runs_after_success,
            "fresh_within_seconds": row.fresh_within_seconds,
        }

    def _values_when_restored(self) -> dict[str, Any]:
        # Nobody expects a restored edge to launch anything before it was looked at.
        return {"triggers_since": None}

    def _taken(self, row: Dependency, name: str) -> Conflict:
        edge = _edge(row)
        upstream, downstream = self._names([edge.upstream, edge.downstream])
        return Conflict(f"The {downstream} depends on the {upstream} already.")

    def _refuse_edge(self, upstream: Target, downstream: Target) -> None:
        if self._rows.find_edge(upstream.ref, downstream.ref) is not None:
            raise Conflict(f"The {downstream} depends on the {upstream} already.")
        edges = [*self.edges(), *self._edges_of_sql()]
        path = find_path(edges, downstream.ref, upstream.ref)
        if path is not None:
            names = self._names([*path, downstream.ref])
            raise CircularDependency(f"This edge would close a circle: {' → '.join(names)}.")

    def _edges_of_sql(self) -> list[Edge]:
        return [
            Edge(TargetRef(kind, upstream), TargetRef(TargetType.TRANSFORMATION, downstream))
            for kind, upstream, downstream in implied_edges(self._session, self._org_id)
        ]

    def _names(self, refs: Iterable[TargetRef]) -> list[str]:
        found = [(ref, self._targets.find_target(ref)) for ref in refs]
        return [str(target) if target else f"{ref.type} {ref.id}" for ref, target in found]


@dataclass(frozen=True)
class Trigger:
    """An edge by which a success launches what comes after it.

    Attributes:
        id: The edge's.
        edge: From which target to which.
        since: Successes before that count for nothing.
        fresh_within: How long ago every upstream target of such edges may have succeeded.
    """

    id: int
    edge: Edge
    since: datetime
    fresh_within: timedelta | None


def list_triggers(session: Session, org_id: int) -> list[Trigger]:
    """Returns the org's edges by which successes launch something."""
    return [
        Trigger(
            id=row.id,
            edge=_edge(row),
            since=row.triggers_since,
            fresh_within=timedelta(seconds=row.fresh_within_seconds)
            if row.fresh_within_seconds
            else None,
        )
        for row in DependencyRepository(session, org_id).list_all()
        if row.triggers_since is not None
    ]


def dependencies_using(
    session: Session, org_id: int, resource_type: str, resource_id: int
) -> Sequence[str]:
    """Names the edges at a target, for `core.usages`."""
    rows = DependencyRepository(session, org_id).list_at(resource_type, resource_id)
    return [f"dependency {row.id}" for row in rows]


def _edge(row: Dependency) -> Edge:
    return Edge(
        TargetRef(row.upstream_type, row.upstream_id),
        TargetRef(row.downstream_type, row.downstream_id),
    )


def select_deleted_dependencies(session: Session, org_id: int) -> Deleted:
    """Returns the select of an org's deleted edges."""
    return DependencyRepository(session, org_id).select_deleted()
