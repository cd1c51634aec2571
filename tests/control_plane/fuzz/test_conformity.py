"""Generated requests: no operation fails, and each answer is one that the document describes.

`make test` sends a few requests to each operation, the same ones each time; `make fuzz` sends many,
other ones each time. What starts processes or hashes passwords is sent fewer, and checked the same.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from tests.control_plane.access.matrix.objects import Request
from tests.control_plane.access.matrix.rows import NO_SLOT, ROWS
from tests.control_plane.fuzz.conftest import OPERATIONS, Target

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
SLOW = {
    "POST /api/v1/auth/signup": "hashes a password",
    "POST /api/v1/auth/login": "hashes a password",
    "POST /api/v1/auth/password": "hashes a password",
    "POST /api/v1/auth/password-resets/redeem": "hashes a password",
    "POST /api/v1/auth/invitations/accept": "hashes a password",
    "POST /api/v1/system/unlock": "derives a key",
    "POST /api/v1/system/master-password": "derives a key",
    "PUT /api/v1/system/master-password": "derives a key",
    **{n: "starts a process" for n, row in ROWS.items() if row.because == NO_SLOT},
}
EXAMPLES, SLOW_EXAMPLES = 4, 1


def chosen(name: str, examples: int | None) -> settings:
    """Returns how many requests an operation is sent, and whether they are always the same."""
    is_bounded = examples is None
    count = EXAMPLES if examples is None else examples
    if name in SLOW:
        count = max(SLOW_EXAMPLES, count // 100)
    return settings(
        max_examples=count,
        derandomize=is_bounded,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("target", OPERATIONS, indirect=True)
def test_answers_are_those_of_the_document(target: Target, pytestconfig: pytest.Config):
    schema = schemathesis.openapi.from_dict(target.document)
    described = schema[target.operation.path][target.operation.method]
    cases = st.one_of(
        described.as_strategy(generation_mode=GenerationMode.POSITIVE),
        described.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @given(case=cases, is_own=st.booleans())
    @chosen(target.operation.name, pytestconfig.getoption("--fuzz-examples"))
    def send(case: Case, is_own: bool) -> None:
        if is_own:
            case.path_parameters = {**(case.path_parameters or {}), **target.valid.path}
        response = case.call(base_url=target.url, headers=target.headers)
        assert target.explains(response.status_code), (response.status_code, response.text[:500])
        case.validate_response(response, checks=CHECKS)

    send()


def test_an_answer_that_is_not_described_is_refused(fuzzed_url: str):
    document = {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": {"/health": {"get": {"responses": {"201": {"description": "made"}}}}},
    }
    operation = OPERATIONS["GET /health"]
    target = Target(fuzzed_url, document, operation, Request(), {})
    assert not target.explains(200)
    assert not any(target.explains(status) for status in (500, 502, 503))
    case = schemathesis.openapi.from_dict(document)["/health"]["GET"].Case()
    response = case.call(base_url=fuzzed_url)
    with pytest.raises(FailureGroup):
        case.validate_response(response, checks=CHECKS)


def test_slow_operations_exist():
    assert SLOW.keys() <= OPERATIONS.keys()
