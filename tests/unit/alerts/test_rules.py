from pathlib import PurePath

import pytest

from alerts.rules import Condition, evaluate, parse_pack
from schemas.errors import SettingsError
from tests.support.readings import PACK_FILE, pack

HEAD = 'name="x"\n[silence]\nafter_s=30\npriority="low"\nzh="x"\nen="x"\n'


def limit(**changes):
    keys = {
        "id": '"a"',
        "vitals": '["hr"]',
        "above": "130",
        "priority": '"high"',
        "zh": '"x"',
        "en": '"x"',
    } | changes
    return HEAD + "[[limit]]\n" + "\n".join(f"{k}={v}" for k, v in keys.items() if v)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("not = [toml", "p.toml"),
        (HEAD, "limit"),
        (limit(vitals='["blood"]'), "blood"),
        (limit(below="40"), "exactly one"),
        (limit(above=""), "exactly one"),
        (limit(recovery="140"), "contradicts"),
        (limit(hold_s="-1"), "hold_s"),
        (limit(samples="0"), "samples"),
        (limit(priority='"urgent"'), "priority"),
        (limit(colour='"red"'), "colour"),
        (limit() + "\n" + limit().removeprefix(HEAD), "twice"),
        (limit().replace("after_s=30", "after_s=0"), "after_s"),
    ],
)
def test_wrong_pack_is_refused_naming_the_key(text, names):
    with pytest.raises(SettingsError, match=names):
        parse_pack(text.encode(), PurePath("p.toml"))


def test_baseline_covers_the_vitals_it_must():
    assert {"hr", "spo2", "rr", "abp_mean", "abp_sys", "nibp_mean", "nibp_sys", "temp"} <= set(
        pack().by_vital
    )


def test_version_is_the_hash_of_the_file():
    text = PACK_FILE.read_bytes()
    assert parse_pack(text, PACK_FILE).version != parse_pack(text + b"\n# x", PACK_FILE).version


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        (131, Condition.BREACH),
        (130, Condition.BAND),
        (126, Condition.BAND),
        (125, Condition.NORMAL),
    ],
)
def test_band_between_recovery_and_trigger(value, condition):
    assert evaluate(pack().limits["hr_high/hr"], value) is condition


def test_abp_and_cuff_are_different_rules():
    assert "map_low/abp_mean" in pack().limits
    assert "map_low_cuff/nibp_mean" in pack().limits
