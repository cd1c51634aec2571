"""Writes docs/benchmarks.md from the results: `python -m benchmarks.page > docs/benchmarks.md`."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.harness import RESULTS

INTRODUCTION = """\
# Benchmarks

```sh
make bench                 # all of them
make bench ARGS=--quick    # in three minutes
.venv/bin/python -m benchmarks first_light
.venv/bin/python -m benchmarks.page > docs/benchmarks.md
```

Each prints a table and writes `benchmarks/results/<name>.json`. Variants are measured in interleaved
rounds on the same machine; nothing is compared with a stored number.
"""


def render(results: dict[str, dict[str, Any]]) -> str:
    """Returns the page for results by benchmark."""
    sections = [line for name in sorted(results) for line in _section(name, results[name])]
    return "\n".join([INTRODUCTION, *sections])


def _section(name: str, result: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"{result['machine']}; load average {result['load_average']:g} at the start.\n"
    yield "| Measure | Median | Target | Kept |"
    yield "|---|---:|---:|---|"
    for measure in result["measures"]:
        target = "" if measure["target"] is None else f"{measure['target']:g} {measure['unit']}"
        kept = "" if not target else "yes" if measure["ok"] else "**no**"
        yield f"| {measure['name']} | {measure['value']:g} {measure['unit']} | {target} | {kept} |"
    yield ""


def main() -> None:
    """Prints the page."""
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    print(render(results))


if __name__ == "__main__":
    main()
