"""Loads one org's code location, from what is kept or from its server; knows no other location."""

import json
import logging
import time
from pathlib import Path

from dagster import DagsterInstance
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.workspace import (
    CodeLocationEntry,
    CodeLocationLoadStatus,
    DefinitionsSource,
)
from dagster_shared.error import SerializableErrorInfo

from datanika_dagster.workspace.kept_definitions import Answers, KeptDefinitions
from datanika_dagster.workspace.org_location import OrgCodeLocation
from datanika_dagster.workspace.servers import Servers

logger = logging.getLogger(__name__)


class NotYetServed(Exception):
    """The server has another manifest than the one that is published; in a moment it has that."""


class OrgLoader:
    """Loads code locations.

    Args:
        instance: The Dagster instance.
        servers: Wakes the servers.
        directory: Where definitions are kept.
    """

    def __init__(self, instance: DagsterInstance, servers: Servers, directory: Path) -> None:
        self._instance = instance
        self._servers = servers
        self._kept = KeptDefinitions(directory)

    def from_kept(
        self, origin: GrpcServerCodeLocationOrigin, sha256: str
    ) -> CodeLocationEntry | None:
        """Returns a location from what is kept; None where nothing is, or nothing of use.

        Args:
            origin: Where its server listens.
            sha256: The published manifest.
        """
        answers = self._kept.find(origin.location_name, sha256)
        if answers is None:
            return None
        try:
            return self._load(origin, sha256, answers)
        except Exception:
            logger.warning("What is kept of %s is of no use", origin.location_name, exc_info=True)
            return None

    def from_server(self, origin: GrpcServerCodeLocationOrigin, sha256: str) -> CodeLocationEntry:
        """Returns a location as its server describes it, and keeps that.

        Raises:
            NotYetServed: The server has another manifest.
            DagsterUserCodeUnreachableError: It does not answer.
            DagsterUserCodeProcessError: It cannot build the definitions.
        """
        answers: Answers = {}
        entry = self._load(origin, sha256, answers)
        self._kept.keep(origin.location_name, sha256, answers)
        return entry

    def forget(self, name: str) -> None:
        """Removes what is kept of a location that is no more."""
        self._kept.forget(name)

    def _load(
        self, origin: GrpcServerCodeLocationOrigin, sha256: str, answers: Answers
    ) -> CodeLocationEntry:
        location = OrgCodeLocation(origin, self._instance, self._servers, answers)
        if location.server_id != sha256:
            raise NotYetServed(f"The server has {location.server_id}, published is {sha256}.")
        return CodeLocationEntry(
            origin=origin,
            code_location=location,
            load_error=None,
            load_status=CodeLocationLoadStatus.LOADED,
            display_metadata=location.get_display_metadata(),
            update_timestamp=time.time(),
            # As the stock workspace writes it: clients compare it.
            version_key=json.dumps([location.server_id, location.container_image]),
            definitions_source=DefinitionsSource.CODE_SERVER,
        )


def entry_in_error(
    origin: GrpcServerCodeLocationOrigin, reason: str, *, is_loading: bool
) -> CodeLocationEntry:
    """Returns a location of which nothing is known yet. The scheduler spares the state of its ticks.

    Args:
        origin: Where its server listens.
        reason: Why, for people.
        is_loading: Whether that will pass by itself.
    """
    status = CodeLocationLoadStatus.LOADING if is_loading else CodeLocationLoadStatus.LOADED
    now = time.time()
    return CodeLocationEntry(
        origin=origin,
        code_location=None,
        load_error=SerializableErrorInfo(reason, [], "CodeLocationNotLoaded"),
        load_status=status,
        display_metadata=origin.get_display_metadata(),
        update_timestamp=now,
        version_key=str(now),
        definitions_source=DefinitionsSource.CODE_SERVER,
    )
