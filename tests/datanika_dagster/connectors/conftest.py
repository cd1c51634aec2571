"""One database in a real cluster."""

from collections.abc import Iterator

import pytest

from datanika_stack.postgres import EmbeddedPostgres
from tests.datanika_dagster.databases import Database, new_database


@pytest.fixture
def database(postgres_cluster: EmbeddedPostgres) -> Iterator[Database]:
    with new_database(postgres_cluster) as new:
        yield new
