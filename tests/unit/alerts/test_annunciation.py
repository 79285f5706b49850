"""What people see and hear, by priority, state and time."""

import pytest
from msgspec.structs import replace

from alerts.annunciation import SIGNALS, annunciate
from alerts.rules import Annunciation
from schemas.alerts import EventKind, Priority
from schemas.times import S
from tests.support.readings import T0, feed, pipeline, reading

SETTINGS = Annunciation(reminder_s=180)


def an_event(**changes):
    line = pipeline()
    [event] = [e for t in range(3) for e in feed(line, reading(t, spo2=75)).events]
    return replace(event, **changes)


def now(event, at_s=0, **paused):
    found = annunciate(event, SETTINGS, T0 + at_s * S, **paused)
    return found.visual, found.audio, found.reminder


def test_looks_and_sounds_are_the_standards():
    high, medium, low = (SIGNALS[p] for p in Priority)
    assert (high.mark, high.colour, high.pulses) == ("***", "red", 10)
    assert 1.4 <= high.flash_hz <= 2.8
    assert 0.2 <= high.duty <= 0.6
    assert 2.5 <= high.repeat_s <= 15
    assert (medium.mark, medium.pulses) == ("**", 3)
    assert 0.4 <= medium.flash_hz <= 0.8
    assert low.flash_hz == 0
    assert low.repeat_s > 15


@pytest.mark.parametrize(
    ("changes", "paused", "expected"),
    [
        ({}, {}, (True, True, False)),
        ({"latched": True, "kind": EventKind.LATCHED}, {}, (True, True, False)),
        ({"muted_by": "x"}, {}, (False, False, False)),
        ({"shelved_until_ns": 1}, {}, (False, False, False)),
        ({"extreme": False}, {"audio_paused": True}, (True, False, False)),
        ({"extreme": False}, {"alarm_paused": True}, (False, False, False)),
        ({}, {"alarm_paused": True}, (True, True, False)),
        ({}, {"audio_paused": True}, (True, True, False)),
    ],
)
def test_state_decides_what_is_annunciated(changes, paused, expected):
    assert now(an_event(**changes), **paused) == expected


def test_acknowledged_is_silent_until_the_reminder_comes_back():
    event = an_event(acknowledged_by="li", acknowledged_ns=T0)
    assert [now(event, t) for t in (10, 179, 181, 195, 361)] == [
        (True, False, False),
        (True, False, False),
        (True, False, True),
        (True, False, False),
        (True, False, True),
    ]
    calm = replace(event, priority=Priority.MEDIUM)
    assert now(calm, 181) == (True, False, False)
