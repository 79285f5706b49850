"""The rule set of the settings: the same for intake, console, replays and trials."""

import pytest

from hub.packs import configured_rules, rule_files
from hub.settings import load_settings
from schemas.errors import SettingsError

SITES = '[[hospital]]\nid = "h"\nzh = "院"\nen = "H"\nregion = "quzhou"\n'
OVERLAY = 'name = "quzhou"\nfor = "region:quzhou"\n[[set]]\nrule = "hr_high"\nabove = 115\n'


@pytest.fixture
def settings(tmp_path, monkeypatch):
    (tmp_path / "sites.toml").write_text(SITES, "utf-8")
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays" / "quzhou.toml").write_text(OVERLAY, "utf-8")
    monkeypatch.setenv("VIGIL_SITES", str(tmp_path / "sites.toml"))
    monkeypatch.setenv("VIGIL_INTAKE__OVERLAYS", str(tmp_path / "overlays"))
    return load_settings(data=tmp_path)


def test_overlay_of_a_region_applies_wherever_rules_are_loaded(settings):
    rules = configured_rules(settings)
    [overlay] = rules.of_bed("h/icu/b1")
    assert overlay.scope == "region:quzhou"
    assert rules.effective([overlay]).rules["hr_high/hr"].terms[0].trigger == 115


def test_another_baseline_keeps_the_overlays_of_the_settings(settings, tmp_path):
    text = rule_files(None, None)[0][0].replace(b'name = "', b'name = "other-', 1)
    (tmp_path / "other.toml").write_bytes(text)
    rules = configured_rules(settings, tmp_path / "other.toml")
    assert rules.baseline.name.startswith("other-")
    assert len(rules.overlays) == 1


def test_folder_of_overlays_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no such folder"):
        rule_files(None, tmp_path / "nowhere")
