"""A run waits for a control plane that is started again, but not for ever."""

import pytest

from datanika_dagster.errors import ControlPlaneUnreachable, PlatformSealed
from datanika_dagster.launcher import waiting

SILENT = ControlPlaneUnreachable("The control plane did not answer (ConnectError).")
SEALED = PlatformSealed(423, "The platform is sealed.")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.1)


def asked(*answers):
    """Asks, is told these things in turn, the last one again and again, and returns what was said."""
    left, said = list(answers), []

    def ask():
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return waiting.for_control_plane(ask, said.append), [reason for reason in said if reason]


def test_a_restart_is_waited_for():
    answer, said = asked(SILENT, SILENT, "yes")
    assert answer == "yes"
    assert said == [f"{SILENT} The run goes on when it does."]


def test_silence_has_an_end():
    with pytest.raises(ControlPlaneUnreachable, match="ConnectError"):
        asked(SILENT)


def test_sealed_is_waited_for_longer_also_through_a_restart():
    answer, said = asked(SEALED, *[SILENT] * 20, SEALED, "yes")
    assert answer == "yes"
    assert said == [f"{SEALED} The run goes on when it is unlocked."]
