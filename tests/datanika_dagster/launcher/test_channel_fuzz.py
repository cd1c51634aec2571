"""Whatever a job writes, only claims about its own step come through, and nothing breaks its run."""

import json
import random

import pytest

from datanika_dagster.errors import MessageRefused
from datanika_dagster.launcher.messages import BEAT, LEVELS, METADATA_TYPES, StepContract

OWN = "acme/warehouse/raw/flights"
KEYS = (OWN, "globex/warehouse/raw/flights", "", "acme", "../" + OWN, OWN.upper(), None, 7, [OWN])
METHODS = (
    *("opened", "closed", "log", "report_asset_materialization", "report_asset_check"),
    *("report_custom_message", BEAT, "", "__class__", "report_asset_observation", None),
)
VALUES = (None, True, 0, -1, 1e308, "", "x", "\x00", "\ud800", [], {}, [[]], {"type": "x"})
SHAPES = {
    "log": ("message", "level"),
    "report_asset_materialization": ("asset_key", "metadata", "data_version"),
    "report_asset_check": ("asset_key", "check_name", "passed", "severity", "metadata"),
}
ROUNDS = 3000


def message(chance):
    """Returns something that resembles a message, with anything in any place."""
    params = {
        "asset_key": chance.choice(KEYS),
        "check_name": chance.choice(("not_null", "other", *VALUES)),
        "passed": chance.choice((True, False, *VALUES)),
        "severity": chance.choice(("WARN", "ERROR", *VALUES)),
        "level": chance.choice((*LEVELS, *VALUES)),
        "message": chance.choice(("text", "x" * 30_000, *VALUES)),
        "metadata": chance.choice((None, {"n": entry(chance)}, *VALUES)),
        "payload": chance.choice(VALUES),
        "data_version": chance.choice((None, "1", *VALUES)),
    }
    method = chance.choice(METHODS)
    kept = SHAPES.get(method) if chance.random() < 0.5 else None
    kept = kept or chance.sample(sorted(params), chance.randint(0, 5))
    return {"method": method, "params": {name: params[name] for name in kept}}


def entry(chance):
    kind = chance.choice((*METADATA_TYPES, "asset", "path", "notebook", None))
    return {"type": kind, "raw_value": chance.choice(VALUES)}


def damaged(chance, line):
    if chance.random() < 0.2 and line:
        at = chance.randrange(len(line))
        return line[:at] + bytes([chance.randrange(256)]) + line[at + 1 :]
    return line


@pytest.mark.parametrize("seed", range(3))
def test_only_the_steps_own_comes_through(seed):
    chance = random.Random(seed)
    accepted = set()
    for _ in range(ROUNDS):
        contract = StepContract({OWN}, {(OWN, "not_null")})
        line = damaged(chance, json.dumps(message(chance)).encode())
        try:
            said = contract.read(line)
        except MessageRefused:
            continue
        if said is None:  # beats, and lines beyond the step's allowance
            continue
        accepted.add(said["method"])
        if said["method"].startswith("report_asset"):
            assert said["params"]["asset_key"] == OWN
        if said["method"] == "report_asset_check":
            assert said["params"]["check_name"] == "not_null"
        assert "\x00" not in json.dumps(said["params"]).encode().decode("unicode_escape")
    assert accepted >= {"opened", "closed", "log", "report_custom_message"}


def test_a_beat_says_nothing_else():
    contract = StepContract({OWN}, set())
    assert contract.read(json.dumps({"method": BEAT, "params": {}}).encode()) is None
    with pytest.raises(MessageRefused):
        contract.read(json.dumps({"method": BEAT, "params": {"asset_key": OWN}}).encode())
    assert contract.unreported() == [OWN]
