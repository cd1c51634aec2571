"""Stacks that chaos starts for itself, or finds running."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.end_to_end.conftest import RunningStack, datanika
from tests.fixtures.ports import free_base_port


@contextlib.contextmanager
def own_home() -> Iterator[Path]:
    """A directory that every user can reach, as the parts of a stack have their own."""
    home = Path(tempfile.mkdtemp(prefix="dnc", dir="/tmp"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def running_stack(home: Path, base_port: int | None = None) -> Iterator[RunningStack]:
    """The demo in a home, kept running; its processes are gone at the end."""
    port = base_port or free_base_port()
    command = ["demo", "--home", str(home), "--port", str(port), "--json", "--exit", "--keep"]
    try:
        answer = datanika(*command)
        assert answer.returncode == 0, answer.stderr + answer.stdout
        with contextlib.ExitStack() as clients:
            yield RunningStack(home, port, json.loads(answer.stdout), clients)
    finally:
        datanika("down", "--home", str(home))


@contextlib.contextmanager
def given_stack(home: Path, demo: Path) -> Iterator[RunningStack]:
    """A demo that runs already; `demo` is a file with what it has printed."""
    printed = json.loads(demo.read_text())
    port = int(printed["api_url"].rsplit("/api", 1)[0].rsplit(":", 1)[1])
    with contextlib.ExitStack() as clients:
        yield RunningStack(home, port, printed, clients)
