"""Dagster's retries of runs whose process died, but at once: it looks when a run has ended.

Which runs are retried is said in `dagster.yaml` and by the reason of the failure
(docs/decisions/0111-retries.md).
"""

from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon

from datanika_dagster.launcher.signalled_daemon import SignalledDaemon


class PromptRunRetries(SignalledDaemon, EventLogConsumerDaemon):
    """Starts retries as soon as a run has failed."""
