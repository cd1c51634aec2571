"""How a run's step waits for its pool: asleep, and never for a place that is free.

Dagster's own way (1.13.27) asks for the shortest of the pauses *and zero*, so that a run that waits
keeps a core busy. And a place that becomes free while another step is just joining the queue is
given to nobody: who waits then waits until some other step leaves the same pool
(docs/decisions/0142-waiting-for-a-pool.md).
"""

import time
from typing import Any, Final

from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext

LONGEST_PAUSE_SECONDS: Final = 2.0


class PromptClaims(InstanceConcurrencyContext):
    """The claims of one run's steps."""

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        """Claims a place for a step; False where it has to wait.

        Args:
            concurrency_key: The pool.
            step_key: The step.
            step_priority: The step's own, beside the run's.
        """
        if step_key in self._pending_claims and time.time() > self._pending_timeouts[step_key]:
            self._give_free_place(concurrency_key)
        if super().claim(concurrency_key, step_key, step_priority):
            return True
        longest = time.time() + LONGEST_PAUSE_SECONDS
        self._pending_timeouts[step_key] = min(self._pending_timeouts[step_key], longest)
        return False

    def interval_to_next_pending_claim_check(self) -> float:
        """Returns for how many seconds nothing need be asked."""
        if not self._pending_claims:
            return 0.0
        next_at = min(self._pending_timeouts.values(), default=0.0)
        return min(max(0.0, next_at - time.time()), LONGEST_PAUSE_SECONDS)

    def _give_free_place(self, pool: str) -> None:
        storage: Any = self._instance.event_log_storage
        if storage.has_unassigned_slots(pool):
            storage.assign_pending_steps([pool])
