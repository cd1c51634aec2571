"""The comparison of source, warehouse and run."""

from datanika_stack.demo.verification import differences


def test_all_agree():
    assert differences({"a": 1}, {"a": 1}, {"a": 1}) == []


def test_each_disagreement_is_named():
    source = {"a": 1, "b": 2, "c": 3}
    assert differences(source, {"a": 1, "b": 1, "c": 3}, {"a": 1, "b": 2}) == [
        "b: source 2, warehouse 1, run 2",
        "c: source 3, warehouse 3, run None",
    ]
