"""Runs `datanika …` on a terminal of its own: there it asks, and passwords are read without echo."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

# A process of its own, because the terminal has to be the one that controls the command.
_ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Conversation:
    """What was on the screen, and how the command ended."""

    exit_code: int
    screen: str


def converse(
    environment: dict[str, str], arguments: Sequence[str], answers: Sequence[tuple[str, str]]
) -> Conversation:
    """Runs the command and types an answer behind each of the prompts, in their order."""
    command = [sys.executable, "-m", "datanika_stack.cli.main", *arguments]
    with subprocess.Popen(
        [sys.executable, "-c", _ON_A_TERMINAL, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | environment,
    ) as process:
        try:
            return _talk(process, list(answers))
        finally:
            process.kill()


def _talk(process: subprocess.Popen[bytes], answers: list[tuple[str, str]]) -> Conversation:
    assert process.stdin
    assert process.stdout
    screen, seen = "", 0
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        content = os.read(process.stdout.fileno(), 4096)
        if not content:
            assert not answers, f"nobody asked for {answers[0][0]!r}: {screen}"
            return Conversation(process.wait(_TIMEOUT_SECONDS), screen)
        screen += content.decode()
        if answers and answers[0][0] in screen[seen:]:
            seen = len(screen)
            process.stdin.write(f"{answers.pop(0)[1]}\n".encode())
            process.stdin.flush()
    raise AssertionError(f"the command waits for something else: {screen}")
