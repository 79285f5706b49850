import re
from pathlib import PurePath

import pytest

from alerts.rules import Condition, evaluate
from alerts.rulesets import make_rule_set, parse_baseline, parse_overlay
from schemas.care import PatientException
from schemas.errors import SettingsError
from tests.support.readings import PACK_FILE, rules

HEAD = 'name="x"\n[silence]\nafter_s=30\npriority="low"\nzh="x"\nen="x"\n'
BASE = rules().baseline


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


def mutes(*pairs):
    """Rules a, b, c on heart rate, muting as told."""
    text = HEAD
    for name in "abc":
        text += limit(id=f'"{name}"').removeprefix(HEAD) + "\n"
    return text + "\n".join(
        f'[[inhibition]]\nsource=["{source}"]\ntarget=["{target}"]' for source, target in pairs
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("not = [toml", "p.toml"),
        (HEAD, "limit"),
        (limit(vitals='["blood"]'), "p.toml:9: limit: vitals: 'blood' is unknown"),
        (limit(below="40"), "exactly one"),
        (limit(above=""), "exactly one"),
        (limit(recovery="140"), "p.toml:.*recovery: 140 contradicts the limit 130; put it below"),
        (limit(hold_s="-1"), "hold_s"),
        (limit(samples="0"), "samples"),
        (limit(priority='"urgent"'), "p.toml:11: .*priority"),
        (limit(colour='"red"'), "p.toml:14: .*colour"),
        (limit(floor="120"), "floor: 120 is tighter"),
        (limit() + "\n" + limit().removeprefix(HEAD), "twice"),
        (limit().replace("after_s=30", "after_s=0"), "after_s"),
        (limit().replace("after_s=30", "after_s=nan"), "nan is not within"),
        (limit(hold_s="inf"), "inf is not within"),
        ("x=" + "[" * 20000, "nested too deeply"),
        (
            limit() + "\n" + limit(id='"b"', above="", below="140").removeprefix(HEAD),
            "below 140 and above 130 leaves no normal value",
        ),
        (mutes(("a", "b"), ("b", "c"), ("c", "a")), "circle: a/hr → b/hr → c/hr → a/hr"),
        (mutes(("a", "d")), "target: no rule 'd'"),
        (
            limit(extreme="true") + '\n[[inhibition]]\nsource=["a"]\ntarget=["a"]',
            "extreme: nothing may mute it",
        ),
        (
            limit()
            + '\n[[score]]\nid="s"\nscore="apache"\nat_least=3\npriority="low"\nzh="x"\nen="x"',
            "score: 'apache': one of news2",
        ),
    ],
)
def test_wrong_pack_is_refused_naming_file_line_and_key(text, names):
    with pytest.raises(SettingsError, match=names):
        parse_baseline(text.encode(), PurePath("p.toml"))


def overlay(*lines, scope="h"):
    return "\n".join([f'name = "o"\nfor = "{scope}"', *lines]).encode()


def change(rule, **values):
    return "\n".join(["[[set]]", f'rule = "{rule}"', *(f"{k} = {v}" for k, v in values.items())])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (overlay(change("hr_high", above=141)), "o.toml:5: set: above: .*floor 140.*at most 140"),
        (overlay(change("hr_high", off="true")), "o.toml:5: set: off: .*cannot be switched off"),
        (overlay(change("hr_high", hold_s=60)), "hold_s: .*at most 10 s"),
        (overlay(change("hr_high", priority='"low"')), "priority: .*at least medium"),
        (overlay(change("spo2_extreme_low", below=75)), "floor 80"),
        (overlay(change("news2_high", at_least=9)), "floor 8"),
        (overlay(change("nonsense", above=1)), "no rule 'nonsense'"),
        (overlay(change("hr_high", below=1)), "is a limit above"),
        (overlay(change("hr_high", above=120, recovery=130)), "contradicts"),
        (overlay(change("hr_high", above=40)), "leaves no normal value"),
        (overlay("[[set]]", "x = 1"), "o.toml"),
        (overlay(change("hr_hihg", above=1)), "did you mean hr_high"),
        (overlay(scope=""), "for: '': write region:NAME"),
        (overlay(scope="a/b/c/d"), "write region:NAME"),
        (overlay(scope="h/BED 01"), "write region:NAME"),
        (overlay(change("spo2_extreme_low", below="nan")), "o.toml:5: set: below: nan is not"),
        (overlay(change("hr_high", hold_s="nan")), "nan is not within 0-86400"),
        (overlay(change("hr_high", recovery="-inf")), "-inf is not within"),
        (overlay(change("hr_high", recovery=-5)), "would never be over"),
        (overlay(change("hr_high", recovery_hold_s=1e9)), "is not within 0-86400"),
        (overlay(limit(id='"spo2_weak"').removeprefix(HEAD)), "is used twice"),
        (overlay(limit(id='"monitor"').removeprefix(HEAD)), "is used twice"),
    ],
)
def test_overlay_may_not_loosen_the_floor(text, names):
    with pytest.raises(SettingsError, match=names):
        parse_overlay(text, PurePath("o.toml"), BASE)


def with_overlays(*texts, regions=None):
    return make_rule_set(
        (PACK_FILE.read_bytes(), PACK_FILE),
        [(text, PurePath(f"{i}.toml")) for i, text in enumerate(texts)],
        regions,
    )


def test_overlays_apply_from_the_widest_to_the_narrowest_and_say_so():
    both = with_overlays(
        overlay(change("hr_high", above=120), scope="h/icu"),
        overlay(change("hr_high", above=118), change("sbp_high", off="true"), scope="region:r"),
        regions={"h": "r"},
    )
    here = both.effective(both.of_bed("h/icu/b1")).rules
    assert here["hr_high/hr"].terms[0].trigger == 120
    assert here["hr_high/hr"].terms[0].recovery == 105  # the dead band keeps its width
    assert re.fullmatch(r"o@[0-9a-f]{12}", here["hr_high/hr"].overlay)
    assert "sbp_high/abp_sys" not in here
    elsewhere = both.effective(both.of_bed("x/icu/b1")).rules
    assert elsewhere["hr_high/hr"] == BASE.rules["hr_high/hr"]
    assert both.version != rules().version


def test_two_overlays_may_not_add_the_same_limit():
    added = limit(id='"mine"', above="150").removeprefix(HEAD)
    with pytest.raises(SettingsError, match="both add the limit 'mine'"):
        with_overlays(overlay(added), overlay(added, scope="h/icu"))


def test_exception_for_a_patient_may_go_below_the_floor_and_is_named():
    exception = PatientException("spo2_low", "dr-li", "COPD, target 88-92", 10**19, below=85)
    rule = rules().effective((), [exception]).rules["spo2_low/spo2"]
    assert (rule.terms[0].trigger, rule.overlay) == (85, "patient:dr-li")


def test_baseline_covers_the_vitals_it_must_and_has_thirty_rules():
    assert {"hr", "spo2", "rr", "abp_mean", "abp_sys", "nibp_mean", "nibp_sys", "temp"} <= set(
        BASE.by_vital
    )
    assert len({rule.name for rule in BASE.rules.values()}) >= 30


def test_version_is_the_hash_of_the_file():
    text = PACK_FILE.read_bytes()
    other = parse_baseline(text + b"\n# x", PACK_FILE)
    assert parse_baseline(text, PACK_FILE).version != other.version


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        (126, Condition.BREACH),
        (125, Condition.BAND),
        (111, Condition.BAND),
        (110, Condition.NORMAL),
    ],
)
def test_band_between_recovery_and_trigger(value, condition):
    assert evaluate(BASE.rules["hr_high/hr"], {"hr": value}) is condition


def test_combination_needs_every_term_and_is_over_with_one():
    rule = BASE.rules["respiratory_distress"]
    assert evaluate(rule, {"spo2": 90, "any_rr": 30}) is Condition.BREACH
    assert evaluate(rule, {"spo2": 90, "any_rr": 26}) is Condition.BAND
    assert evaluate(rule, {"spo2": 95, "any_rr": 30}) is Condition.NORMAL
    assert evaluate(rule, {"spo2": 90}) is None


def test_abp_and_cuff_are_different_rules():
    assert {"map_low/abp_mean", "map_low_cuff/nibp_mean"} <= set(BASE.rules)
