"""Asks whether anything in the lock files has a known vulnerability: `make audit`.

pip-audit ends with 0 also where the advisory service knows nothing of a package or is not reached for
it; here that is a failure of its own, so that silence never passes for safety.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 2
TIMEOUT_SECONDS = "15"
NO_SERVICE = (
    "NOT AUDITED: the advisory service could not be asked about {}. Nothing is known of their safety; "
    "docs/operations.md says what to do in a closed network."
)


def main(locks: Sequence[str]) -> int:
    """Audits each lock file and returns the worst outcome.

    Args:
        locks: Paths of requirements with hashes.
    """
    return max(_audit(lock) for lock in locks)


def _audit(lock: str) -> int:
    options = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")
    done = subprocess.run(  # noqa: S603 - a fixed command
        [sys.executable, "-m", "pip_audit", *options, "--timeout", TIMEOUT_SECONDS, "-r", lock],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        reason = done.stderr.strip().splitlines()[-1:] or ["pip-audit said nothing"]
        report = {"dependencies": [], "reason": reason[0]}
    outcome, lines = verdict(report)
    sys.stdout.write("".join(f"{lock}: {line}\n" for line in lines))
    return outcome


def verdict(report: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Returns what pip-audit's report means, and what to say of it.

    Args:
        report: Its JSON, https://pypi.org/project/pip-audit/.
    """
    dependencies = report["dependencies"]
    found = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for one in dependencies
        for vulnerability in one.get("vulns", ())
    ]
    unknown = sorted(one["name"] for one in dependencies if "skip_reason" in one)
    if found:
        return VULNERABLE, found
    if not dependencies:
        reason = report.get("reason", "no dependency was found")
        return NOT_AUDITED, [NO_SERVICE.format(f"any package ({reason})")]
    if unknown:
        some = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        return NOT_AUDITED, [NO_SERVICE.format(f"{len(unknown)} packages ({some})")]
    return CLEAN, [f"no known vulnerability in {len(dependencies)} packages"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
