"""What a worker host is told at its start: the one place that says so. No secret is among it.

The stack, a run's container and docker-compose.yml start hosts; each knows the values in its own way.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HostEnvironment:
    """The variables of a worker host, beside the few that every process inherits.

    Attributes:
        dagster_home: Where runs' logs and captured output are.
        home: Below it working directories are made.
        projects_dir: Where generated dbt projects are.
        worker_uid_base: The first user id of orgs' runs and jobs.
        run_log_days: How long the output of runs is kept.
        run_log_gigabytes: How much of it.
    """

    dagster_home: Path
    home: Path
    projects_dir: Path
    worker_uid_base: int
    run_log_days: float
    run_log_gigabytes: float

    def variables(self) -> dict[str, str]:
        """Returns them by name."""
        return {
            "DAGSTER_HOME": str(self.dagster_home),
            "DATANIKA_HOME": str(self.home),
            "DBT_PROJECTS_DIR": str(self.projects_dir),
            "DATANIKA_WORKER_UID_BASE": str(self.worker_uid_base),
            "DATANIKA_RUN_LOG_DAYS": str(self.run_log_days),
            "DATANIKA_RUN_LOG_GIGABYTES": str(self.run_log_gigabytes),
            # A thread of its own would not survive the fork (Arrow's allocator, jemalloc).
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
        }
