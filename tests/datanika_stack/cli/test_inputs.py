"""Files, standard input and secrets of the command line."""

import io

import pytest

from datanika_stack.cli.inputs import (
    UsageError,
    merge,
    parse_reference,
    parse_settings,
    read_object,
    read_secret,
)


class TestReadObject:
    def test_file(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text('{"a": 1}')
        assert read_object(str(path)) == {"a": 1}

    def test_standard_input(self, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))
        assert read_object("-") == {"a": 1}

    def test_without_a_file(self):
        assert read_object(None) == {}

    def test_broken_json_is_not_shown(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text('{"password": "canary"')
        with pytest.raises(UsageError) as caught:
            read_object(str(path))
        assert "line 1" in str(caught.value)
        assert "canary" not in str(caught.value)

    @pytest.mark.parametrize("text", ["[1]", '"x"', "1"])
    def test_other_json(self, tmp_path, text):
        path = tmp_path / "a.json"
        path.write_text(text)
        with pytest.raises(UsageError, match="must hold a JSON object"):
            read_object(str(path))

    def test_missing_file(self):
        with pytest.raises(UsageError, match=r"Cannot read nowhere\.json"):
            read_object("nowhere.json")


class TestParseSettings:
    def test_values_may_be_json(self):
        settings = ["port=5432", "host=db.example", "name=a=b"]
        assert parse_settings(settings, secret_names=frozenset()) == {
            "port": 5432,
            "host": "db.example",
            "name": "a=b",
        }

    def test_a_secret_is_refused_and_not_shown(self):
        with pytest.raises(UsageError, match="--password-stdin") as caught:
            parse_settings(["password=canary"], secret_names=frozenset({"password"}))
        assert "canary" not in str(caught.value)

    def test_no_value(self):
        with pytest.raises(UsageError, match="NAME=VALUE"):
            parse_settings(["port"], secret_names=frozenset())


class TestReadSecret:
    def test_first_line_of_standard_input(self, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO("pass word\nmore"))
        assert read_secret("Password", from_stdin=True) == "pass word"

    def test_nobody_to_ask(self, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        with pytest.raises(UsageError, match="use --password-stdin"):
            read_secret("Password", from_stdin=False)
        with pytest.raises(UsageError, match="use --token-stdin"):
            read_secret("Token", from_stdin=False, option="--token-stdin")

    def test_empty(self, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
        with pytest.raises(UsageError, match="is empty"):
            read_secret("Password", from_stdin=True)


class TestParseReference:
    def test_kind_and_name(self):
        assert parse_reference("upload:a:b", ("upload",)) == ("upload", "a:b")

    @pytest.mark.parametrize("text", ["upload", "upload:", "table:x", ""])
    def test_other_forms(self, text):
        with pytest.raises(UsageError, match="upload:NAME or transformation:NAME"):
            parse_reference(text, ("upload", "transformation"))


def test_merge_takes_what_was_given():
    assert merge({"a": 1, "b": 2}, b=None, c=[], d=False, a=3) == {"a": 3, "b": 2, "d": False}
