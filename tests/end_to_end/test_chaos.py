"""Parts of a stack are killed at random moments; `make chaos` does it to all of them, five times each."""

import random

import pytest

from tests.chaos.rounds import play
from tests.chaos.site import Site
from tests.end_to_end.conftest import RunningStack


@pytest.fixture(scope="module")
def site(stack: RunningStack) -> Site:
    made = Site(stack)
    # It has renewed the one login of the demo's warehouse that the stack's other tests read with.
    stack.demo["warehouse_url"] = made.tenants[0].warehouse_url
    return made


@pytest.mark.parametrize("victim", ["worker", "worker_host", "daemon", "control_plane"])
def test_a_kill_leaves_nothing_wrong(site: Site, victim: str):
    played = play(site, victim, random.Random(6), runs=6, kills=1)
    assert played.findings == []
    assert played.kills == 1
