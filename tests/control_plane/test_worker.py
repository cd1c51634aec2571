"""The worker's patience: with what fails, and with a platform that is sealed."""

import logging
import threading

import pytest

from control_plane import worker as worker_module
from control_plane.core.errors import Sealed, Unavailable
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
