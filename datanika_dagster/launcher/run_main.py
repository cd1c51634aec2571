"""Entry point of a run's process: Dagster's own command line, in a process that is hidden first.

Its environment holds the URL of Dagster's storage, which a job of the same user must not read.
"""

from datanika_dagster.launcher.processes import hide_this_process


def main() -> None:
    """Hides the process and hands over to Dagster."""
    hide_this_process()
    # Only now: importing Dagster takes a second.
    from dagster._cli import main as dagster_main  # noqa: PLC0415

    dagster_main()


if __name__ == "__main__":
    main()
