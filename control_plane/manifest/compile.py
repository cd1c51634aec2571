"""Compiles an org's rows into its manifest; a row that cannot work is refused by name.

What can be known only by looking is looked at here: the tables of a source that is loaded whole,
and the dbt project, which is parsed.
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.connections.service import ConnectionService
from control_plane.core.errors import Invalid
from control_plane.core.vault import Vault
from control_plane.dependencies.service import DependencyService
from control_plane.freshness.service import FreshnessService, watched_assets
from control_plane.metadata.service import MetadataService
from control_plane.schedules.service import ScheduleService
from control_plane.settings import Settings
from control_plane.transformations.dbt_tasks import DbtTasks
from control_plane.transformations.service import TransformationService
from control_plane.uploads.models import Upload as UploadRow
from control_plane.uploads.service import UploadService
from datanika_manifest import selection
from datanika_manifest.automation import FreshnessPolicy, Schedule
from datanika_manifest.code_location import CodeLocation, ConnectionRef
from datanika_manifest.names import AssetKey
from datanika_manifest.transformations import DbtNode, DbtProject, TestSeverity
from datanika_manifest.uploads import SchemaContract, Upload, UploadTable


class Compiler:
    """Compiles the manifest of the caller's org.

    Args:
        session: Inside the org.
        caller: Who publishes.
        vault: For the services below; nothing is decrypted here.
        tasks: Where sources are looked at and dbt parses.
        settings: Where dbt projects live.
    """

    def __init__(
        self, session: Session, caller: Caller, vault: Vault, tasks: OrgTasks, settings: Settings
    ) -> None:
        self._caller = caller
        self._connections = ConnectionService.of(session, caller, vault)
        self._metadata = MetadataService(session, caller.org_id, tasks)
        self._uploads = UploadService.of(session, caller, vault, tasks)
        dbt = DbtTasks(tasks, settings.dbt_projects_dir)
        self._transformations = TransformationService.of(session, caller, vault, dbt)
        self._dependencies = DependencyService(session, caller)
        self._schedules = ScheduleService(session, caller)
        self._freshness = FreshnessService(session, caller)

    def compile(self) -> CodeLocation:
        """Returns the manifest.

        Raises:
            Invalid: Names the row that cannot be published.
            Conflict: Two tables would have the same target.
            Upstream: A source or dbt could not be asked.
        """
        base = CodeLocation(
            org_id=self._caller.org_id,
            org=self._caller.org,
            connections=tuple(
                ConnectionRef(id=row.id, slug=row.slug, connector=row.connector)
                for row in self._connections.list_all()
            ),
            uploads=tuple(self._compile_uploads()),
            dbt_projects=tuple(self._compile_projects()),
        )
        _refuse_same_keys(base)
        linked = self._link(base)
        _refuse_cycles(linked)
        return linked.model_copy(
            update={
                "schedules": tuple(self._compile_schedules(linked)),
                "freshness_policies": tuple(self._compile_freshness(linked)),
            }
        )

    def _compile_uploads(self) -> Iterable[Upload]:
        rows = self._uploads.list_all()
        whole = {row.source_connection_id for row in rows if self._loads_everything(row)}
        for connection_id in sorted(whole):
            self._metadata.sync_metadata(self._connections.get(connection_id))
        return [self._compile_upload(row) for row in rows]

    def _loads_everything(self, row: UploadRow) -> bool:
        config = self._uploads.config_of(row)
        return config.mode == "full_database" and not config.table_names

    def _compile_upload(self, row: UploadRow) -> Upload:
        config = self._uploads.config_of(row)
        source = self._connections.get(row.source_connection_id)
        destination = self._connections.get(row.destination_connection_id)
        schema = config.target_schema or source.slug
        tables = tuple(
            UploadTable(
                source_schema=table.source_schema,
                source_table=table.source_table,
                target_table=table.target_table,
                asset_key=(self._caller.org, destination.slug, schema, table.target_table),
                primary_key=table.primary_key,
            )
            for table in self._uploads.resolve_tables(row)
        )
        return Upload(
            id=row.id,
            slug=row.slug,
            name=row.name,
            source=source.slug,
            destination=destination.slug,
            target_schema=schema,
            tables=tables,
            write_disposition=config.write_disposition,
            filters=tuple(config.filters or ()),
            incremental=config.incremental,
            schema_contract=config.schema_contract or SchemaContract(),
            batch_size=config.batch_size,
        )

    def _compile_projects(self) -> Iterable[DbtProject]:
        for connection in self._transformations.project_connections():
            parsed = self._transformations.parse_project(connection)
            yield DbtProject(
                connection=connection.slug, sha256=parsed.sha256, nodes=tuple(parsed.nodes)
            )

    def _link(self, base: CodeLocation) -> CodeLocation:
        """Adds the explicit dependencies to what the SQL of the models says already."""
        upstream: dict[tuple[str, int], list[AssetKey]] = {}
        for edge in self._dependencies.edges():
            downstream = (edge.downstream.type, edge.downstream.id)
            keys = selection.target_asset_keys(base, edge.upstream.type, edge.upstream.id)
            upstream.setdefault(downstream, []).extend(keys)

        def node(one: DbtNode) -> DbtNode:
            more = upstream.get(("transformation", one.transformation_id or 0), [])
            return one.model_copy(update={"depends_on": _merged(one.depends_on, more)})

        uploads = tuple(
            one.model_copy(update={"depends_on": _merged((), upstream.get(("upload", one.id), []))})
            for one in base.uploads
        )
        projects = tuple(
            project.model_copy(update={"nodes": tuple(node(one) for one in project.nodes)})
            for project in base.dbt_projects
        )
        return base.model_copy(update={"uploads": uploads, "dbt_projects": projects})

    def _compile_schedules(self, location: CodeLocation) -> Iterable[Schedule]:
        for row in self._schedules.list_all():
            keys = selection.target_asset_keys(location, row.target_type, row.target_id)
            if not keys:
                raise Invalid.field(
                    f"/schedules/{row.id}",
                    f"the {row.target_type} {row.target_id} has nothing that can be run",
                )
            yield Schedule(
                id=row.id,
                name=f"schedule_{row.id}",
                cron=row.cron,
                timezone=row.timezone,
                is_active=row.is_active,
                asset_keys=tuple(keys),
            )

    def _compile_freshness(self, location: CodeLocation) -> Iterable[FreshnessPolicy]:
        for key, row in watched_assets(self._freshness.list_all(), location).items():
            yield FreshnessPolicy(
                asset_key=key,
                max_age_seconds=row.max_age_seconds,
                deadline_cron=row.deadline_cron,
                timezone=row.timezone,
                severity=TestSeverity(row.severity),
            )


def _merged(first: Iterable[AssetKey], more: Iterable[AssetKey]) -> tuple[AssetKey, ...]:
    return tuple(sorted({*first, *more}))


def _refuse_same_keys(location: CodeLocation) -> None:
    makers: dict[AssetKey, list[str]] = {}
    for upload in location.uploads:
        for table in upload.tables:
            makers.setdefault(table.asset_key, []).append(f"upload '{upload.name}'")
    for project in location.dbt_projects:
        for node in project.nodes:
            makers.setdefault(node.asset_key, []).append(f"{node.resource_type} '{node.name}'")
    for key, names in makers.items():
        if len(names) > 1:
            detail = f"the table '{'.'.join(key[1:])}' would be made by {' and '.join(names)}"
            raise Invalid.field("/uploads", detail)


def _refuse_cycles(location: CodeLocation) -> None:
    graph: Mapping[AssetKey, set[AssetKey]] = {
        **{
            table.asset_key: set(upload.depends_on)
            for upload in location.uploads
            for table in upload.tables
        },
        **{
            node.asset_key: set(node.depends_on)
            for project in location.dbt_projects
            for node in project.nodes
        },
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        path = " → ".join(".".join(key[1:]) for key in reversed(error.args[1]))
        detail = f"dependencies and the models' SQL form a cycle: {path}"
        raise Invalid.field("/dependencies", detail) from None
