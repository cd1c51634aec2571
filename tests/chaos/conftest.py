"""What takes minutes here runs on demand; `make chaos` does not need pytest."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips the tests of this directory unless they were asked for."""
    if config.getoption("--chaos"):
        return
    skip = pytest.mark.skip(reason="minutes: pytest --chaos, or make test-long")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)
