"""Progress, where no terminal is."""

import io

import pytest
from rich.console import Console

from datanika_stack.demo.display import Display


def test_lines_where_no_terminal_is():
    output = io.StringIO()
    run = {"assets": [{"name": "planes", "kind": "table", "rows": 3322, "duration_seconds": 0.5}]}
    with Display(Console(file=output)) as display:
        with display.phase("a", "First phase"):
            display.note("a", "not for a file")
            display.run_ended(run)
            display.run_ended(run)
        with pytest.raises(ValueError, match="no"), display.phase("b", "Second phase"):
            raise ValueError("no")
    assert output.getvalue().splitlines() == [
        "  table planes  3,322 rows  0.5 s",
        f"First phase  {display.seconds['a']:.1f} s"
        if display.seconds["a"] >= 0.05
        else "First phase",
        "Second phase: failed",
    ]
    assert list(display.seconds) == ["a"]


def test_live_on_a_terminal():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    with Display(console) as display, display.phase("a", "First phase"):
        pass
    assert "First phase" in output.getvalue()


def test_what_a_phase_is_doing_on_a_terminal():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120)
    with Display(console) as display, display.phase("run", "Running"):
        display.note("run", "public.planes [1] started\nmore")
        display.note("unknown", "x")
        display._progress.refresh()
    assert "public.planes [1] started" in output.getvalue()
    assert "more" not in output.getvalue()
