import pytest

from hub.environment import check_names, rows
from hub.settings import Settings, load_settings
from hub.sites import load_sites
from schemas.errors import SettingsError


def test_wrong_file_is_refused_with_key_value_and_reason(tmp_path):
    file = tmp_path / "vigil.toml"
    file.write_text('[intake]\nlate_s = 1\n[broker]\nport = "many"\n[colour]\nx = 1\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    text = str(caught.value)
    assert all(
        part in text
        for part in (
            "vigil.toml",
            "intake.late_s",
            "1",
            "broker.port",
            "many",
            "colour",
            "vigil settings",
        )
    )


def test_environment_wins_over_the_file(tmp_path, monkeypatch):
    file = tmp_path / "vigil.toml"
    file.write_text("[intake]\nlate_s = 90\nmax_beds = 7\n")
    monkeypatch.setenv("VIGIL_INTAKE__LATE_S", "120")
    settings = load_settings(file)
    assert (settings.intake.late_s, settings.intake.max_beds) == (120, 7)


def test_wrong_environment_value_is_refused(monkeypatch):
    monkeypatch.setenv("VIGIL_BROKER__PORT", "99999")
    with pytest.raises(SettingsError, match=r"broker\.port = '99999'"):
        load_settings()


def test_misspelt_environment_name_is_refused_with_the_right_one():
    with pytest.raises(SettingsError, match="did you mean VIGIL_DATABASE__PORT"):
        check_names({"VIGIL_DATABSE__PORT": "1"})
    check_names({"VIGIL_DEMO_SECONDS": "9", "HOME": "/"})


def test_every_setting_is_explained_and_secrets_are_masked(monkeypatch):
    monkeypatch.setenv("VIGIL_DATABASE__URL", "postgresql://u:hunter2@h/d")
    listed = list(rows(Settings()))
    assert all(meaning for _, _, meaning in listed)
    assert "hunter2" not in str(listed)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[[hospital]]\nid=1",
        '[[hospital]]\nid="h"\nzh="h"\nen="h"\n[[hospital.unit]]\nid="U!"\nzh="u"\nen="u"\nbeds=[]',
        '[[hospital]]\nid="H!"\nzh="h"\nen="h"\n[[hospital.unit]]\nid="u"\nzh="u"\nen="u"\nbeds=["1"]',
    ],
)
def test_wrong_sites_are_refused_naming_the_file(tmp_path, text):
    file = tmp_path / "sites.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"sites\.toml"):
        load_sites(file)
