"""`python -m datanika_dagster.launcher.host --sockets DIR --name NAME`: one worker host.

SIGTERM lets it drain: it starts nothing new and ends with its last child. SIGINT ends its children.
"""

import argparse
import gc
import logging
import re
import stat
from pathlib import Path

from datanika_dagster import settings
from datanika_dagster.launcher import processes
from datanika_dagster.launcher.fence import probe
from datanika_dagster.launcher.host import entries
from datanika_dagster.launcher.host.ground import Bodies
from datanika_dagster.launcher.host.places import Places
from datanika_dagster.launcher.host.server import Host

OPEN_FILES = 4096
"""Several for each of the most children and connections; children have their own limit."""

NAME = re.compile(r"[a-z0-9_]{1,40}")


def main() -> None:
    """Serves until told otherwise."""
    parser = argparse.ArgumentParser(prog="datanika_dagster.launcher.host")
    parser.add_argument("--sockets", type=Path, required=True, help="a private directory")
    parser.add_argument("--name", required=True, help="the host's name, and its socket's")
    parser.add_argument(
        "--only-own",
        action="store_true",
        help="leave what other hosts have left, and old output of runs, to hosts that stay",
    )
    given = parser.parse_args()
    if not NAME.fullmatch(given.name):
        parser.error("a name is of small letters, digits and underscores")
    _refuse_open_directory(parser, given.sockets)
    serve(given.sockets / f"{given.name}.sock", is_caretaker=not given.only_own)


def serve(socket_path: Path, *, is_caretaker: bool = True) -> None:
    """Imports everything, then serves on a socket.

    Args:
        socket_path: Where; its directory is private.
        is_caretaker: Whether it removes what other hosts have left.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    processes.hide_this_process()
    processes.allow_open_files(OPEN_FILES)
    # Imports make little garbage and many objects: collecting among them costs a fifth of the start.
    gc.disable()
    entries.preload()
    # Not before: it imports Dagster.
    from datanika_dagster.launcher import job_child  # noqa: PLC0415
    from datanika_dagster.launcher.host import post_mortem, run_child  # noqa: PLC0415

    bodies = Bodies(run_child.run, job_child.run_hosted, post_mortem.report)
    places = Places.of(settings.read(), is_caretaker=is_caretaker)
    host = Host(socket_path, bodies, places, probe())
    # What is here now is every child's; the collector leaves it alone, so the pages stay shared.
    gc.collect()
    gc.freeze()
    gc.enable()
    host.serve()


def _refuse_open_directory(parser: argparse.ArgumentParser, directory: Path) -> None:
    mode = directory.stat().st_mode if directory.is_dir() else 0
    if not stat.S_ISDIR(mode) or mode & 0o077:
        parser.error(f"{directory} must be a directory that only its owner may enter")


if __name__ == "__main__":
    main()
