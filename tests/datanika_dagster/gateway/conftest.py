"""The gateway with two orgs behind it, made once for all tests of the gateway in a process."""

from collections.abc import Iterator

import pytest

from tests.datanika_dagster.gateway.orgs_in_the_ui import Ui, orgs_in_the_ui
from tests.datanika_dagster.support.instances import create_home


@pytest.fixture(scope="package")
def ui(postgres_cluster, tmp_path_factory) -> Iterator[Ui]:
    home = create_home(tmp_path_factory.mktemp("gateway"), postgres_cluster)
    with orgs_in_the_ui(home) as made:
        yield made
