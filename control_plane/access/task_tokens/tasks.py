"""Interactive tasks in somebody's name: a task token minted, then the task run with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.caller import Caller
from control_plane.access.task_tokens.service import mint_task_token, revoke_token
from control_plane.audit.service import Actor
from control_plane.core.tasks import PresentedToken, TaskRunner
from control_plane.core.vault import Vault


@dataclass(frozen=True)
class OrgTasks:
    """Runs tasks for one org.

    Attributes:
        factory: Commits each token on its own, while the request still runs.
        runner: Starts the task.
        org_id: The org.
        actor: In whose name the credentials are used.
        vault: Tells whether there are credentials to be had.
    """

    factory: sessionmaker[Session]
    runner: TaskRunner
    org_id: int
    actor: Actor
    vault: Vault

    @classmethod
    def of(
        cls, factory: sessionmaker[Session], runner: TaskRunner, vault: Vault, caller: Caller
    ) -> "OrgTasks":
        """Makes the tasks of the caller's org."""
        return cls(factory, runner, caller.org_id, caller.actor, vault)

    def run(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        connection_ids: Sequence[int],
        deadline_seconds: float,
    ) -> Any:
        """Runs a task with the credentials of these connections and returns its value.

        Its token is useless when this returns, however the task ended.

        Raises:
            TaskFailed: The work failed for a reason of the user's.
            Upstream: The task died or answered nothing readable, or its host is gone or stuck.
            Unavailable: No worker host takes the task.
            Throttled: Too many are running already.
            Sealed: It needs credentials, and the platform is sealed: nothing was started.
        """
        if connection_ids:
            self.vault.require_keys()
        with self.runner.slots.take(self.org_id):
            token = mint_task_token(
                self.factory, self.org_id, self.actor, purpose=kind, connection_ids=connection_ids
            )
            try:
                presented = PresentedToken(
                    self.org_id, token, self.actor.ip_address, self.actor.request_id
                )
                return self.runner.run(
                    kind, payload, token=presented, deadline_seconds=deadline_seconds
                )
            finally:
                # Also one that the task never used, or died with.
                revoke_token(self.factory, self.org_id, token)
