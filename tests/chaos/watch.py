"""Looks at a stack's runs again and again: how long is one in a state that is not true?"""

import time
from typing import Final

import psycopg

from datanika_dagster.launcher import worker
from datanika_dagster.tags import WORKER_TAG
from tests.chaos.site import UNFINISHED, Site

RIGHT_SECONDS: Final = 30.0
_TAG: Final = "(select max(value) from run_tags t where t.run_id = r.run_id and t.key = %s)"


class Watch:
    """Remembers since when what is wrong has been so while everything was up.

    Args:
        site: What is looked at.

    Attributes:
        longest_seconds: How long something was wrong at most.
        longest: What that was.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._since: dict[str, float] = {}
        self._too_long: set[str] = set()
        self.longest_seconds = 0.0
        self.longest = ""

    def look(self) -> list[str]:
        """Looks once; returns what is wrong now."""
        try:
            wrong = wrong_states(self._site) if self._site.is_up() else []
        except psycopg.OperationalError:
            wrong = []
        now = time.monotonic()
        self._since = {one: self._since.get(one, now) for one in wrong}
        for one, since in self._since.items():
            if now - since > self.longest_seconds:
                self.longest_seconds, self.longest = now - since, one
            if now - since > RIGHT_SECONDS:
                self._too_long.add(one)
        return wrong

    def findings(self) -> list[str]:
        """Returns what was wrong for too long."""
        return [f"for more than {RIGHT_SECONDS:.0f} s: {one}" for one in sorted(self._too_long)]


def wrong_states(site: Site) -> list[str]:
    """Returns the runs whose status is not true, or that nobody goes on with."""
    found: list[str] = []
    statuses: set[str] = set()
    for run_id, status, tag in site.rows(
        f"select r.run_id, r.status, {_TAG} from runs r where {UNFINISHED}", WORKER_TAG
    ):
        statuses.add(status)
        of_run = worker.from_tag(tag)
        if status == "NOT_STARTED":
            found.append(f"run {run_id} was never queued")
        elif status != "QUEUED" and (of_run is None or not worker.is_alive(of_run)):
            found.append(f"run {run_id} is {status} without a process")
    if statuses == {"QUEUED"}:
        found.append("runs are queued and none runs")
    return found + _living_dead(site)


def _living_dead(site: Site) -> list[str]:
    ended = site.rows(
        f"select r.run_id, r.status, {_TAG} from runs r where not ({UNFINISHED})"
        " and r.update_timestamp > now() - interval '3 minutes'",
        WORKER_TAG,
    )
    return [
        f"run {run_id} is {status} and its process goes on"
        for run_id, status, tag in ended
        if (of_run := worker.from_tag(tag)) and worker.is_alive(of_run)
    ]
