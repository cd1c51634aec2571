"""The control plane is told of each change of a run, and of the next one where it did not answer."""

import pytest
from dagster._core.test_utils import create_run_for_test

from datanika_dagster.errors import ControlPlaneUnreachable
from datanika_dagster.run_changes import RunChanges
from tests.datanika_dagster.support.waiting import wait_for

SECONDS = 10


class Told:
    """What stands in for the control plane counts, and may be away."""

    def __init__(self):
        self.times = 0
        self.is_away = False

    def __call__(self):
        self.times += 1
        if self.is_away:
            raise ControlPlaneUnreachable("The control plane did not answer.")

    def since(self, times):
        return self.times > times


@pytest.fixture
def told(instance, monkeypatch):
    monkeypatch.setenv("DATANIKA_ORG", "acme")
    told = Told()
    with RunChanges(instance.run_storage.postgres_url, told):
        wait_for(lambda: told.times, SECONDS)  # something may have happened before
        yield told


def test_a_new_run_its_start_and_its_end(instance, told):
    before = told.times
    run = create_run_for_test(instance)
    wait_for(lambda: told.since(before), SECONDS)
    for change in (instance.report_run_canceling, instance.report_run_canceled):
        before = told.times
        change(run)
        wait_for(lambda before=before: told.since(before), SECONDS)


def test_what_changes_no_run_is_not_told(instance, told):
    run = create_run_for_test(instance)
    wait_for(lambda: told.since(1), SECONDS)
    before = told.times
    instance.report_engine_event("on its way", run)
    with pytest.raises(AssertionError):
        wait_for(lambda: told.since(before), 0.5)


def test_a_control_plane_that_is_away_is_told_again(instance, told, caplog):
    told.is_away = True
    run = create_run_for_test(instance)
    wait_for(lambda: "learns of runs late" in caplog.text, SECONDS)
    told.is_away, before = False, told.times
    instance.report_run_failed(run)
    wait_for(lambda: told.since(before), SECONDS)
    assert caplog.text.count("learns of runs late") == 1
