"""Counts the statements that a block sends to the database."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Engine, event


@pytest.fixture
def statements(app_engine: Engine) -> Callable[[], AbstractContextManager[list[str]]]:
    """Returns a function that collects the SQL of a block."""

    @contextmanager
    def collecting() -> Generator[list[str]]:
        seen: list[str] = []

        def note(_connection, _cursor, statement: str, *_rest: object) -> None:
            seen.append(statement)

        event.listen(app_engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(app_engine, "before_cursor_execute", note)

    return collecting
