"""`python -m tests.chaos --seed N`: every part of a stack is killed five times; exits with 1 if it shows."""

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.rounds import play
from tests.chaos.site import Site
from tests.chaos.victims import VICTIMS
from tests.end_to_end.conftest import RunningStack, datanika
from tests.fixtures.ports import free_base_port


@contextlib.contextmanager
def running_stack() -> Iterator[RunningStack]:
    home = Path(tempfile.mkdtemp(prefix="dnc", dir="/tmp"))
    home.chmod(0o755)
    port = free_base_port()
    command = ["demo", "--home", str(home), "--port", str(port), "--json", "--exit", "--keep"]
    try:
        answer = datanika(*command)
        assert answer.returncode == 0, answer.stderr + answer.stdout
        with contextlib.ExitStack() as clients:
            yield RunningStack(home, port, json.loads(answer.stdout), clients)
    finally:
        datanika("down", "--home", str(home))
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def given_stack(home: Path, demo: Path) -> Iterator[RunningStack]:
    printed = json.loads(demo.read_text())
    port = int(printed["api_url"].rsplit(":", 1)[1])
    with contextlib.ExitStack() as clients:
        yield RunningStack(home, port, printed, clients)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _play(site: Site, victim: str, dice: random.Random, options: argparse.Namespace) -> int:
    if victim != "worker" and VICTIMS[victim](site) is None:
        _say(f"{victim}: no such process in this stack")
        return 0
    played = play(site, victim, dice, runs=options.runs, kills=options.kills)
    _say(
        f"{victim}: {played.kills} kills, right after {played.right_seconds:.1f} s, "
        f"ended after {played.end_seconds:.1f} s"
    )
    for finding in played.findings:
        _say(f"  WRONG: {finding}")
    return len(played.findings)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--victims", nargs="*", choices=list(VICTIMS), default=list(VICTIMS))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--home", type=Path, help="A running stack instead of one of its own.")
    parser.add_argument("--demo", type=Path, help="What `datanika demo --json` printed of it.")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    _say(f"seed {options.seed}")
    given = options.home and options.demo
    with given_stack(options.home, options.demo) if given else running_stack() as stack:
        site = Site(stack)
        with site.ticking():
            wrong = sum(_play(site, victim, dice, options) for victim in options.victims)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
