"""What a run makes of the answers about its task token, and of none."""

import logging
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import dagster as dg
import pytest

from datanika_dagster import control_plane_client, settings
from datanika_dagster.errors import ControlPlaneRefused, ControlPlaneUnreachable
from datanika_dagster.launcher import credentials, task_token, waiting
from tests.datanika_dagster.support.control_plane_stand_in import ControlPlaneStandIn, serve
from tests.datanika_dagster.support.manifests import manifest
from tests.fixtures.ports import free_port

TOKEN = "dtk_1_run"


@pytest.fixture(autouse=True)
def _of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has a task token and has not used it."""
    monkeypatch.setattr(credentials, "_GRANTS", credentials._Grants())
    monkeypatch.setattr(task_token._HOLDER, "token", TOKEN)
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.02)


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlaneStandIn]:
    with serve(ControlPlaneStandIn(tokens={TOKEN: "acme"})) as stand_in:
        monkeypatch.setenv("DATANIKA_CONTROL_PLANE_URL", stand_in.url)
        yield stand_in


class Ended(Exception):
    """The process would have ended, for its run to be done again."""


@pytest.fixture
def redeem(monkeypatch: pytest.MonkeyPatch):
    """Asks for the credentials as a run's first step does."""

    def end(_: int) -> None:
        raise Ended

    monkeypatch.setattr(credentials.os, "_exit", end)
    monkeypatch.setattr(credentials.run_side, "raise_if_cancelled", lambda _: None)
    context = SimpleNamespace(run=SimpleNamespace(run_id="r-1"), log=logging.getLogger(__name__))
    return lambda: credentials.of_run(context, manifest())


def ask(url: str) -> None:
    with control_plane_client.ControlPlaneClient(url, {}, timeout_seconds=0.2) as client:
        client.redeem(TOKEN)


def test_what_was_never_sent_cannot_have_arrived(plane: ControlPlaneStandIn):
    with pytest.raises(ControlPlaneUnreachable) as nobody:
        ask(f"http://127.0.0.1:{free_port()}")
    assert not nobody.value.may_have_arrived
    plane.redeem_seconds = 1.0
    with pytest.raises(ControlPlaneUnreachable) as slow:
        ask(plane.url)
    assert slow.value.may_have_arrived
    plane.redeem_seconds, plane.lost_answers = 0.0, 1
    plane.redeemed.clear()
    with pytest.raises(ControlPlaneUnreachable) as killed:
        ask(plane.url)
    assert killed.value.may_have_arrived
    with pytest.raises(ControlPlaneRefused) as used:
        ask(plane.url)
    assert used.value.reason_code == control_plane_client.USED_BEFORE


def test_lost_are_credentials_whose_answer_was_lost(plane: ControlPlaneStandIn, redeem):
    plane.lost_answers = 1
    with pytest.raises(Ended):
        redeem()


def test_another_refusal_after_a_silence_is_a_refusal(plane: ControlPlaneStandIn, redeem):
    plane.redeem_answers = [(502, {}), (403, {"detail": "Not any more.", "code": "forbidden"})]
    with pytest.raises(dg.Failure, match="Not any more"):
        redeem()


def test_a_token_that_somebody_else_used_is_a_refusal_after_no_connection(
    plane: ControlPlaneStandIn, redeem, monkeypatch: pytest.MonkeyPatch
):
    plane.redeemed.add(TOKEN)
    there = settings.read()
    monkeypatch.setenv("DATANIKA_CONTROL_PLANE_URL", f"http://127.0.0.1:{free_port()}")
    urls = [settings.read(), there]
    monkeypatch.setattr(
        credentials.settings, "read", lambda: urls.pop(0) if len(urls) > 1 else urls[0]
    )
    with pytest.raises(dg.Failure, match="used already"):
        redeem()


def test_a_process_asks_early_in_one_thread(plane: ControlPlaneStandIn):
    plane.is_sealed = True
    for _ in range(3):
        credentials.redeem_early()
    assert [one.name for one in threading.enumerate()].count("redeem") == 1
    plane.is_sealed = False
    deadline = time.monotonic() + 10
    while any(one.name == "redeem" for one in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    credentials.redeem_early()
    assert [one.name for one in threading.enumerate()].count("redeem") == 0
    assert plane.redeemed == {TOKEN}
