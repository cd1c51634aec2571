"""Colours of what people read."""

import io

import pytest
from rich.console import Console

from datanika_stack.cli import run
from datanika_stack.cli.output import styled

RED, YELLOW = "\x1b[31m", "\x1b[33m"


def line(level):
    return {"timestamp": "2026-01-01T00:00:00Z", "level": level, "step": None, "message": "m"}


@pytest.fixture
def terminal(monkeypatch):
    """What is written to the console, with its colours."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="standard", width=200)
    monkeypatch.setattr(run, "console", console)
    return written


@pytest.mark.parametrize(
    ("level", "colour"), [("error", RED), ("critical", RED), ("warning", YELLOW)]
)
def test_a_logs_levels_have_their_colours(terminal, level, colour):
    run._print_lines(iter([line(level)]))
    assert f"{colour}{level}" in terminal.getvalue()


def test_other_levels_have_none(terminal):
    run._print_lines(iter([line("info")]))
    assert RED not in terminal.getvalue()
    assert styled("info").style == ""
