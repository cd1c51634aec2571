"""Entry point of a code location: `-m datanika_dagster.definitions` with DATANIKA_ORG.

A function rather than a module-level object, because a process that has imported the module for
one run must not show its definitions to another. What a run was planned from is what it loads:
the manifest's SHA-256 travels in the plan, and a publish in between changes nothing
(docs/decisions/0011-a-run-keeps-its-manifest.md).
"""

import logging
from functools import lru_cache

import dagster as dg
from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)

from datanika_dagster import control_plane_client, settings
from datanika_dagster.build import build_definitions
from datanika_dagster.launcher import credentials, waiting
from datanika_dagster.launcher.task_token import token_of_process
from datanika_dagster.tags import MANIFEST_METADATA
from datanika_manifest.code_location import CodeLocation

_LOGGER = logging.getLogger(__name__)


@dg.definitions
def definitions() -> dg.Definitions:
    """Loads the org's manifest and builds what it describes.

    Raises:
        SettingMissing: DATANIKA_ORG is not set.
        ControlPlaneUnreachable: The control plane does not answer, a run not for a minute.
        ControlPlaneRefused: Nothing is published, or this process may not read it.
        ManifestError: What came is not that org's manifest.
    """
    config = settings.read()
    org = config.required_org()
    sha256 = _planned_sha256() or config.manifest
    manifest, built = _pinned(org, sha256) if sha256 else _fetched(org, None)
    credentials.redeem_early()
    # The public with_reconstruction_metadata alone is lost on the way (Dagster 1.13.27).
    DefinitionsLoadContext.get().add_to_pending_reconstruction_metadata(
        MANIFEST_METADATA, manifest.sha256()
    )
    return built


@lru_cache(maxsize=1)
def _pinned(org: str, sha256: str) -> tuple[CodeLocation, dg.Definitions]:
    """Returns what a hash names; Dagster asks for a run's definitions more than once."""
    return _fetched(org, sha256)


def _fetched(org: str, sha256: str | None) -> tuple[CodeLocation, dg.Definitions]:
    """Fetches and builds; a run waits for a control plane that is started again (0141)."""
    token = token_of_process()
    with control_plane_client.of_process(settings.read(), token) as client:

        def ask() -> CodeLocation:
            return client.manifest(org, sha256)

        # A code server is started again by who watches it; nobody starts a run again.
        manifest = waiting.for_control_plane(ask, _log_wait) if token else ask()
    return manifest, build_definitions(manifest)


def _log_wait(reason: str | None) -> None:
    if reason:
        _LOGGER.warning("Waiting: %s", reason)


def _planned_sha256() -> str | None:
    context = DefinitionsLoadContext.get()
    if context.load_type is not DefinitionsLoadType.RECONSTRUCTION:
        return None
    return context.reconstruction_metadata.get(MANIFEST_METADATA)
