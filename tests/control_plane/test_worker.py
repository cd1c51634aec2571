"""The worker's patience: with what fails, and with a platform that is sealed."""

import logging
import threading
import time

import httpx
import pytest

from control_plane import worker as worker_module
from control_plane.access.sessions.tokens import ServiceRole
from control_plane.core.errors import Sealed, Unavailable
from control_plane.core.signals import Listener
from control_plane.runs.reconciliation import CHANGES
from control_plane.worker import Worker


@pytest.fixture
def run(monkeypatch, caplog):
    """Returns a function that repeats a job until it has been done so often."""
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(worker_module, "SEALED_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "control_plane.worker")

    def repeat(outcomes):
        remaining = iter(outcomes)

        def job():
            outcome = next(remaining, None)
            if outcome is None:
                worker.stop()
            elif isinstance(outcome, Exception):
                raise outcome

        worker = Worker({"warehouses": job})
        thread = threading.Thread(target=worker.run)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return repeat


def test_a_sealed_platform_is_waited_for_quietly(run):
    sealed = Sealed("The platform is sealed.")
    assert run([sealed] * 40 + ["done", "done"]) == [
        ("INFO", "warehouses: waiting: The platform is sealed."),
        ("INFO", "warehouses: the platform is unsealed; going on"),
    ]


def test_each_failure_is_told(run):
    said = run([Unavailable("No provisioner.")] * 2 + ["done"])
    assert said == [("WARNING", "warehouses: No provisioner.")] * 2


def test_a_bug_does_not_end_it(run):
    said = run([ValueError("x"), "done"])
    assert said == [("ERROR", "warehouses failed")]


def test_a_signal_ends_a_pause_and_so_does_the_end(monkeypatch):
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 60.0)
    passes, wake = [], threading.Event()
    worker = Worker({"runs": lambda: passes.append(time.monotonic())}, {"runs": wake})
    thread = threading.Thread(target=worker.run)
    thread.start()
    for count in (1, 2, 3):
        deadline = time.monotonic() + 10
        while len(passes) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        wake.set()
    worker.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_whoever_says_that_runs_changed_wakes_the_worker_s_listener(live_api):
    heard = threading.Event()
    url = live_api.settings.database_url.get_secret_value()
    listener = Listener(url, CHANGES, lambda _: heard.set(), lambda: None)
    listener.start()
    try:
        deadline = time.monotonic() + 10
        while not listener.is_listening:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        signer = live_api.application.state.signer
        token = signer.service_token(ServiceRole.LAUNCHER)
        answer = httpx.post(
            f"{live_api.url}/internal/v1/runs/changes",
            json={},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 204
        assert heard.wait(10)
    finally:
        listener.close()
