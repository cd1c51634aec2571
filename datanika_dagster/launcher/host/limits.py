"""What each kind of child may use. Neither a run's tags nor a child's own words change it."""

from datanika_dagster.launcher.fence import Limits

GIBIBYTE = 1 << 30

LIMITS = {
    "run": Limits(memory_bytes=2 * GIBIBYTE, open_files=1024),
    "job": Limits(memory_bytes=4 * GIBIBYTE, open_files=4096),
}
"""Processes are not limited here: the kernel counts them per user, over all of an org's jobs."""

MAXIMUM_CHILDREN = 200
"""So many at once; more are refused, and wait in the queue."""
