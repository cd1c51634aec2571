"""The OpenAPI document tells who may call, how each operation refuses, and no secret."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from control_plane.access.caller import Require
from control_plane.main import create_app
from control_plane.routes import list_operations
from datanika_manifest.connectors.registry import CONNECTORS

REFUSALS = (400, 401, 403, 404, 409, 412, 413, 422, 423, 429, 502, 503)
SECRET_NAME = re.compile(r"password|secret|token|captcha|^key$|^code$", re.IGNORECASE)
# Names that sound like secrets and are none, each with what it is.
NO_SECRETS = {
    "Tokens.token_type": "the OAuth2 token type",
    "SignedUp.token_type": "the OAuth2 token type",
    "LoggedIn.token_type": "the OAuth2 token type",
    "SignedInByProvider.token_type": "the OAuth2 token type",
    "Problem.code": "the stable code of an error",
    "ConnectionTestResult.code": "why a connection does not work",
    "ConnectionView.secrets_set": "the names of the stored secrets",
    "RunStep.key": "the name of a step",
}


@pytest.fixture(scope="module")
def document(make_settings) -> dict[str, Any]:
    return create_app(make_settings(api_key_header="X-Own-Key")).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def names_of(schema: Any) -> Iterator[str]:
    """Returns the components that a schema refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from names_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from names_of(value)


def taken(document: dict[str, Any]) -> set[str]:
    """Returns the names of the schemas that requests are made of."""
    found: set[str] = set()
    open_names = {
        name for _, one in operations(document) for name in names_of(one.get("requestBody", {}))
    }
    while open_names:
        name = open_names.pop()
        found.add(name)
        open_names |= set(names_of(document["components"]["schemas"][name])) - found
    return found


def fields(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, schema in document["components"]["schemas"].items():
        for field, declared in schema.get("properties", {}).items():
            yield name, field, declared


def is_write_only(declared: dict[str, Any]) -> bool:
    variants = [v for v in declared.get("anyOf", [declared]) if v.get("type") != "null"]
    return all(v.get("format") == "password" and v.get("writeOnly") for v in variants)


def shown_secrets(document: dict[str, Any]) -> list[str]:
    """Returns the secret fields of requests that are not declared as secrets."""
    requests = taken(document)
    return [
        f"{name}.{field}"
        for name, field, declared in fields(document)
        if name in requests
        and SECRET_NAME.search(field)
        and f"{name}.{field}" not in NO_SECRETS
        and not is_write_only(declared)
    ]


def values_of_secrets(document: dict[str, Any]) -> list[str]:
    """Returns the fields with a secret's name for which the document has a value."""
    return [
        f"{name}.{field}"
        for name, field, declared in fields(document)
        if SECRET_NAME.search(field)
        and f"{name}.{field}" not in NO_SECRETS
        and any(declared.get(word) not in (None, "") for word in ("default", "example", "examples"))
    ]


def test_every_operation_declares_every_refusal(document):
    for name, operation in operations(document):
        for status in REFUSALS:
            response = operation["responses"].get(str(status), {})
            assert response == {"$ref": f"#/components/responses/Problem{status}"}, (name, status)
    for response in document["components"]["responses"].values():
        assert list(response["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in str(document)


def test_references_lead_somewhere(document):
    known = document["components"]["schemas"].keys() | document["components"]["responses"].keys()
    assert set(names_of(document)) <= known


def test_credentials_are_those_of_the_gate(document):
    described = dict(operations(document))
    for operation in list_operations():
        if operation.in_schema:
            schemes = [next(iter(one)) for one in described[operation.name]["security"]]
            is_org = isinstance(operation.gate, Require)
            expected = ["AccessToken", "ApiKey"] if is_org else ["AccessToken"]
            assert schemes == (expected if operation.gate else []), operation.name
    assert document["components"]["securitySchemes"]["ApiKey"]["name"] == "X-Own-Key"


def test_secrets_are_taken_as_secrets(document):
    assert shown_secrets(document) == []


def test_no_secret_has_an_example_or_a_default(document):
    assert values_of_secrets(document) == []
    for declaration in CONNECTORS.values():
        schema = declaration.config.model_json_schema()["properties"]
        for field in declaration.secret_fields():
            assert is_write_only(schema[field]), (declaration.kind, field)
            assert not {"example", "examples"} & schema[field].keys()
            assert schema[field].get("default") is None, (declaration.kind, field)


def test_requests_take_nothing_that_they_do_not_name(document):
    schemas = document["components"]["schemas"]
    objects = {name for name in taken(document) if "properties" in schemas[name]}
    lax = {name for name in objects if schemas[name].get("additionalProperties") is not False}
    assert lax == set()


def test_settings_that_sound_secret_are_secret_in_every_connector():
    for declaration in CONNECTORS.values():
        for field in declaration.config.model_fields:
            if SECRET_NAME.search(field):
                assert field in declaration.secret_fields(), (declaration.kind, field)


class TestTheseTestsCanFail:
    def test_a_secret_that_is_shown_is_found(self, make_settings):
        app = create_app(make_settings())

        class Shown(BaseModel):
            password: str
            token: SecretStr
            refresh_token: SecretStr | None = SecretStr("hunter2")

        @app.post("/shown")
        def shown(body: Shown) -> None:
            pass

        document = app.openapi()
        assert shown_secrets(document) == ["Shown.password"]
        assert values_of_secrets(document) == ["Shown.refresh_token"]

    def test_exceptions_exist(self, document):
        known = {f"{name}.{field}" for name, field, _ in fields(document)}
        assert NO_SECRETS.keys() <= known
