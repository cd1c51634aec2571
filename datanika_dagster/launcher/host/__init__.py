"""The warm worker host: one process with everything imported, which forks runs and jobs.

`python -m datanika_dagster.launcher.host --sockets DIR --name NAME`
(docs/decisions/0090-one-warm-host-forks-runs-and-jobs.md).
"""
