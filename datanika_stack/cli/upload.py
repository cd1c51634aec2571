"""`datanika upload`: extract and load."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import UsageError, merge, read_object
from datanika_stack.cli.resources import (
    ConfigFile,
    ObjectFile,
    Reference,
    add_common_verbs,
    noun,
)
from datanika_stack.cli.session import Session

COLLECTION = "uploads"
app = noun("Uploads: which tables are loaded from a source into a destination.")
add_common_verbs(app, COLLECTION, columns=("id", "slug", "name", "config"))


@dataclass(frozen=True)
class UploadOptions:
    """What an upload is made of, as options; everything else goes into --config-file."""

    name: Annotated[str | None, typer.Option(help="Name of the upload.")] = None
    source: Annotated[str | None, typer.Option(help="The source connection.")] = None
    destination: Annotated[
        str | None, typer.Option(help="The destination; default: the managed warehouse.")
    ] = None
    mode: Annotated[str | None, typer.Option(help="single_table or full_database.")] = None
    tables: Annotated[
        list[str] | None, typer.Option("--table", help="A source table; may be repeated.")
    ] = None
    source_schema: Annotated[str | None, typer.Option(help="Schema at the source.")] = None
    target_schema: Annotated[str | None, typer.Option(help="Schema at the destination.")] = None
    write_disposition: Annotated[str | None, typer.Option(help="append, replace or merge.")] = None
    config_file: ConfigFile = None
    file: ObjectFile = None

    def body(self, session: Session) -> dict[str, Any]:
        """Returns the request."""
        base = read_object(self.file)
        config = merge(
            (base.get("config") or {}) | read_object(self.config_file),
            mode=self.mode,
            source_schema=self.source_schema,
            target_schema=self.target_schema,
            write_disposition=self.write_disposition,
        )
        return merge(
            base,
            name=self.name,
            source_connection_id=session.find_id("connections", self.source),
            destination_connection_id=session.find_id("connections", self.destination),
            config=(config | self._tables(config)) or None,
        )

    def _tables(self, config: dict[str, Any]) -> dict[str, Any]:
        if not self.tables:
            return {}
        if config.get("mode") == "single_table" and len(self.tables) == 1:
            return {"table": self.tables[0]}
        return {"table_names": self.tables}


@api_command(app, "create")
def create(session: Session, options: UploadOptions) -> Any:
    """Create an upload; its destination is the managed warehouse unless another is given."""
    body = options.body(session)
    if "destination_connection_id" not in body:
        body["destination_connection_id"] = _warehouse_id(session)
    return session.client.post(session.path(COLLECTION), body)


@api_command(app, "update")
def update(session: Session, reference: Reference, options: UploadOptions) -> Any:
    """Change what is given of an upload; a config with a mode is replaced as a whole.

    Without a mode, the given keys are changed (null removes one) and the others stay.
    """
    found = session.find(COLLECTION, reference)
    return session.client.patch(session.path(COLLECTION, found["id"]), options.body(session))


def _warehouse_id(session: Session) -> int:
    """Returns the connection of the managed warehouse.

    Raises:
        UsageError: It has not been made yet.
    """
    warehouse = session.client.get(session.path("warehouse"))
    if warehouse["connection_id"] is None:
        reason = f" ({warehouse['error']})" if warehouse.get("error") else ""
        raise UsageError(
            f"The warehouse is {warehouse['state']}{reason}: try again when `datanika warehouse "
            "get` says ready, or give --destination."
        )
    return warehouse["connection_id"]
