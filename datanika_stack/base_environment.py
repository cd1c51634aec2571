"""What every process of the stack is started with: the interpreter and the bare environment."""

import sys
from pathlib import Path
from typing import Final

from datanika_stack.settings import InheritedEnvironment

# -P: the working directory is no place to import from.
PYTHON: Final = (sys.executable, "-P", "-m")


def base_environment() -> dict[str, str]:
    """Returns the variables that every process gets; no secret is among them."""
    inherited = InheritedEnvironment()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{inherited.path}",
        "LANG": inherited.lang,
        "HOME": inherited.home,
        "PYTHONUNBUFFERED": "1",
    }
    return environment | ({"TMPDIR": inherited.tmpdir} if inherited.tmpdir else {})
