"""`python -m tests.chaos --seed N`: every part of a stack is killed five times; exits with 1 if it shows."""

import argparse
import contextlib
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.missed_ticks import MISSED_TICKS, play_missed_ticks
from tests.chaos.rounds import Round, play
from tests.chaos.site import Site
from tests.chaos.stacks import given_stack, own_home, running_stack
from tests.chaos.victims import VICTIMS
from tests.end_to_end.conftest import RunningStack


@contextlib.contextmanager
def _stack(options: argparse.Namespace) -> Iterator[RunningStack]:
    if options.home and options.demo:
        with given_stack(options.home, options.demo) as stack:
            yield stack
    else:
        with own_home() as home, running_stack(home, options.port) as stack:
            yield stack


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _play(site: Site, victim: str, options: argparse.Namespace) -> Round:
    # A victim's own: its round is the same without the others.
    dice = random.Random(f"{options.seed} {victim}")
    if victim == MISSED_TICKS:
        played = play_missed_ticks(site, dice, runs=options.runs)
    else:
        played = play(site, victim, dice, runs=options.runs, kills=options.kills)
    _say(
        f"{victim}: {played.kills} kills, {played.runs} runs, all back after at most"
        f" {played.back_seconds:.1f} s, wrong for at most {played.wrong_seconds:.1f} s"
        f" ({played.wrong or 'nothing'}); load {os.getloadavg()[0]:.1f}"
    )
    for finding in played.findings:
        _say(f"  WRONG: {finding}")
    return played


def _each_once(rounds: list[Round]) -> set[str]:
    """Returns the findings; what is wrong in one round is often found in those after it, too."""
    return {finding for played in rounds for finding in played.findings}


def _summarize(seed: int, began: float, rounds: list[Round]) -> None:
    minutes = (time.monotonic() - began) / 60
    _say("seed | minutes | kills | runs | longest wrong state | failures")
    _say(
        f"{seed} | {minutes:.1f} | {sum(r.kills for r in rounds)} | {sum(r.runs for r in rounds)}"
        f" | {max(r.wrong_seconds for r in rounds):.1f} s | {len(_each_once(rounds))}"
    )


def main() -> int:
    victims = [*VICTIMS, MISSED_TICKS]
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--victims", nargs="*", choices=victims, default=victims)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--port", type=int, help="Base port of a stack of its own.")
    parser.add_argument("--home", type=Path, help="A running stack instead of one of its own.")
    parser.add_argument("--demo", type=Path, help="What `datanika demo --json` printed of it.")
    options = parser.parse_args()
    began = time.monotonic()
    _say(f"seed {options.seed}")
    with _stack(options) as stack:
        site = Site(stack)
        with site.ticking():
            rounds = [_play(site, victim, options) for victim in options.victims]
    _summarize(options.seed, began, rounds)
    return 1 if any(played.findings for played in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
