"""The use of a key is written at its first request, then once a minute."""

from control_plane.access.key_store import uses
from control_plane.access.key_store.uses import KeyUses


def test_once_in_a_while(monkeypatch):
    noted = KeyUses()
    assert [noted.is_due(1), noted.is_due(1), noted.is_due(2)] == [True, False, True]
    monkeypatch.setattr(uses, "RESOLUTION_SECONDS", 0.0)
    assert noted.is_due(1)


def test_it_stays_small(monkeypatch):
    monkeypatch.setattr(uses, "MAXIMUM_KEYS", 10)
    noted = KeyUses()
    for key_id in range(100):
        assert noted.is_due(key_id)
        assert len(noted._noted_at) <= 10
