"""`deploy/bootstrap.sh`: the virtual environment, also after an interrupted set-up."""

import subprocess
import sys
from pathlib import Path

from datanika_stack.layout import PROJECT_ROOT


def bootstrap(venv: Path) -> None:
    script = PROJECT_ROOT / "deploy" / "bootstrap.sh"
    subprocess.run([script, sys.executable, venv], check=True, capture_output=True, timeout=120)


def has_pip(venv: Path) -> bool:
    command = [venv / "bin" / "python", "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_an_interrupted_set_up_is_completed_and_a_complete_one_kept(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    assert not has_pip(venv)
    bootstrap(venv)
    assert has_pip(venv)
    mark = venv / "mark"
    mark.touch()
    bootstrap(venv)
    assert mark.exists()


def test_an_interpreter_that_has_gone_is_replaced(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(tmp_path / "uninstalled")
    bootstrap(venv)
    assert has_pip(venv)
