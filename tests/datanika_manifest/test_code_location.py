"""The manifest is named by the hash of its one text, and nothing else is taken for it."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from datanika_manifest.code_location import CodeLocation, ManifestError, read, sha256_of
from tests.datanika_manifest.manifests import manifest

SHA256_OF_THE_EMPTY_MANIFEST = "dc1a4100875b4263f107b13af7d7ef1c8e4a53a174d3a5dae0a37064670ff576"


def changed(**fields):
    """Returns the text of a manifest with fields replaced, and its hash."""
    text = json.dumps(json.loads(manifest().canonical_json()) | fields)
    return {"text": text, "sha256": sha256_of(text)}


class TestRead:
    def test_what_was_written(self):
        written = manifest()
        assert read(written.canonical_json(), sha256=written.sha256(), org="acme") == written

    def test_another_hash(self):
        with pytest.raises(ManifestError, match="does not have the SHA-256 0000"):
            read(manifest().canonical_json(), sha256="0" * 64, org="acme")

    def test_a_changed_text(self):
        text = manifest().canonical_json()
        with pytest.raises(ManifestError, match="does not have the SHA-256"):
            read(text + " ", sha256=sha256_of(text), org="acme")

    def test_another_org(self):
        written = manifest()
        with pytest.raises(ManifestError, match="belongs to org 'acme', not 'globex'"):
            read(written.canonical_json(), sha256=written.sha256(), org="globex")

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"surprise": 1}, "surprise"),
            ({"format_version": 2}, "format_version"),
            ({"connections": [{"id": 1, "slug": "a", "connector": "x", "password": "p"}]}, "0"),
            ({"org": "Not A Slug"}, "org"),
        ],
    )
    def test_fields_that_this_version_refuses(self, fields, named):
        with pytest.raises(ManifestError, match=f"refuses: .*{named}"):
            read(**changed(**fields), org="acme")

    def test_no_json(self):
        with pytest.raises(ManifestError):
            read("{", sha256=sha256_of("{"), org="acme")


class TestCanonicalJson:
    def test_is_one_line_sorted_and_readable(self):
        text = manifest().canonical_json()
        assert "Zürich" in text
        assert ": " not in text
        assert list(json.loads(text)) == sorted(json.loads(text))

    def test_reading_and_writing_change_nothing(self):
        text = manifest().canonical_json()
        assert CodeLocation.model_validate_json(text).canonical_json() == text

    def test_the_order_of_keys_does_not_count(self):
        turned = dict(reversed(json.loads(manifest().canonical_json()).items()))
        assert CodeLocation.model_validate(turned).sha256() == manifest().sha256()

    def test_is_the_same_in_another_process(self):
        program = (
            "from tests.datanika_manifest.manifests import manifest; print(manifest().sha256())"
        )
        for seed in ("1", "2"):
            done = subprocess.run(
                ["env", f"PYTHONHASHSEED={seed}", sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout.strip() == manifest().sha256()

    def test_published_names_stay_what_they_are(self):
        """A change here renames every manifest that was ever published: bump the format."""
        assert CodeLocation(org_id=1, org="acme").sha256() == SHA256_OF_THE_EMPTY_MANIFEST


def test_a_manifest_cannot_be_changed():
    with pytest.raises(ValidationError):
        manifest().org = "globex"
