"""Each connector is a declaration here and an engine in the execution plane, by the same name."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import Field, SecretStr

import datanika_dagster.connectors
import datanika_manifest.connectors
from datanika_dagster.connectors.registry import ENGINES
from datanika_manifest.connectors.base import ConnectorConfig
from datanika_manifest.connectors.registry import CONNECTORS

SECRET_WORDS = ("password", "secret", "token", "private_key", "passphrase", "api_key")


def files_of(package, attribute):
    """Returns the modules of `package` that have `attribute`: the connectors among them."""
    names = (path.stem for path in Path(package.__file__).parent.glob("*.py"))
    modules = {name: import_module(f"{package.__name__}.{name}") for name in names}
    return {name for name, module in modules.items() if hasattr(module, attribute)}


def open_secrets(config):
    """Returns the settings whose name says secret and whose type does not."""
    return [
        name
        for name, field in config.model_fields.items()
        if any(word in name for word in SECRET_WORDS)
        and field.annotation not in (SecretStr, SecretStr | None)
    ]


def secrets_with_a_default(declaration):
    """Returns the secret settings that need not be given, and are not declared as such."""
    fields = declaration.config.model_fields
    required = declaration.secret_fields() - declaration.optional_secrets.keys()
    return [name for name in required if not fields[name].is_required()]


def test_declarations_and_engines_are_twins():
    declared = files_of(datanika_manifest.connectors, "DECLARATION")
    assert declared == files_of(datanika_dagster.connectors, "ENGINE")
    assert declared == set(CONNECTORS) == set(ENGINES)


@pytest.mark.parametrize("kind", CONNECTORS)
class TestEach:
    def test_is_called_by_its_kind_everywhere(self, kind):
        assert CONNECTORS[kind].kind == ENGINES[kind].kind == kind

    def test_every_secret_is_kept_as_one(self, kind):
        assert open_secrets(CONNECTORS[kind].config) == []

    def test_no_secret_has_a_default(self, kind):
        assert secrets_with_a_default(CONNECTORS[kind]) == []

    def test_an_optional_secret_is_nothing_when_it_is_not_given(self, kind):
        """Nothing else can fill it, and a setting that can be read says whether it is there."""
        declaration = CONNECTORS[kind]
        fields = declaration.config.model_fields
        for secret, sign in declaration.optional_secrets.items():
            assert fields[secret].default is None
            assert fields[sign].default is None
            assert sign not in declaration.secret_fields()
            assert secret in declaration.secrets_stored_with({sign: "x"})
            assert secret not in declaration.secrets_stored_with({})

    def test_every_setting_says_what_it_is(self, kind):
        fields = CONNECTORS[kind].config.model_fields
        assert [name for name, field in fields.items() if not field.description] == []

    def test_the_settings_that_secrets_follow_exist(self, kind):
        fields = CONNECTORS[kind].config.model_fields
        assert fields.keys() >= CONNECTORS[kind].secrets_follow

    def test_unknown_settings_are_refused_without_showing_them(self, kind):
        with pytest.raises(ValueError, match="Extra inputs") as caught:
            CONNECTORS[kind].config.model_validate({"canary": "canary-value"})
        assert "canary-value" not in str(caught.value)


def test_these_tests_can_fail():
    class Careless(ConnectorConfig):
        password: str
        token: SecretStr = Field(default=SecretStr("x"))

    assert open_secrets(Careless) == ["password"]
    careless = SimpleNamespace(
        config=Careless, secret_fields=lambda: {"token"}, optional_secrets={}
    )
    assert secrets_with_a_default(careless) == ["token"]
