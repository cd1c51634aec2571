"""The orgs, made once for all tests of their walls."""

import pytest

from tests.datanika_dagster.gateway.scoped.world import Org, make_orgs


@pytest.fixture(scope="module")
def orgs(shared_dagster_home) -> list[Org]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shared_dagster_home.environment.items():
            patch.setenv(name, value)
        with shared_dagster_home.instance() as instance:
            yield make_orgs(instance)


@pytest.fixture(scope="module")
def mine(orgs) -> Org:
    return orgs[0]


@pytest.fixture(params=[1, 2, 3], ids=["longer", "with underscore", "like it"], scope="module")
def theirs(orgs, request) -> Org:
    return orgs[request.param]
