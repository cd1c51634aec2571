"""A step that waits for its pool sleeps, and gets a place that nobody was given."""

import time

import pytest
from dagster._core.test_utils import create_run_for_test

from datanika_dagster.launcher.pool_claims import LONGEST_PAUSE_SECONDS, PromptClaims

POOL = "acme__upload__flights"


@pytest.fixture
def holder(instance):
    with PromptClaims(instance, create_run_for_test(instance)) as claims:
        assert claims.claim(POOL, "load")
        yield claims
        claims.free_step("load")


@pytest.fixture
def waiting(instance, holder):
    with PromptClaims(instance, create_run_for_test(instance)) as claims:
        assert not claims.claim(POOL, "load")
        yield claims


def claimed(claims):
    deadline = time.monotonic() + 2 * LONGEST_PAUSE_SECONDS + 1
    while not claims.claim(POOL, "load"):
        assert time.monotonic() < deadline
        time.sleep(claims.interval_to_next_pending_claim_check())


def test_it_sleeps_for_a_while(waiting):
    pauses = []
    for _ in range(3):
        pauses.append(waiting.interval_to_next_pending_claim_check())
        time.sleep(pauses[-1])
        assert not waiting.claim(POOL, "load")
    assert all(0.5 < pause <= LONGEST_PAUSE_SECONDS for pause in pauses), pauses


def test_its_turn_comes(waiting, holder):
    holder.free_step("load")
    claimed(waiting)
    waiting.free_step("load")


def test_a_place_that_was_given_to_nobody(instance, waiting, holder):
    # What is left when the holder looks for who waits before the other one has joined the queue.
    storage = instance.event_log_storage
    storage._free_concurrency_slots(run_id=holder._run_id)
    storage._remove_pending_steps(run_id=holder._run_id)
    claimed(waiting)
    waiting.free_step("load")
