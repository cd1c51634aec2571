"""A served control plane, and the `datanika` command pointed at it."""

import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from control_plane.access.users.models import User
from datanika_stack.cli.main import app
from datanika_stack.postgres import EmbeddedPostgres
from tests.fixtures.control_plane import databases, live_api, make_settings
from tests.fixtures.ports import free_port

__all__ = ["databases", "live_api", "make_settings"]
PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[EmbeddedPostgres]:
    """A cluster of its own: each `databases` fixture sets the passwords of the cluster's roles."""
    directory = Path(tempfile.mkdtemp(prefix="dtk", dir="/tmp"))
    directory.chmod(0o755)
    sockets = directory / "socket"
    password = secrets.token_urlsafe(16)
    try:
        with EmbeddedPostgres(
            directory / "data", free_port(), sockets, password, durable=False
        ) as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Command:
    """Runs `datanika …` as a user with a configuration directory of their own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def run(self, *arguments: str, stdin: str = "", exit_code: int = 0):
        """Returns the finished command; its exit code must be the given one."""
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=self.environment)
        assert result.exit_code == exit_code, (result.stdout, result.stderr, result.exception)
        return result

    def json(self, *arguments: str, stdin: str = ""):
        """Returns what the command prints with `--json`."""
        return json.loads(self.run(*arguments, "--json", stdin=stdin).stdout)

    def error(self, *arguments: str, stdin: str = "", exit_code: int = 1):
        """Returns the error that the command prints with `--json`."""
        result = self.run(*arguments, "--json", stdin=stdin, exit_code=exit_code)
        return json.loads(result.stderr)["error"]


@pytest.fixture
def make_command(live_api, tmp_path) -> Callable[[], Command]:
    """Returns a function that makes the command of another, unknown user."""

    def make() -> Command:
        directory = tmp_path / secrets.token_hex(4)
        return Command(
            {
                "XDG_CONFIG_HOME": str(directory),
                "HOME": str(directory),
                "DATANIKA_HOME": str(directory / "no-stack"),
                "DATANIKA_API_URL": live_api.url,
                "COLUMNS": "200",
            }
        )

    return make


@pytest.fixture
def command(make_command) -> Command:
    """The command of an owner with an org, who is logged in."""
    made = make_command()
    token = secrets.token_hex(4)
    email = f"{token}@example.com"
    options = ["--name", f"Org {token}", "--email", email, "--password-stdin"]
    made.org = made.json("org", "create", *options, stdin=f"{PASSWORD}\n")["slug"]
    made.email = email
    return made


@pytest.fixture
def operator(command, live_api):
    """The command of an owner who is a platform operator, too."""
    with live_api.application.state.session_factory() as session:
        change = update(User).where(User.email == command.email)
        session.execute(change.values(is_platform_operator=True))
        session.commit()
    return command
