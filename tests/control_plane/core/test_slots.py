"""Slow work is bounded, overall and per org, and nobody waits."""

import pytest

from control_plane.core.errors import Throttled
from control_plane.core.slots import Slots


def test_an_org_gets_its_share_and_leaves_the_rest():
    slots = Slots(total=3, per_org=2)
    with slots.take(1), slots.take(1):
        with pytest.raises(Throttled), slots.take(1):
            pass
        with slots.take(2):
            with pytest.raises(Throttled) as refused, slots.take(3):
                pass
            assert refused.value.retry_after_seconds > 0
    with slots.take(1), slots.take(1):
        pass


def test_a_place_is_given_back_after_an_error():
    slots = Slots(total=1, per_org=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), slots.take(1):
            raise ZeroDivisionError
