"""Has dbt do once what it does in each process for the first time, before anything is forked.

dbt builds the schemas and the readers of its classes and parses its own macros when they are first
needed: most of what a small task costs. It must not know who forks.
"""

import multiprocessing
import tempfile
from pathlib import Path

from datanika_dagster.transformations import dbt_process, project
from datanika_manifest.transformations import Materialization, ModelSource, ProjectSource

_NOBODYS = ProjectSource(
    org_id=0,
    org="nobody",
    connection="warehouse",
    connector="managed_warehouse",
    models=(
        ModelSource(
            name="one",
            schema_name="public",
            sql="select 1 as n",
            materialization=Materialization.VIEW,
        ),
    ),
    sources=(),
)


def warm_up() -> None:
    """Compiles a project of nobody's, without a connection. Leaves no thread and no file behind."""
    # Only a worker host calls this, after it has imported dbt.
    from dbt.adapters.factory import reset_adapters  # noqa: PLC0415
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415
    from dbt.mp_context import get_mp_context  # noqa: PLC0415

    # dbt makes nothing but locks with it. Those of its own choice start a process that looks after
    # them, over a descriptor that no child would have.
    forking = multiprocessing.get_context("fork")
    vars(get_mp_context())["get_context"] = lambda method=None: forking  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]
    with tempfile.TemporaryDirectory(prefix="datanika-warm-up-") as directory:
        work_dir = Path(directory)
        dbt_process.invoke(
            "compile",
            project_dir=project.stage(project.render(_NOBODYS), work_dir / "project" / "one"),
            work_dir=work_dir,
            # The static parser has threads of its own, and its locks would be forked without them.
            options={"introspect": False, "populate_cache": False, "static_parser": False},
        )
        # A build reads what a parse has written.
        Manifest.from_msgpack((work_dir / "target" / project.PARTIAL_PARSE_FILE).read_bytes())
    reset_adapters()
