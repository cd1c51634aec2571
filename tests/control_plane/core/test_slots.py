"""Slow work is bounded, overall and per org, and nobody waits."""

from contextlib import ExitStack

import pytest

from control_plane.core.errors import Throttled
from control_plane.core.slots import Slots


def places_of(slots: Slots, held: ExitStack, org_id: int) -> int:
    """Takes as many places as the org gets, and returns how many."""
    for taken in range(100):
        try:
            held.enter_context(slots.take(org_id))
        except Throttled:
            return taken
    raise AssertionError("there is no bound")


def test_an_org_gets_its_share_and_leaves_the_rest():
    slots = Slots(total=3, per_org=2, kept_for_others=0)
    with slots.take(1), slots.take(1):
        with pytest.raises(Throttled), slots.take(1):
            pass
        with slots.take(2):
            with pytest.raises(Throttled) as refused, slots.take(3):
                pass
            assert refused.value.retry_after_seconds > 0
    with slots.take(1), slots.take(1):
        pass


def test_the_last_places_are_for_those_who_have_none():
    """Two orgs that take all they get leave something to two others."""
    slots = Slots()
    with ExitStack() as held:
        assert [places_of(slots, held, org_id) for org_id in (1, 2)] == [3, 3]
        assert [places_of(slots, held, org_id) for org_id in (3, 4, 5)] == [1, 1, 0]
    with ExitStack() as held:
        assert places_of(slots, held, 5) == 3, "all were given back"


def test_whoever_has_one_does_not_take_the_last():
    slots = Slots(total=4, per_org=3, kept_for_others=2)
    with slots.take(1), slots.take(2):
        with pytest.raises(Throttled), slots.take(1):
            pass
        with slots.take(3), slots.take(4), pytest.raises(Throttled), slots.take(5):
            pass


def test_a_place_is_given_back_after_an_error():
    slots = Slots(total=1, per_org=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), slots.take(1):
            raise ZeroDivisionError
