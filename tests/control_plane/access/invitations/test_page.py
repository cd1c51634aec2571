"""The page behind an invitation's link."""

import base64
import hashlib
import re

from fastapi.testclient import TestClient


def test_runs_its_own_script_and_nothing_else(anonymous: TestClient):
    answer = anonymous.get("/invitation")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    # What is laid out as a grid would be shown although it is hidden.
    assert "[hidden]{display:none!important}" in answer.text
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_takes_no_token_and_no_other_source(anonymous: TestClient):
    answer = anonymous.get("/invitation?token=dti_1_canary")
    assert "canary" not in answer.text
    assert re.findall(r"\b(?:src|href|action|on\w+)=\S*", answer.text) == ['href="/login"']
    # What the API answers is shown as text and never becomes markup.
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", answer.text)
