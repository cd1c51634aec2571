"""Declarations and engines are twins."""

from importlib import import_module
from pathlib import Path

import pytest

from datanika_dagster.connectors import registry
from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.launcher.job import JobError
from datanika_manifest.connectors.registry import CONNECTORS


def test_each_declaration_has_its_engine() -> None:
    assert set(registry.ENGINES) == set(CONNECTORS)
    for kind, engine in registry.ENGINES.items():
        assert engine.kind == kind
        module = import_module(f"datanika_dagster.connectors.{kind}")
        assert module.ENGINE is engine
        assert Path(str(module.__file__)).stem == kind


def test_an_unknown_connector_is_named_with_the_known_ones() -> None:
    with pytest.raises(JobError, match="'postgre'; known: managed_warehouse, postgres"):
        registry.endpoint({"connector": "postgre", "config": {}}, [])


def test_an_endpoint_does_not_show_its_password() -> None:
    endpoint = Endpoint("h", 1, "d", "u", "secret", reader=("r", "secret"))
    assert "secret" not in repr(endpoint)
    assert endpoint.as_reader().user == "r"


def test_a_url_escapes_every_part() -> None:
    endpoint = Endpoint("::1", 5432, "a/b?c", "u@x", "p@:/#%& ü", addresses=("::1",))
    url = endpoint.url()
    assert "u%40x:p%40%3A%2F%23%25%26%20%C3%BC@%3A%3A1:5432/a%2Fb%3Fc?" in url
