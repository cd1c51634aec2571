"""A run's credentials: asked for once and kept in memory only.

A run that the launcher started has its task token already and exchanges it as soon as it starts:
its steps may wait for their pools for longer than the token lives. A run from a shell gets a
token for its API key when the first step needs it. What comes back is handed to jobs connection
by connection (docs/decisions/0013-a-run-redeems-its-token-at-once.md). While the platform is sealed it
waits (docs/decisions/0076-runs-wait-while-sealed.md), and for a while also where nobody answers
(docs/decisions/0141-a-run-outlives-a-restart-of-the-control-plane.md).
"""

import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import dagster as dg

from datanika_dagster import control_plane_client, settings
from datanika_dagster.control_plane_client import Redeemed, RunIntent
from datanika_dagster.errors import (
    ControlPlaneRefused,
    ControlPlaneUnreachable,
    ExecutionError,
    SettingMissing,
)
from datanika_dagster.launcher import run_side, waiting
from datanika_dagster.launcher.job import Secrets
from datanika_dagster.launcher.planned_run import check_key
from datanika_dagster.launcher.task_token import token_of_process
from datanika_dagster.settings import Settings
from datanika_manifest.code_location import CodeLocation


@dataclass(frozen=True)
class Granted:
    """What a run may use.

    Attributes:
        networks: What its jobs are told about networks, part of their payloads.
    """

    networks: Mapping[str, Any]
    _connections: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def only(self, *slugs: str) -> Secrets:
        """Returns the connections that one job uses.

        Raises:
            Failure: The control plane gave no such connection to this run.
        """
        missing = [slug for slug in slugs if slug not in self._connections]
        if missing:
            raise dg.Failure(
                f"This run was not given the connection '{missing[0]}'. Was it deleted?",
                allow_retries=False,
            )
        return {slug: self._connections[slug] for slug in slugs}


@dataclass
class _Grants:
    lock: threading.Lock = field(default_factory=threading.Lock)
    of_process: Redeemed | None = field(default=None, repr=False)
    by_run: dict[str, Granted] = field(default_factory=dict, repr=False)
    was_unanswered: bool = False
    redeems_early: bool = False


_GRANTS = _Grants()


def redeem_early() -> None:
    """Exchanges the task token of this process in the background, where it has one; once.

    The first step may have to wait for its pool for longer than the token lives. A refusal is no
    error here: that step asks again and says what is wrong. While the platform is sealed, or silent,
    it is asked again and again.
    """
    token = token_of_process()
    if token is not None and not _GRANTS.redeems_early:
        _GRANTS.redeems_early = True
        threading.Thread(
            target=_redeem_later, args=(token, settings.read()), name="redeem", daemon=True
        ).start()


def _redeem_for_process(token: str, config: Settings) -> None:
    with _GRANTS.lock:
        if _GRANTS.of_process is None:
            _GRANTS.of_process = _exchange(token, config)


def _redeem_later(token: str, config: Settings) -> None:
    with contextlib.suppress(ExecutionError):
        waiting.for_control_plane(
            lambda: _redeem_for_process(token, config), on_wait=lambda _: None
        )


def of_run(context: dg.AssetExecutionContext, manifest: CodeLocation) -> Granted:
    """Returns what the run of `context` may use; waits while the platform is sealed or starts again.

    Args:
        context: A step of the run.
        manifest: The manifest that the run keeps.

    Raises:
        Failure: The token or the key was refused, or the control plane does not answer.
    """

    def on_wait(reason: str | None) -> None:
        if reason:
            context.log.warning("Waiting: %s", reason)
        run_side.raise_if_cancelled(context)

    try:
        return waiting.for_control_plane(lambda: _granted(context, manifest), on_wait)
    except ControlPlaneRefused as error:
        if token_of_process() and _were_lost(error):
            _end_to_be_done_again(context, error)
        raise dg.Failure(f"No credentials for this run: {error}", allow_retries=False) from None
    except ExecutionError as error:
        raise dg.Failure(
            f"No credentials for this run: {error}",
            allow_retries=isinstance(error, ControlPlaneUnreachable),
        ) from None


def _were_lost(error: ControlPlaneRefused) -> bool:
    """Tells whether the credentials were given, in an answer that did not arrive."""
    return _GRANTS.was_unanswered and error.reason_code == control_plane_client.USED_BEFORE


def _end_to_be_done_again(
    context: dg.AssetExecutionContext, error: ControlPlaneRefused
) -> NoReturn:
    """Ends this process, as one that is killed: its run is done again, a failed step is not (0111)."""
    context.log.error(
        "An answer of the control plane was lost, and with it this run's credentials: %s "
        "The run is done again.",
        error,
    )
    os._exit(os.EX_TEMPFAIL)


def _granted(context: dg.AssetExecutionContext, manifest: CodeLocation) -> Granted:
    with _GRANTS.lock:
        if context.run.run_id not in _GRANTS.by_run:
            _GRANTS.by_run[context.run.run_id] = _redeem(context, manifest)
        return _GRANTS.by_run[context.run.run_id]


def _redeem(context: dg.AssetExecutionContext, manifest: CodeLocation) -> Granted:
    config = settings.read()
    redeemed = _GRANTS.of_process
    if redeemed is None:
        token = token_of_process() or _token_for_shell(context, manifest, config)
        redeemed = _exchange(token, config)
    if redeemed.org != manifest.org:
        raise ExecutionError("The task token belongs to another organization.")
    return Granted(redeemed.networks(), redeemed.connections)


def _exchange(token: str, config: Settings) -> Redeemed:
    with control_plane_client.of_process(config, token) as client:
        try:
            return client.redeem(token)
        except ControlPlaneUnreachable as error:
            # It may have taken the token all the same, which is for one use.
            _GRANTS.was_unanswered = _GRANTS.was_unanswered or error.may_have_arrived
            raise


def _token_for_shell(
    context: dg.AssetExecutionContext, manifest: CodeLocation, config: Settings
) -> str:
    if config.api_key is None:
        raise SettingMissing("DATANIKA_API_KEY is not set: make a key with run scope.")
    config.required_dagster_home()
    selection, checks = context.run.asset_selection, context.run.asset_check_selection
    # A run of checks alone selects no asset; one that says nothing at all runs everything.
    assets = selection or (set() if checks else _all_assets(context))
    intent = RunIntent(
        org=manifest.org,
        manifest_sha256=manifest.sha256(),
        asset_keys=sorted(list(key.path) for key in assets),
        check_keys=[check_key(key) for key in sorted(checks or ())] or None,
    )
    with control_plane_client.of_process(config) as client:
        return client.task_token(context.run.run_id, intent).token


def _all_assets(context: dg.AssetExecutionContext) -> set[dg.AssetKey]:
    return set(context.job_def.asset_layer.selected_asset_keys)
