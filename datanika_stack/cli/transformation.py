"""`datanika transformation`: SQL models and their tests."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import merge, read_object, read_text
from datanika_stack.cli.resources import ObjectFile, Reference, add_common_verbs, noun
from datanika_stack.cli.session import Session

COLLECTION = "transformations"
app = noun("Transformations: SQL models in the warehouse, with tests on their columns.")
add_common_verbs(app, COLLECTION, columns=("id", "name", "schema", "materialization"))


@dataclass(frozen=True)
class TransformationOptions:
    """What can be changed of a model, as options; its tests go into --file."""

    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None
    schema: Annotated[str | None, typer.Option(help="Schema that the model is built in.")] = None
    sql_file: Annotated[
        str | None, typer.Option(help="File with the model's SQL; - reads standard input.")
    ] = None
    materialization: Annotated[
        str | None, typer.Option(help="view, table, incremental or ephemeral.")
    ] = None
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None
    file: ObjectFile = None

    def body(self) -> dict[str, Any]:
        """Returns the request."""
        return merge(
            read_object(self.file),
            name=self.name,
            schema=self.schema,
            sql=read_text(self.sql_file) if self.sql_file else None,
            materialization=self.materialization,
            description=self.description,
        )


@api_command(app, "create")
def create(
    session: Session,
    options: TransformationOptions,
    connection: Annotated[
        str | None, typer.Option(help="The connection; default: the managed warehouse.")
    ] = None,
) -> Any:
    """Create a model."""
    body = merge(options.body(), connection_id=session.find_id("connections", connection))
    return session.client.post(session.path(COLLECTION), body)


@api_command(app, "update")
def update(session: Session, reference: Reference, options: TransformationOptions) -> Any:
    """Change what is given of a model and keep the rest."""
    found = session.find(COLLECTION, reference)
    return session.client.patch(session.path(COLLECTION, found["id"]), options.body())


@api_command(app, "preview")
def preview(
    session: Session,
    sql_file: Annotated[str, typer.Option(help="File with the SQL; - reads standard input.")],
    connection: Annotated[str | None, typer.Option(help="The connection.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many rows.")] = 20,
) -> Any:
    """Compile a model's SQL, run it read-only and show its first rows."""
    body = merge(
        {"sql": read_text(sql_file), "limit": limit},
        connection_id=session.find_id("connections", connection),
    )
    answer = session.client.post(session.path(COLLECTION, "preview"), body)
    if session.as_json:
        return answer
    names = [column["name"] for column in answer["columns"]]
    return [dict(zip(names, row, strict=True)) for row in answer["rows"]]
