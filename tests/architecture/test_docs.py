"""The documentation names what exists, and everything that exists is documented."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from pydantic import AliasChoices
from pydantic_settings import BaseSettings
from typer.main import get_command

import control_plane
from control_plane import permissions_reference
from control_plane.core.errors import DatanikaError
from control_plane.routes import list_operations
from control_plane.uploads.config import UploadConfig, UploadMode
from datanika_manifest.connectors.registry import CONNECTORS
from datanika_manifest.uploads import FilterOperator, SchemaContract, WriteDisposition
from datanika_stack.cli.main import app
from datanika_stack.cli.reference import render, walk

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SETTINGS_MODULES = (
    "control_plane.settings",
    "datanika_dagster.settings",
    "datanika_stack.settings",
)
# What every process of a machine has, and what the stack hands to processes that it starts.
NOT_FOR_USERS = {"PATH", "LANG", "HOME", "TMPDIR", "XDG_RUNTIME_DIR"}
# Pages under docs/ also name files by their place in a package, and directories of a running stack.
PACKAGES = ("control_plane", "datanika_dagster", "datanika_manifest", "datanika_stack")
FILE_ENDINGS = (".py", ".md", ".sql", ".sh", ".toml", ".yml")
SECOND_NAMES = {"DATANIKA_DBT_PROJECTS_DIR", "DATANIKA_API_KEY_HEADER"}


def missing(names, text):
    """Returns the names that `text` does not have as whole words."""
    return sorted(n for n in names if not re.search(rf"(?<![\w.]){re.escape(n)}(?![\w])", text))


def paths_in(text):
    """Returns what looks like a path of this repository: link targets and code with a slash."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    code = re.findall(r"`([\w.]+/[\w./-]*|\.env\.example|[\w.-]+\.(?:toml|yml|lock))`", text)
    return {p for p in [*links, *code] if not p.startswith((".venv", ".datanika"))}


def shell_lines(text):
    """Returns the commands of the shell blocks, continuation lines joined, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.split(" #")[0].strip() for line in joined.splitlines() if line.strip()]


def unknown_commands(text):
    """Returns the `datanika …` commands in shell blocks that the program does not have."""
    known = {path for path, _ in walk(get_command(app), "datanika")}
    used = [m for line in shell_lines(text) for m in re.findall(r"datanika(?: [a-z-]+)+", line)]
    return [u for u in used if not any(f"{u} ".startswith(f"{path} ") for path in known)]


def environment_names():
    """Returns every variable that a settings module reads."""
    names = set()
    for module_name in SETTINGS_MODULES:
        module = importlib.import_module(module_name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, BaseSettings) and kind.__module__ == module_name:
                names |= settings_of(kind)
    return names - NOT_FOR_USERS - SECOND_NAMES


def settings_of(kind):
    prefix = kind.model_config.get("env_prefix", "")
    names = set()
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            names |= {str(choice) for choice in alias.choices}
        else:
            names.add(str(alias) if alias else f"{prefix}{name}".upper())
    return names


def error_codes():
    for module in pkgutil.walk_packages(control_plane.__path__, "control_plane."):
        importlib.import_module(module.name)
    kinds, codes = [DatanikaError], set()
    while kinds:
        kind = kinds.pop()
        codes.add(kind.code)
        kinds += kind.__subclasses__()
    return codes


def execution_codes():
    """Returns the codes that jobs, tasks and runs give as their reason: `<what>.<reason>`."""
    kinds = "connection|upload|transformation|preview|sample|task|job|run|execution|control_plane"
    text = "".join(path.read_text() for path in (ROOT / "datanika_dagster").rglob("*.py"))
    return set(
        re.findall(
            rf'(?:code = |JobError\(|__init__\(|error\(|"code": |[(,]\s+)"((?:{kinds})\.[a-z_]+)"',
            text,
        )
    )


def gateway_codes():
    """Returns the codes that the gateway itself answers with, and those of its errors."""
    text = "".join(p.read_text() for p in (ROOT / "datanika_dagster" / "gateway").glob("*.py"))
    return set(re.findall(r'HTTPStatus\.[A-Z_]+,\s+"([a-z_.]+)"', text))


def http_codes():
    """Returns the codes of what the web framework refuses before any of our code is asked."""
    text = (ROOT / "control_plane" / "core" / "problems.py").read_text()
    return set(re.findall(r'(?:\d{3}: |code=|, )"([a-z_]+)"[},)]', text))


def rows_of(text):
    """Returns the code words in the first cell of each row of the tables."""
    first_cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return [word for cell in first_cells for word in re.findall(r"`([^`]+)`", cell)]


def twice(names):
    return sorted({name for name in names if names.count(name) > 1})


def section(text, title):
    """Returns a section's text: from its heading to the next of the same level."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def settings_table(declaration):
    """Returns a connector's settings as the page shows them."""
    for name, field in declaration.config.model_fields.items():
        secret = "yes" if name in declaration.secret_fields() else ""
        default = "" if field.is_required() else f"`{field.default}`"
        cells = [f"`{name}`", secret, default, field.description]
        yield "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
}


@pytest.mark.parametrize("page", PAGES)
class TestNamedThingsExist:
    def test_paths(self, page):
        found, places = sorted(paths_in(PAGES[page])), [ROOT]
        if page.startswith("docs/"):
            found = [path for path in found if path.endswith(FILE_ENDINGS)]
            places += [(ROOT / page).parent, *(ROOT / package for package in PACKAGES)]
        assert [p for p in found if not any((place / p).exists() for place in places)] == []

    def test_make_targets(self, page):
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        lines = [line for line in shell_lines(PAGES[page]) if line.startswith("make ")]
        used = {word for line in lines for word in re.findall(r"(?<= )[a-z-]+(?= |$)", line)}
        assert used - targets == set()

    def test_commands(self, page):
        assert unknown_commands(PAGES[page]) == []


class TestEverythingIsDocumented:
    def test_cli_page_is_what_the_command_says(self):
        written = (DOCS / "cli.md").read_text()
        assert written == render(app), "run: python -m datanika_stack.cli.reference > docs/cli.md"

    def test_permissions_page_is_what_the_routes_ask_for(self):
        written = (DOCS / "permissions.md").read_text()
        assert written == permissions_reference.render(list_operations()), (
            "run: python -m control_plane.permissions_reference > docs/permissions.md"
        )

    def test_connectors(self):
        assert missing(CONNECTORS, (DOCS / "connectors.md").read_text()) == []

    @pytest.mark.parametrize("kind", CONNECTORS)
    def test_settings_of_connectors(self, kind):
        text = section((DOCS / "connectors.md").read_text(), kind)
        rows = [r for r in text.splitlines() if re.match(r"\| `[a-z_]+` \|", r)]
        assert [r for r in rows if "`connection." not in r] == [*settings_table(CONNECTORS[kind])]

    def test_config_of_uploads(self):
        text = section((DOCS / "api.md").read_text(), "An upload's `config`")
        assert rows_of(text) == list(UploadConfig.model_fields)
        words = {*UploadMode, *WriteDisposition, *FilterOperator, *SchemaContract.model_fields}
        assert missing(words, text) == []

    def test_settings_in_install(self):
        assert missing(environment_names(), (DOCS / "install.md").read_text()) == []

    def test_settings_in_env_example(self):
        only_for_commands = {"DATANIKA_API_KEY", "DATANIKA_ORG"}
        text = (ROOT / ".env.example").read_text()
        assert missing(environment_names() - only_for_commands, text) == []

    def test_error_codes(self):
        assert missing(error_codes() | http_codes(), (DOCS / "errors.md").read_text()) == []

    def test_codes_of_the_gateway(self):
        assert missing(gateway_codes(), (DOCS / "errors.md").read_text()) == []

    def test_no_code_twice(self):
        assert twice(rows_of((DOCS / "errors.md").read_text())) == []

    def test_codes_of_runs_and_tasks(self):
        assert missing(execution_codes(), (DOCS / "errors.md").read_text()) == []


class TestTheseTestsCanFail:
    def test_missing(self):
        assert missing({"DATANIKA_HOME", "HOME"}, "`DATANIKA_HOME_2` and DATANIKA_HOME.") == [
            "HOME"
        ]

    def test_paths(self):
        assert paths_in("[a](docs/no.md) `control_plane/no.py` `.venv/x` <http://a/b>") == {
            "docs/no.md",
            "control_plane/no.py",
        }

    def test_commands(self):
        text = "```sh\ndatanika fly away\ndatanika run launch --follow\n```"
        assert unknown_commands(text) == ["datanika fly away"]

    def test_rows(self):
        assert twice(rows_of("| `a`, `b` | x |\n| `a` | y |\n| plain | `b` |\n")) == ["a"]

    def test_sections(self):
        assert section("\n## a\nx\n## b\ny", "a") == "x"

    def test_settings_are_found(self):
        assert {"DATANIKA_HOME", "DBT_PROJECTS_DIR", "DATANIKA_SECRET_KEY"} <= environment_names()

    def test_codes_are_found(self):
        assert {"not_found", "sealed"} <= error_codes()
        assert http_codes() >= {"method_not_allowed", "bad_request", "internal"}
        assert gateway_codes() >= {"session.missing", "graphql.media_type", "request.origin"}
        assert {"connection.auth", "upload.busy", "job.failed"} <= execution_codes()
