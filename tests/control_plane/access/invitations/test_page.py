"""The page behind an invitation's link."""

import re

from fastapi.testclient import TestClient

from tests.fixtures.applications import make_app


def test_holds_nothing_and_sends_no_form(anonymous: TestClient):
    answer = anonymous.get("/invitation")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "form-action 'none'" in policy
    assert "connect-src 'self'" in policy
    # Within the platform alone, and a page's fragment is in no referrer.
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    # What is laid out as a grid would be shown although it is hidden.
    assert "[hidden]{display:none!important}" in answer.text


def test_takes_no_token_and_no_other_source(anonymous: TestClient):
    answer = anonymous.get("/invitation?token=dti_1_canary")
    assert "canary" not in answer.text
    assert re.findall(r"\b(?:src|href|action|on\w+)=\S*", answer.text) == ['href="/login"']
    # What the API answers is shown as text and never becomes markup.
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", answer.text)


def test_leads_to_the_page_of_who_is_signed_in(anonymous: TestClient):
    assert "location.replace('/welcome')" in anonymous.get("/invitation").text


def test_warns_of_the_first_sign_in_by_a_provider_where_there_is_one(make_settings, anonymous):
    configured = make_settings(
        GOOGLE_CLIENT_ID="id",
        GOOGLE_CLIENT_SECRET="canary",
        GITHUB_CLIENT_ID="id",
        GITHUB_CLIENT_SECRET="canary",
    )
    with TestClient(make_app(configured)) as client:
        page = " ".join(client.get("/invitation").text.split())
    assert '<p id="unverified" hidden>' in page, "the script shows it where it is true"
    assert "first sign-in by Google or GitHub" in page
    assert "canary" not in page
    assert 'id="unverified"' not in anonymous.get("/invitation").text
