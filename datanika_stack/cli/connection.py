"""`datanika connection`: sources and destinations."""

import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from datanika_manifest.connectors.base import ConnectorDeclaration
from datanika_manifest.connectors.registry import CONNECTORS
from datanika_stack.cli.command import CommandFailedError, api_command
from datanika_stack.cli.inputs import merge, parse_settings, read_object, read_secret
from datanika_stack.cli.output import show
from datanika_stack.cli.resources import (
    ConfigFile,
    ObjectFile,
    Reference,
    add_common_verbs,
    noun,
)
from datanika_stack.cli.session import Session

COLLECTION = "connections"
app = noun("Connections: sources and destinations, with their credentials encrypted.")
add_common_verbs(app, COLLECTION, columns=("id", "slug", "name", "connector", "direction"))


@dataclass(frozen=True)
class ConnectionOptions:
    """What can be changed of a connection, as options."""

    name: Annotated[str | None, typer.Option(help="Name of the connection.")] = None
    direction: Annotated[str | None, typer.Option(help="source, destination or both.")] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting that is no secret."),
    ] = None
    config_file: ConfigFile = None
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False
    file: ObjectFile = None

    def body(self) -> dict[str, Any]:
        """Returns the request."""
        body = merge(read_object(self.file), name=self.name, direction=self.direction)
        config = self._config(body.get("config") or {})
        return body | ({"config": config} if config else {})

    def _config(self, base: dict[str, Any]) -> dict[str, Any]:
        settings = parse_settings(self.settings or [], secret_names=_secret_names())
        config = base | read_object(self.config_file) | settings
        if self.password_stdin:
            config["password"] = read_secret("password", from_stdin=True)
        return config


@api_command(app, "create")
def create(
    session: Session,
    options: ConnectionOptions,
    connector: Annotated[str | None, typer.Option(help="Its kind, such as postgres.")] = None,
) -> Any:
    """Create a connection; secrets come from standard input, a file or a prompt."""
    body = merge(options.body(), connector=connector)
    declaration = CONNECTORS.get(str(body.get("connector")))
    if declaration and sys.stdin.isatty():
        body["config"] = _asked(declaration, body.get("config") or {})
    return session.client.post(session.path(COLLECTION), body)


@api_command(app, "update")
def update(session: Session, reference: Reference, options: ConnectionOptions) -> Any:
    """Change what is given of a connection and keep the rest."""
    found = session.find(COLLECTION, reference)
    return session.client.patch(session.path(COLLECTION, found["id"]), options.body())


@api_command(app, "test")
def test(session: Session, reference: Reference) -> Any:
    """Connect with the stored credentials; exit with 1 when that fails."""
    found = session.find(COLLECTION, reference)
    result = session.client.post(session.path(COLLECTION, found["id"], "test"))
    if not result["ok"]:
        show(result, columns=(), as_json=session.as_json)
        raise CommandFailedError
    return result


@api_command(app, "tables", columns=("schema", "table", "kind", "row_estimate"))
def tables(
    session: Session,
    reference: Reference,
    sync: Annotated[bool, typer.Option("--sync", help="Look into the database again.")] = False,
) -> Any:
    """List the tables that were discovered in a connection."""
    found = session.find(COLLECTION, reference)
    if sync:
        session.client.post(session.path(COLLECTION, found["id"], "metadata", "sync"))
    return list(session.client.pages(session.path(COLLECTION, found["id"], "tables")))


@api_command(app, "sample")
def sample(
    session: Session,
    reference: Reference,
    table: Annotated[str, typer.Option(help="The table's exact name.")],
    schema: Annotated[str, typer.Option(help="Its schema.")] = "public",
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many rows.")] = 20,
) -> Any:
    """Show the first rows of a table or model as they are now."""
    found = session.find(COLLECTION, reference)
    query = {"schema": schema, "table": table, "limit": limit}
    answer = session.client.get(session.path(COLLECTION, found["id"], "sample"), query)
    if session.as_json:
        return answer
    names = [column["name"] for column in answer["columns"]]
    return [dict(zip(names, row, strict=True)) for row in answer["rows"]]


def _asked(declaration: ConnectorDeclaration, config: dict[str, Any]) -> dict[str, Any]:
    """Returns `config` with the secrets that are missing, as somebody at the terminal says them."""
    missing = sorted(declaration.secrets_stored_with(config) - config.keys())
    return config | {name: read_secret(name, from_stdin=False) for name in missing}


def _secret_names() -> frozenset[str]:
    return frozenset().union(*(kind.secret_fields() for kind in CONNECTORS.values()))
