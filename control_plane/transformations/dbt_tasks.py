"""The two tasks in which dbt looks at models: parse a project, preview a query.

It turns their failures into errors that name the field. It must not know how a project is put
together.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.connections.models import Connection
from control_plane.core.errors import Invalid, Upstream
from control_plane.core.tasks import TaskFailed
from control_plane.transformations.errors import WarehouseFailed
from control_plane.transformations.schemas import ParsedProject, Preview
from datanika_manifest.transformations import ProjectSource

PARSE_DEADLINE_SECONDS = 60
PREVIEW_DEADLINE_SECONDS = 45


@dataclass(frozen=True)
class DbtTasks:
    """Runs dbt's tasks for one org.

    Attributes:
        tasks: Starts them.
        projects_dir: Where generated projects live.
    """

    tasks: OrgTasks
    projects_dir: Path

    def parse(self, connection: Connection, project: ProjectSource) -> ParsedProject:
        """Parses a project and keeps it in the projects directory, named by its SHA-256.

        The warehouse is asked to check the grammar; one that is away keeps nobody from saving.

        Raises:
            TaskFailed: The project does not work; `field` is the model that is to blame.
            Upstream: The task died or passed its deadline.
        """
        value = self.tasks.run(
            "dbt_parse",
            {"project": project.model_dump(mode="json"), "projects_dir": self._directory()},
            connection_ids=[connection.id],
            deadline_seconds=PARSE_DEADLINE_SECONDS,
        )
        try:
            return ParsedProject.model_validate(value)
        except ValidationError:
            raise Upstream("The task 'dbt_parse' answered in a form that is not known.") from None

    def preview(
        self, connection: Connection, project: ProjectSource, sql: str, limit: int
    ) -> Preview:
        """Compiles a query in a project and returns its first rows.

        Raises:
            Invalid: The query does not compile or the warehouse refuses it.
            WarehouseFailed: The warehouse cannot be reached.
            Upstream: The task died or passed its deadline.
        """
        payload = {
            "connection": connection.slug,
            "project": project.model_dump(mode="json"),
            "projects_dir": self._directory(),
            "sql": sql,
            "limit": limit,
        }
        try:
            value = self.tasks.run(
                "preview",
                payload,
                connection_ids=[connection.id],
                deadline_seconds=PREVIEW_DEADLINE_SECONDS,
            )
        except TaskFailed as error:
            raise failure(connection, error, "/sql") from None
        try:
            return Preview.model_validate(value)
        except ValidationError:
            raise Upstream("The task 'preview' answered in a form that is not known.") from None

    def _directory(self) -> str:
        return str(self.projects_dir.resolve())


def failure(connection: Connection, error: TaskFailed, pointer: str) -> Invalid | Upstream:
    """Returns a task's failure as an error of the API: the field's, the connection's or our own."""
    family = error.code.partition(".")[0]
    if family == "connection":
        return WarehouseFailed(
            f"The connection '{connection.name}': {error.message} ({error.code})"
        )
    if family in {"transformation", "preview"}:
        return Invalid.field(pointer, error.message)
    return Upstream(f"The task could not be done: {error.message} ({error.code})")
