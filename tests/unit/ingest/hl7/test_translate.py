"""What messages of monitors mean: values, units, probes, conflicts, alarms, waves, beds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.hl7.acknowledge import Verdict
from ingest.hl7.alarms import alarm_name
from ingest.hl7.codes import nomenclature
from ingest.hl7.message import parse
from ingest.hl7.places import bed_of, parse_places, slug, words_of
from ingest.hl7.profiles import load_profiles, parse_profile
from ingest.hl7.translate import Memory
from schemas.errors import SettingsError
from schemas.times import parse_time
from schemas.vitals import KNOWN, Quality
from schemas.waves import CHANNELS, NO_SAMPLE
from tests.support.hl7 import HEAD, NOW, OBR, PV1, read_all, read_one, reasons, site, values

MMHG, PERCENT = "266016^MDC_DIM_MMHG^MDC", "262688^MDC_DIM_PERCENT^MDC"
HR = "OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.147842|{}|264864^MDC_DIM_BEAT_PER_MIN^MDC"


@pytest.mark.parametrize("text", ["-100", "-100.00", "-1", "-10000", "-999", "-99.9", "32767", ""])
def test_a_sentinel_is_missing_and_says_so(text):
    one = read_one(HR.format(text))
    assert values(one) == {"hr": None}
    assert one.outcome.readings[0].reason
    assert reasons(one) == ["no_value"]
    assert one.verdict is Verdict.ACCEPT


def test_a_pressure_of_minus_one_is_a_pressure():
    one = read_one(f"OBX|1|NM|150087^MDC_PRESS_BLD_VEN_CENT_MEAN^MDC||-1|{MMHG}")
    assert values(one) == {"cvp": -1}


def test_what_cannot_be_obtained_is_missing_and_a_container_is_nothing():
    one = read_one(
        HR.format("80") + "|||||X",
        "OBX|2||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X",
    )
    assert values(one) == {"hr": None}
    assert ("OBX-2", "structure") in one.outcome.became


@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        ("151708^MDC_CONC_AWAY_CO2_ET", "5.3", "265987^MDC_DIM_KILO_PASCAL^MDC", {"etco2": 39.753}),
        ("150087^MDC_PRESS_BLD_VEN_CENT_MEAN", "10", "266048^MDC_DIM_CM_H2O^MDC", {"cvp": 7.356}),
        ("150344^MDC_TEMP", "98.6", "266560^MDC_DIM_FAHR^MDC", {"temp": 37.0}),
        ("150301^MDC_PRESS_CUFF_SYS", "16", "kPa", {"nibp_sys": 120.01}),
        ("152196^MDC_CONC_AWAY_O2_INSP", "0.4", "262656^MDC_DIM_DIMLESS^MDC", {"fio2": 40.0}),
        ("131841^MDC_ECG_AMPL_ST_I", "1.5", "263442^MDC_DIM_MILLI_M^MDC", {"st_i": 0.15}),
        ("151980^MDC_VENT_VOL_TIDAL", "0.45", "L", {"vt": 450.0}),
        ("147842^MDC_ECG_HEART_RATE", "70", "", {"hr": 70.0}),
    ],
)
def test_units_become_the_vitals_own(code, value, unit, expected):
    assert values(read_one(f"OBX|1|NM|{code}^MDC||{value}|{unit}")) == expected


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (PERCENT, "unit"),
        ("266016^MDC_DIM_KILO_PASCAL^MDC", "unit_conflict"),
        ("furlong", "unit"),
    ],
)
def test_a_unit_that_fits_not_is_refused(unit, reason):
    one = read_one(f"OBX|1|NM|150301^MDC_PRESS_CUFF_SYS^MDC||16|{unit}")
    assert values(one) == {}
    assert reasons(one) == [reason]
    assert one.verdict is Verdict.ERROR


@pytest.mark.parametrize(
    "code",
    [
        "150456^MDC_CO2_ET^MDC",
        "150456^MDC_ECG_HEART_RATE^MDC",
        "150031^MDC_PRESS_CUFF_SYS^MDC",
        "999999^MDC_PULS_OXIM_SAT_O2^MDC",
    ],
)
def test_a_number_and_a_name_of_different_terms_are_both_not_believed(code):
    one = read_one(f"OBX|1|NM|{code}||35|{MMHG}", HR.format("70"))
    assert values(one) == {"hr": 70}
    assert reasons(one) == ["code_conflict"]


def test_two_temperatures_are_told_apart_by_obx_4_and_stay_who_they_are():
    memory = Memory()
    both = [
        "OBX|1|NM|150344^MDC_TEMP^MDC|1.2.2.150344|35.1|268192^MDC_DIM_DEGC^MDC",
        "OBX|2|NM|150344^MDC_TEMP^MDC|1.2.1.150344|37.2|268192^MDC_DIM_DEGC^MDC",
    ]
    assert values(read_one(*both, memory=memory)) == {"temp_2": 35.1, "temp": 37.2}
    again = read_one(*both, memory=memory)
    assert values(again) == {"temp_2": 35.1, "temp": 37.2}
    assert values(read_one(both[0], memory=memory)) == {"temp_2": 35.1}


def test_the_same_vital_twice_in_one_message_keeps_the_first():
    one = read_one(
        HR.format("70"),
        "OBX|2|NM|147842^MDC_ECG_HEART_RATE^MDC|1.9|90",
        HR.format("70"),
    )
    assert values(one) == {"hr": 70}
    assert reasons(one) == ["twice"]


def test_a_cuff_has_its_own_time():
    one = read_one(
        HR.format("70"),
        f"OBX|2|NM|150301^MDC_PRESS_CUFF_SYS^MDC||120|{MMHG}|||||F||APERIODIC|20261128155000",
    )
    times = {r.vital: r.time_ns for r in one.outcome.readings}
    assert times["hr"] == parse_time("2026-11-28T08:00:00Z")
    assert times["nibp_sys"] == parse_time("2026-11-28T07:50:00Z")


def test_settings_are_no_measurements():
    one = read_one("OBX|1|NM|151980^MDC_VENT_VOL_TIDAL^MDC||500|mL|||||F||SETTING")
    assert values(one) == {}
    assert reasons(one) == []


def test_an_mdil_code_is_an_mdc_number_in_hexadecimal():
    one = read_one(
        "OBX||NM|0002-4bb8^SpO2^MDIL||98|0004-0220^%^MDIL|||||F",
        "OBX||NM|0007-f0c7^T1^MDIL||99.1|0004-1140^F^MDIL|||||F",
        "OBX||NM|0402-f8f5^sMode^MDIL|0|MONITORING||||||F||SETTING",
        "OBX||TX|2^Yellow Alarm^MDIL-ALERT||SpO2 High, SpO2=98 %||||||F",
    )
    assert values(one) == {"spo2": 98, "temp": 37.278}
    (alarm,) = one.outcome.alarms
    assert (alarm.alarm, alarm.priority, alarm.phase) == ("spo2_high", "medium", "start")


def test_air_in_the_co2_line_is_an_artefact_and_apnoea_is_not():
    air = [
        f"OBX|1|NM|151708^MDC_CONC_AWAY_CO2_ET^MDC||1|{MMHG}",
        f"OBX|2|NM|151716^MDC_CONC_AWAY_CO2_INSP^MDC||1|{MMHG}",
        f"OBX|3|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||97|{PERCENT}",
    ]
    (etco2, *_) = read_one(*air).outcome.readings
    assert etco2.quality is Quality.QUESTIONABLE
    breathless = "OBX|4|NM|151594^MDC_CO2_RESP_RATE^MDC||0|264928^MDC_DIM_RESP_PER_MIN^MDC"
    (etco2, *_) = read_one(*air, breathless).outcome.readings
    assert etco2.quality is Quality.OK


R40 = HEAD.replace("ORU^R01^ORU_R01", "ORU^R40^ORU_R40")


def facets(phase, state="active", event="196670^MDC_EVT_LO^MDC", text="Low SpO2", flags="L~PM~SP"):
    return [
        R40,
        PV1,
        "OBR|1|alarm-0001|alarm-0001|196616^MDC_EVT_ALARM^MDC|||20261128160000",
        f"OBX|1|ST|{event}|1.3.1.150456.1|{text}|||{flags}",
        "OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.3.1.150456.2|88",
        f"OBX|3|ST|68481^MDC_ATTR_EVENT_PHASE^MDC|1.3.1.150456.3|{phase}",
        f"OBX|4|ST|1^WHATEVER^MDC|1.3.1.150456.4|{state}",
    ]


@pytest.mark.parametrize(
    ("phase", "phases"),
    [
        ("start", ["start"]),
        ("continue", ["continue"]),
        ("escalate", ["update"]),
        ("end", ["end"]),
        ("tpoint", ["start", "end"]),
    ],
)
def test_a_pcd_04_report_is_a_device_alarm(phase, phases):
    found = read_one(*facets(phase)).outcome.alarms
    assert [a.phase for a in found] == phases
    assert {(a.alarm, a.priority, a.type, a.id) for a in found} == {
        ("spo2_low", "medium", "physiological", "alarm-0001")
    }


def test_a_heartbeat_is_no_alarm_and_inactive_is_an_end():
    beat = facets("start", event="258047^MDC_EVT_ACTIVE^MDC", text="Heartbeat")
    assert read_one(*beat).outcome.alarms == []
    (ended,) = read_one(*facets("update", state="inactive")).outcome.alarms
    assert ended.phase == "end"
    vf = facets("start", event="0^MDC_EVT_ECG_V_FIB^MDC", text="", flags="H~PH~SP")
    assert [(a.alarm, a.priority) for a in read_one(*vf).outcome.alarms] == [("vf", "high")]


PDS = "MSH|^~\\&|||||||ORU^R01|{}|P|2.3.1|"


def test_a_list_of_alarms_starts_continues_and_ends_them():
    memory = Memory(peer="10.0.0.1")
    low = "OBX||CE|2|1|10002^**HR TOO LOW||||||F"
    high = "OBX||CE|2|1|10033^***SpO2 TOO HIGH||||||F"

    def said(*lines):
        one = read_one(PDS.format(54), *lines, "OBX||CE|2040^||0^||||||F", memory=memory)
        return [(a.alarm, a.phase, a.priority) for a in one.outcome.alarms]

    assert said(low) == [("hr_low", "start", "medium")]
    assert said(low, high) == [("hr_low", "continue", "medium"), ("spo2_high", "start", "high")]
    assert said(high) == [("spo2_high", "continue", "high"), ("hr_low", "end", "medium")]
    assert said() == [("spo2_high", "end", "high")]
    assert said() == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("***ASYSTOLE", "asystole"),
        ("心脏停搏", "asystole"),
        ("V-Fib", "vf"),
        ("室性心动过速", "vt"),
        ("VTAC", "vt"),
        ("Apnea", "apnoea"),
        ("呼吸暂停", "apnoea"),
        ("ECG Lead Off", "lead_off"),
        ("心电导联脱落", "lead_off"),
        ("SpO2 Sensor Off", "spo2_sensor_off"),
        ("血氧探头脱落", "spo2_sensor_off"),
        ("心率过高", "hr_high"),
        ("RR TOO LOW", "rr_low"),
        ("Art-Sys TOO HIGH ", "abp_sys_high"),
        ("CVP-Mean TOO HIGH", "cvp_high"),
        ("NIBP-S Too Low", "nibp_sys_low"),
        ("T1 Too Low", "temp_low"),
        ("Battery Low", "battery_low"),
        ("Something else", "something_else"),
    ],
)
def test_words_of_alarms_have_stable_names(text, name):
    assert alarm_name(text) == name


def wave(*more, samples="80^88^92"):
    request = "OBR|1|||100001^CONTINUOUS WAVEFORM^99MNDRY|||20261128155959|20261128160000"
    first = f"OBX|1|NA|131329^MDC_ECG_ELEC_POTL_I^MDC|1.7.6.131329|{samples}"
    return read_one(HEAD, PV1, request, first, *more)


def test_a_waveform_keeps_its_whole_numbers():
    one = wave(
        "OBX|2|NM|0^MDC_ATTR_SAMP_RATE^MDC|1.7.6.131329.1|500|264640^MDC_DIM_HZ^MDC",
        "OBX|3|NM|2327^MDC_ATTR_NU_MSMT_RES^MDC|1.7.6.131329.2|0.001221|266418^MDC_DIM_MILLI_VOLT^MDC",
        "OBX|4|NM|262196^MDC_EVT_INOP^MDC|1.7.6.131329.3|32767",
        samples="80^32767^^-92",
    )
    (found,) = one.outcome.waves
    assert found.channel == "ecg-i"
    assert found.samples.tolist() == [80, NO_SAMPLE, NO_SAMPLE, -92]
    assert (found.rate_hz, found.scale, found.unit) == (500, 0.001221, "mV")
    assert found.start_ns == parse_time("2026-11-28T07:59:59Z")


def test_a_rate_that_is_not_said_follows_from_the_times_and_else_it_is_not_drawn():
    (found,) = wave(samples="^".join(map(str, range(250)))).outcome.waves
    assert found.rate_hz == 250
    none = read_one(HEAD, PV1, "OBR|1", "OBX|1|NA|131329^MDC_ECG_ELEC_POTL_I^MDC|1.7.6|0^0^0")
    assert none.outcome.waves[0].rate_hz is None
    assert reasons(none) == ["wave"]


def test_decimals_become_a_scale_and_what_is_too_wide_is_refused():
    (found,) = wave(samples="0.25^-1.5^100").outcome.waves
    assert np.allclose(found.samples * found.scale + found.zero, [0.25, -1.5, 100])
    (shifted,) = wave(samples="40000^40001^45000").outcome.waves
    assert np.allclose(shifted.samples * shifted.scale + shifted.zero, [40000, 40001, 45000])
    assert reasons(wave(samples="0^100000")) == ["wave"]
    assert reasons(wave(samples="0^x^1")) == ["not_a_number"]


@pytest.mark.parametrize(
    ("written", "unit", "bed"),
    [
        ("ICU^^5^XYZ HOSPITAL", "ICU", "5"),
        ("X^^443EC", "X", "443EC"),
        ("ICU^B1^B1^GE", "ICU", "B1"),
        ("^^ICU&Bed5&3232241659&0&0", "ICU", "Bed5"),
        ("^^ICU&1&3232237756&4601&&1", "ICU", "1"),
        ("^^icu&222&&4601&&1", "icu", "222"),
        ("OR^^OR&ICU&BED01", "OR", "BED01"),
        ("^^Doc1&5&1", "", "Doc1"),
        ("ICU/PCU^^pDemo6&0&0", "ICU/PCU", "pDemo6"),
        ("^^&24", "", "24"),
        ("^^&36&0&0", "", "36"),
        ("HO Surgery^OR^1", "HO Surgery", "1"),
        ("^^BED-001^10.0.100.98:1", "", "BED-001"),
        ("WARD^BED7", "WARD", "BED7"),
        ("^^^", "", ""),
    ],
)
def test_the_bed_is_found_in_its_real_variants(written, unit, bed):
    location = parse(f"{HEAD}\rPV1||I|{written}".encode()).first("PV1")
    assert words_of(location) == (unit, bed)


def test_beds_have_names_that_topics_can_have():
    for word in ("3床", "Bed 5", "ICU/重症", "重症监护室", "-", "…", "A" * 80):
        assert slug(word) == slug(word)
        if slug(word):
            assert 1 <= len(slug(word)) <= 48
    assert slug("重症监护室") != slug("急诊")
    assert slug("3床") == "3"


def test_a_sites_file_says_what_its_own_words_mean(tmp_path):
    places = parse_places(
        b'hospital = "kaihua"\n[beds]\n"ICU^^5" = "icu/bed-05"\n"00A1" = "icu/bed-07"\n'
        b'"10.1.2.3" = "hdu/bed-1"\n',
        tmp_path / "beds.toml",
    )
    location = parse(f"{HEAD}\r{PV1}".encode()).first("PV1")
    assert bed_of(places, location, ()) == "kaihua/icu/bed-05"
    assert bed_of(places, None, ("00A1", "10.1.2.3")) == "kaihua/icu/bed-07"
    assert bed_of(places, None, ("", "10.1.2.3")) == "kaihua/hdu/bed-1"
    assert bed_of(places, None, ("else",)) is None
    for wrong in (b"hospital = 1", b'[beds]\n"x" = "no bed"', b"what = 1", b"\xff"):
        with pytest.raises(SettingsError, match=r"beds\.toml"):
            parse_places(wrong, tmp_path / "beds.toml")


def test_a_connection_says_its_bed_once_and_it_holds():
    memory = Memory(peer="10.0.0.1")
    patient = [PDS.format(103), "PV1||I|^^ICU&7&3232237756&4601&&1"]
    assert read_one(*patient, memory=memory).outcome.bed == "h/icu/7"
    one = read_one(PDS.format(204), "OBX||NM|101^HR|2101|60||||||F", memory=memory)
    assert one.outcome.bed == "h/icu/7"
    assert values(one) == {"hr": 60}
    assert read_one(PDS.format(204), "OBX||NM|101^HR|2101|60||||||F").outcome.bed is None


def test_numbers_of_one_vendor_are_not_anothers():
    mindray = read_one(PDS.format(204), "OBX||NM|201^T2|2104|37.2||||||F")
    biolight = read_one(
        "MSH|^~\\&|||||20261128||ORU^R01|1004|P|2.6", "OBX||NM|201^HR^BHC|5001|60||||||F"
    )
    q5 = read_one(PDS.format("RP01"), "OBX||NM|51|0^T2|3720||||||F")
    assert values(mindray) == {"temp_2": 37.2}
    assert values(biolight) == {"hr": 60}
    assert values(q5) == {}


def test_other_ways_to_write_a_code_and_a_number():
    one = read_one(
        "OBX|1|NM|8867-4^Heart rate^LN||71|/min",
        "OBX|2|NM|XX^Saturation^L^150456^MDC_PULS_OXIM_SAT_O2^MDC||97|%",
        "OBX|3|SN|9279-1^Respiratory rate^LN||^16|{breaths}/min",
        "OBX|4|NM|8310-5^Temp^LN||36,8|Cel",
        "OBX|5|NM|8480-6^Systolic^LN||120|mm(hg)",
        "OBX|6|NM|150087^MDC_PRESS_BLD_VEN_CENT_MEAN^MDC||1,200|mmHg",
    )
    assert values(one) == {"hr": 71, "spo2": 97, "rr": 16, "temp": 36.8, "bp_sys": 120}
    assert reasons(one) == ["not_a_number"]


def test_what_is_cut_off_or_too_large_is_said():
    framed = b"\x0b" + (HEAD + "\r" + PV1).encode() + b"\r" + HR.format(7).encode()
    (half,) = read_all(framed)
    assert half.verdict is Verdict.ERROR
    assert values(half) == {}
    (giant,) = read_all((HEAD + "\rOBX|1|TX|x||").encode() + b"y" * 5_000_000)
    assert giant.verdict is Verdict.REJECT
    (framed_giant,) = read_all(b"\x0b" + HEAD.encode() + b"\rOBX|" + b"y" * 5_000_000 + b"\x1c\r")
    assert framed_giant.verdict is Verdict.REJECT
    assert framed_giant.answer("n", NOW).split(b"\r")[1].startswith(b"MSA|CR|7")


def test_unknown_codes_are_dropped_and_are_no_error_of_the_sender():
    one = read_one(
        "OBX|1|NM|4711^FOO^99XYZ||5", "OBX|2|NM|160324^MDC_SPO2_SIGNAL_QUALITY_INDEX^MDC||3"
    )
    assert reasons(one) == ["unknown_code", "unknown_code"]
    assert one.verdict is Verdict.ACCEPT


@pytest.mark.parametrize("kind", ["ORU^R99", "SIU^S12", "ADT^A99", "QRY^R02", "^"])
def test_what_is_not_for_us_is_rejected(kind):
    one = read_one(HEAD.replace("ORU^R01^ORU_R01", kind))
    assert one.verdict is Verdict.REJECT
    assert one.outcome.refused is not None


def test_a_new_monitor_is_a_file(tmp_path):
    (tmp_path / "acme.toml").write_text(
        'name = "acme"\ntitle = "Acme"\nrecognise = { sender = "ACME" }\nsentinels = [-7]\n'
        '[codes]\n"A1^99ACME" = { vital = "etco2", unit = "kPa" }\n"A2^99ACME" = "hr"\n'
        '"A3^99ACME" = { ignore = "no vital" }\n[text]\n"GLOW" = "pvi"\n[units]\n"U1" = "kPa"\n'
    )
    from ingest.hl7.reading import read

    said = ["A1^x^99ACME||5.3", "A2^x^99ACME||-7", "A3^x^99ACME||1", "^GLOW||14|%"]
    text = "\r".join([HEAD, PV1, OBR, *(f"OBX|1|NM|{one}" for one in said)])
    one = read(text.encode(), load_profiles(tmp_path), site(), Memory(), NOW)
    assert one.outcome.profile == "acme"
    assert values(one) == {"etco2": 39.753, "hr": None, "pvi": 14}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 1", "name"),
        ('name = "a"\ntitle = "b"\nrecognise = { sender = "(" }', "a.toml"),
        ('name = "a"\ntitle = "b"\n[codes]\n"1" = "no_such_vital"', "no_such_vital"),
        ('name = "a"\ntitle = "b"\nwhat = 1', "what"),
    ],
)
def test_a_profile_that_is_wrong_names_file_and_key(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said):
        parse_profile(text.encode(), tmp_path / "a.toml")


def test_the_nomenclature_means_only_what_there_is():
    table = nomenclature()
    for term in table.by_refid.values():
        if term.kind == "metric" and term.means:
            assert term.means in KNOWN, term
        elif term.kind == "wave" and term.means in CHANNELS and CHANNELS[term.means].mdc:
            number = CHANNELS[term.means].mdc
            assert table.by_number[number].means == term.means
    for vital in KNOWN.values():
        if vital.mdc is not None and not vital.name.startswith("temp_"):
            assert table.by_number[vital.mdc].means == vital.name, vital


@given(st.text(alphabet="MSHOBXPID|^~\\&\r\n0123456789.-^MDCÄ张", max_size=300))
def test_no_text_makes_the_reader_fail(text):
    for one in read_all((HEAD + "\r" + PV1 + "\r" + text).encode()):
        assert one.verdict in Verdict
