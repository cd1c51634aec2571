"""Measures and their file."""

import json

from benchmarks import harness
from benchmarks.harness import Measure, interleave, median_of, write_result


def test_a_target_is_an_upper_bound_unless_said(tmp_path):
    assert median_of("x", [1.0, 9.0, 2.0], "s", 2.0).ok
    assert not median_of("x", [3.0], "s", 2.0).ok
    assert not Measure("x", 1, "ratio", 2, at_least=True).ok
    assert Measure("x", 1, "s").ok


def test_rounds_are_interleaved():
    order = []

    def variant(name):
        return lambda: order.append(name) or 1.0

    interleave(2, {"a": variant("a"), "b": variant("b")})
    assert order == ["a", "b", "a", "b"]


def test_the_file_has_the_agreed_form(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    path = write_result("x", 0.5, [median_of("m", [1.0, 2.0, 3.0], "s", 2.5)])
    content = json.loads(path.read_text())
    assert content["load_average"] == 0.5
    assert content["machine"]
    assert content["measures"] == [
        {
            "name": "m",
            "value": 2.0,
            "unit": "s",
            "target": 2.5,
            "ok": True,
            "rounds": [1.0, 2.0, 3.0],
        }
    ]
