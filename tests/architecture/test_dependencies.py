"""What is installed is what was locked: pinned, hashed, from the configured index; and it is audited."""

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
HOST = re.compile(r"https?://|--(extra-)?index-url|--find-links|--trusted-host|git\+|file:")
# Licences that let the product be used and passed on in any way that its own licence does.
DUAL = {"text-unidecode"}  # the Artistic License, as its users choose
COPYLEFT = re.compile(r"\b(AGPL|GPL)", re.IGNORECASE)


def audit_module():
    path = ROOT / "deploy" / "audit_dependencies.py"
    spec = importlib.util.spec_from_file_location("audit_dependencies", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requirements(lock: str) -> dict[str, str]:
    """Returns each requirement's text with its hashes, by name."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            found[re.split(r"[=<>!~\[; ]", line, maxsplit=1)[0]] = line
    return found


@pytest.mark.parametrize("module", ["datanika_stack.cli.main", "datanika_stack.supervisor"])
def test_a_command_does_not_pay_for_engines(module: str):
    """Each import of Dagster takes a second of processor time, and `up` starts two such processes."""
    heavy = "'dagster', 'dlt', 'dbt', 'grpc', 'alembic', 'fastapi', 'uvicorn', 'duckdb', 'pandas'"
    script = f"import sys, {module}; print(*sorted({{{heavy}}} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("lock", LOCKS)
class TestLocks:
    def test_every_requirement_is_pinned_and_hashed(self, lock: str):
        found = requirements(lock)
        assert len(found) > 50
        loose = [n for n, r in found.items() if not re.match(r"[a-z0-9._-]+(\[.+\])?==[^ *]+ ", r)]
        assert loose == []
        assert [
            n for n, r in found.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", r)
        ] == []

    def test_none_names_a_place(self, lock: str):
        """The index is whoever installs decides; nothing comes from a URL, a repository, a file."""
        assert HOST.findall((ROOT / lock).read_text()) == []


def test_sources_name_no_place_either():
    for name in ("requirements.in", "requirements-dev.in", "pyproject.toml"):
        lines = [
            x for x in (ROOT / name).read_text().splitlines() if not x.lstrip().startswith("#")
        ]
        assert [line for line in lines if re.search(r"--\S*index|git\+|file:", line)] == []


def test_what_both_locks_have_is_the_same():
    runtime, development = (requirements(lock) for lock in LOCKS)
    common = runtime.keys() & development.keys()
    assert common
    assert [n for n in common if runtime[n].split()[0] != development[n].split()[0]] == []


def test_no_runtime_dependency_is_copyleft():
    """LGPL libraries that are used as such (psycopg) are; GPL and AGPL would reach the product."""
    strict = {}
    for name in requirements("requirements.lock"):
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        stated = [metadata.get("License-Expression") or "", *metadata.get_all("Classifier", [])]
        licences = " ".join(one for one in stated if "License" in one or one == stated[0])
        if COPYLEFT.search(licences.replace("LGPL", "").replace("Lesser General", "")):
            strict[name] = licences
    assert strict.keys() - DUAL == set(), strict


PACKAGE = {"name": "a", "version": "1", "vulns": []}


class TestAudit:
    @pytest.mark.parametrize(
        ("dependencies", "outcome", "said"),
        [
            ([PACKAGE], 0, "no known vulnerability in 1"),
            ([{**PACKAGE, "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}], 1, "PYSEC-1"),
            ([PACKAGE, {"name": "b", "skip_reason": "not found"}], 2, "1 packages (b)"),
            ([], 2, "NOT AUDITED"),
        ],
    )
    def test_silence_is_not_safety(self, dependencies, outcome: int, said: str):
        found, lines = audit_module().verdict({"dependencies": dependencies})
        assert found == outcome
        assert said in lines[0]

    def test_a_service_that_is_not_there_is_a_failure(self, tmp_path: Path):
        lock = tmp_path / "one.lock"
        lock.write_text(f"zipp==1.0 --hash=sha256:{'0' * 64}\n")
        proxy = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        done = subprocess.run(
            [sys.executable, ROOT / "deploy" / "audit_dependencies.py", lock],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **proxy},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stdout + done.stderr
        assert "NOT AUDITED" in done.stdout
