"""The README's journey works when it is pasted: its shell blocks, run one after the other."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, Org, RunningStack

TITLE = "The same by hand"
TIMEOUT_SECONDS = 240


def blocks() -> list[str]:
    """Returns the shell blocks of the journey; the first starts the stack, the last stops it."""
    text = (ROOT / "README.md").read_text().partition(f"## {TITLE}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


def test_the_journey_begins_and_ends_with_the_stack():
    first, *rest, last = blocks()
    assert "demo=$(datanika demo --json --exit --keep)" in first
    assert last == "datanika down\n"
    assert len(rest) == 3


@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="needs jq and curl")
def test_the_journey_works_when_pasted(stack: RunningStack, acme: Org, tmp_path: Path):
    before = {run["id"] for run in acme.get("runs")["data"]}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks()[1:-1])],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "DATANIKA_HOME": str(stack.home),
            "demo": json.dumps(stack.demo),
        },
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = [run for run in acme.get("runs")["data"] if run["id"] not in before]
    assert sorted((run["trigger"], run["status"]) for run in made) == [
        ("api", "success"),
        ("api", "success"),
        ("shell", "success"),
    ]
