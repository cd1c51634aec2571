"""Generated dbt projects: which files, under which name, in which directory.

A project is named by the SHA-256 over all its files, among them the version of dbt that parses
it, and never changes once it has its name. It holds no secret and nothing of the connection's
settings: those come through environment variables of the job that runs it.
"""

import hashlib
import importlib.metadata
import shutil
import tempfile
from pathlib import Path

import yaml

from datanika_dagster.transformations import hygiene, properties, warehouse
from datanika_dagster.transformations.errors import ProjectMissingError, TransformationError
from datanika_manifest.names import AssetKey, slugify
from datanika_manifest.transformations import ModelSource, ProjectSource

PROJECT_NAME = "datanika"
PROFILE_NAME = "datanika"
PARSED = "parsed"
"""The folder for what dbt made of the project; not part of what names it."""

PARTIAL_PARSE_FILE = "partial_parse.msgpack"
"""In `parsed`: dbt's own serialised manifest, from which builds start without parsing."""

VERSIONS_FILE = "dbt-versions.txt"

# Used as given: dbt's own macro would put the profile's schema in front.
_SCHEMA_NAME_MACRO = """\
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name if custom_schema_name is not none else target.schema }}
{%- endmacro %}
"""

# dbt's own macro looks the table up; a project that is parsed has no database to look in.
_IS_INCREMENTAL_MACRO = """\
{% macro is_incremental() %}
    {{ return(dbt.is_incremental() if flags.INTROSPECT else false) }}
{% endmacro %}
"""


def directory(projects_dir: Path, org_id: int, connection: str, sha256: str) -> Path:
    """Returns where the project of that name lives, whether it exists or not."""
    return projects_dir / f"tenant_{org_id}" / connection / sha256


def existing(projects_dir: Path, org_id: int, connection: str, sha256: str) -> Path:
    """Returns the project's directory.

    Raises:
        ProjectMissingError: It is not on this machine.
    """
    path = directory(projects_dir, org_id, connection, sha256)
    if not path.is_dir():
        raise ProjectMissingError(
            f"The dbt project {sha256[:12]} of connection '{connection}' is not on this machine; "
            "publish again, or share DBT_PROJECTS_DIR between machines."
        )
    return path


def asset_key(source: ProjectSource, model: ModelSource) -> AssetKey:
    """Returns the key of the model's asset."""
    return (source.org, source.connection, model.schema_name, slugify(model.name))


def render(source: ProjectSource) -> dict[str, str]:
    """Returns the project's files: relative path → text.

    Raises:
        TransformationError: A model, a name or a test is not allowed; the message names it.
    """
    _check_models(source)
    files = {
        "dbt_project.yml": _project_yml(),
        "profiles.yml": warehouse.profiles_yml(PROFILE_NAME, source.connector),
        "macros/generate_schema_name.sql": _SCHEMA_NAME_MACRO,
        "macros/is_incremental.sql": _IS_INCREMENTAL_MACRO,
        "models/schema.yml": properties.schema_yml(source),
        "models/sources.yml": properties.sources_yml(source.sources),
        VERSIONS_FILE: dbt_versions(),
    }
    for model in source.models:
        files[f"models/{model.schema_name}/{model.name}.sql"] = _model_file(model)
    return files


def sha256_of(files: dict[str, str]) -> str:
    """Returns the name of a project of these files."""
    digest = hashlib.sha256()
    for path, text in sorted(files.items()):
        content = text.encode()
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def dbt_versions() -> str:
    """Returns the versions that shape a parsed project: another one is another project."""
    packages = ("dbt-core", "dbt-adapters", "dbt-postgres")
    return "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in packages)


def stage(files: dict[str, str], target: Path) -> Path:
    """Writes the files to a new private directory beside `target`, for `publish` to rename.

    Returns:
        The directory; the caller publishes or removes it.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    for name, text in files.items():
        path = staged / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8", newline="")
    return staged


def publish(staged: Path, target: Path) -> None:
    """Gives a staged project its name, in one step.

    Where another writer was faster its directory stays: the same name has the same content.
    """
    try:
        staged.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(staged)


def _check_models(source: ProjectSource) -> None:
    by_name: dict[str, str] = {}
    for model in source.models:
        hygiene.check_name(model.name)
        hygiene.check_sql(model.name, model.sql)
        # The slug also ignores case: files collide on macOS, tables for people.
        other = by_name.setdefault(slugify(model.name), model.name)
        if other != model.name or sum(m.name == model.name for m in source.models) > 1:
            raise TransformationError(
                f"Two models are called '{other}' and '{model.name}'; names on one connection "
                "differ in more than case and punctuation.",
                field=model.name,
            )


def _model_file(model: ModelSource) -> str:
    # On the author's first line, so that line numbers in messages are the author's.
    header = (
        "{{ config("
        f"materialized='{model.materialization.value}', schema='{model.schema_name}'"
        ") }}"
    )
    return header + model.sql


def _project_yml() -> str:
    """Returns `dbt_project.yml`; every path in it is fixed by the platform."""
    return yaml.safe_dump(
        {
            "name": PROJECT_NAME,
            "version": "1.0.0",
            "config-version": 2,
            "profile": PROFILE_NAME,
            "model-paths": ["models"],
            "macro-paths": ["macros"],
            "analysis-paths": [],
            "asset-paths": [],
            "docs-paths": [],
            "seed-paths": [],
            "snapshot-paths": [],
            "test-paths": [],
            "flags": {"send_anonymous_usage_stats": False},
        },
        sort_keys=False,
    )
