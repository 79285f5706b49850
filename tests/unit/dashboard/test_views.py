import re
from itertools import pairwise
from pathlib import Path

from msgspec.structs import replace

from alerts.derive import Observed
from care.consults import Loops
from dashboard.screen_words import SCREEN_WORDS
from dashboard.views import (
    BedView,
    alarm_state,
    apply_alert,
    apply_reading,
    encode_bed,
    news2_change,
    open_elsewhere,
    score,
)
from dashboard.words import WORDS, script_words
from schemas.times import MS, S
from tests.support.readings import T0, feed, pipeline, reading


def judged(*items):
    line = pipeline()
    return [feed(line, item).reading for item in items]


def test_newest_value_wins_and_backlog_moves_nothing():
    view = BedView("h/icu/b1")
    new, old = judged(reading(100, hr=80, seq=100), reading(50, hr=150, seq=101, delay_s=60))
    assert apply_reading(view, new)
    assert not apply_reading(view, old)
    assert view.vitals["hr"][0] == 80


def test_unusable_value_is_a_reason_and_not_a_number():
    view = BedView("h/icu/b1")
    apply_reading(view, judged(reading(0, hr=900))[0])
    assert view.vitals["hr"] == (None, T0 // MS, "out_of_range", 1.0)


def test_alarm_state_is_the_worst_open_alert():
    view = BedView("h/icu/b1")
    line = pipeline()
    events = [e for t in range(60) for e in feed(line, reading(t, hr=180, rr=40)).events]
    for event in events:
        apply_alert(view, event)
        apply_alert(view, event)
    assert alarm_state(view) == "high"
    assert encode_bed(view)["al"] == "high"
    assert not encode_bed(view)["ack"]
    for event in [e for t in range(60, 99) for e in feed(line, reading(t, hr=80, rr=15)).events]:
        apply_alert(view, event)
    assert alarm_state(view) == "none"


def test_silent_bed_is_technical():
    view = BedView("h/icu/b1")
    line = pipeline()
    feed(line, reading(0, hr=72))
    [event] = line.tick(T0 + 60 * S)
    apply_alert(view, event)
    assert alarm_state(view) == "technical"


def test_every_word_is_in_both_languages():
    words = WORDS | SCREEN_WORDS
    assert all(len(texts) == 2 and all(texts) for texts in words.values())
    assert not WORDS.keys() & SCREEN_WORDS.keys()
    assert script_words("zh").keys() == script_words("en").keys()


SAID = re.compile(r'say\("([A-Za-z0-9_-]+)"')
EITHER = re.compile(r'say\([^()]*\? "([a-z0-9_]+)" : "([a-z0-9_]+)"')


def test_every_word_that_a_script_says_is_there():
    said = set()
    for path in Path("dashboard/assets").rglob("*.js"):
        text = path.read_text("utf-8")
        said |= set(SAID.findall(text))
        said |= {word for pair in EITHER.findall(text) for word in pair}
    assert len(said) > 200
    assert said - script_words("zh").keys() == set()


def test_a_bed_page_is_told_of_alerts_elsewhere_that_nobody_has_taken():
    views = [BedView("h/icu/b1"), BedView("h/icu/b2")]
    line = pipeline()
    for t in range(3):
        for event in feed(line, reading(t, bed="h/icu/b2", spo2=70)).events:
            apply_alert(views[1], event)
    assert open_elsewhere(views, "h/icu/b1") == {"high": 1, "medium": 0, "low": 0}
    assert open_elsewhere(views, "h/icu/b2") == {"high": 0, "medium": 0, "low": 0}


def test_sparkline_keeps_a_point_each_ten_seconds_and_says_what_was_not_there():
    view = BedView("h/icu/b1")
    for t in range(700):
        values = {"hr": 80} if 20 <= t < 40 else {"hr": 80, "spo2": 97}
        apply_reading(view, judged(reading(t, **values))[0])
    assert len(view.sparks) == 60
    times = [at for at, _, _ in view.sparks]
    assert {b - a for a, b in pairwise(times)} == {10_000}
    view = BedView("h/icu/b1")
    for t in range(40):
        values = {"hr": 80} if 20 <= t < 40 else {"hr": 80, "spo2": 97}
        apply_reading(view, judged(reading(t, **values))[0])
    assert [spo2 for _, _, spo2 in view.sparks] == [97, 97, 97, None]


def test_change_of_news2_is_told_after_ten_minutes_and_never_across_more_than_an_hour():
    view = BedView("h/icu/b1", observed={
        "acvpu": Observed(0, T0, "n"), "on_oxygen": Observed(0, T0, "n")
    })  # fmt: skip

    def scored(minutes, rr):
        at_ms = T0 // MS + minutes * 60_000
        for name, value in {"rr": rr, "spo2": 98, "abp_sys": 120, "hr": 80, "temp": 37}.items():
            view.vitals[name] = (value, at_ms, "ok", 1.0)
        score(view, at_ms)
        return view.news2[0], news2_change(view)

    assert scored(0, 16) == (0, None)
    assert scored(5, 22) == (2, None)
    assert scored(10, 22) == (2, 2)
    assert scored(90, 26) == (3, None)


def test_the_vital_in_alarm_is_named_with_its_worst_priority():
    view, line = BedView("h/icu/b1"), pipeline()
    for t in range(3):
        for event in feed(line, reading(t, bed="h/icu/b1", spo2=70, hr=80)).events:
            apply_alert(view, event)
    assert encode_bed(view)["bad"] == {"spo2": "high"}
    for event in list(view.alerts.values()):
        apply_alert(view, replace(event, muted_by="pause"))
    assert "bad" not in encode_bed(view)


def test_what_people_do_about_a_bed_is_sent_only_when_there_is_anything():
    view = BedView("h/icu/b1")
    assert not {"lo", "q", "w", "bad"} & encode_bed(view).keys()
    view.loops = Loops(waiting=1, consult="c1")
    view.questions, view.watchers = ["jump"], ("expert",)
    shown = encode_bed(view)
    assert (shown["lo"][0], shown["lo"][5]) == (1, "c1")
    assert (shown["q"], shown["w"]) == (["jump"], ("expert",))
