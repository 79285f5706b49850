import asyncio
import threading

import pytest
from msgspec.structs import replace

from care.journal import Journal
from care.notifier import RETRY_S, Notifier
from care.notify import Person, notices, parse_people, wording
from hub.settings import NotifierSettings, Settings
from schemas.alerts import EventKind, Priority
from schemas.care import UnitCare
from schemas.errors import SettingsError
from schemas.times import S
from tests.support.readings import T0, feed, pipeline, reading

UNITS = {"h/icu": UnitCare((), {"county-nurse": ("li", "wang"), "charge-nurse": ("zhao",)})}


def an_event(bed="h/icu/b1", **changes):
    line = pipeline()
    fired = [e for t in range(3) for e in feed(line, reading(t, bed=bed, spo2=75)).events]
    return replace(fired[0], role="county-nurse", **changes)


def test_those_on_duty_in_the_role_are_told_once_for_ever():
    event = an_event()
    told = notices(event, UNITS)
    assert [n.person for n in told] == ["li", "wang"]
    assert notices(replace(event, at_ns=5), UNITS) == [replace_event(n, at_ns=5) for n in told]
    assert notices(replace(event, role="charge-nurse", kind=EventKind.ESCALATED, step=1), UNITS)


def replace_event(notice, **changes):
    from dataclasses import replace as copy

    return copy(notice, event=replace(notice.event, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": EventKind.ACKNOWLEDGED},
        {"kind": EventKind.FINDING},
        {"muted_by": "hospital_silent"},
        {"priority": Priority.LOW},
        {"role": ""},
        {"bed": "x/icu/b1"},
    ],
)
def test_nobody_is_told_of_what_calls_nobody(changes):
    assert notices(replace(an_event(), **changes), UNITS) == []


def test_words_are_one_sentence_and_say_that_a_phone_is_secondary():
    [notice, _] = notices(an_event(), UNITS)
    title, body = wording("zh", [notice])
    assert title.startswith("***")
    assert "血氧饱和度极低" in body
    assert "仅为辅助" in body
    assert "secondary" in wording("en", [notice])[1]


def test_a_power_cut_is_one_message_by_hospital():
    some = [notices(an_event(f"h/icu/b{i}"), UNITS)[0] for i in range(30)]
    _, body = wording("zh", some)
    assert "30 张床共 30 条报警" in body
    assert len(body.splitlines()) == 2


def test_people_file_names_what_is_wrong():
    from pathlib import PurePath

    good = parse_people(b'[[person]]\nname = "li"\nurls = ["json://x"]', PurePath("p.toml"))
    assert good == {"li": Person("li", ["json://x"])}
    with pytest.raises(SettingsError, match=r"p\.toml.*urls"):
        parse_people(b'[[person]]\nname = "li"', PurePath("p.toml"))


def test_journal_takes_each_notice_once_and_knows_what_was_begun(tmp_path):
    some = notices(an_event(), UNITS)
    journal = Journal(tmp_path / "j.sqlite")
    assert journal.promise(some, T0) == 2
    assert journal.promise(some, T0) == 0
    journal.mark([some[0].id], "begun", 1, 0)
    journal.close()
    again = Journal(tmp_path / "j.sqlite")
    assert [n.id for n in again.begun()] == [some[0].id]
    assert again.begun() == []
    assert [n.id for n, _ in again.due(T0)] == [some[1].id]
    assert again.promise(some, T0) == 0
    again.close()


class Told:
    """Stands for the world: what was sent to whom, and how it behaves."""

    def __init__(self, *answers):
        self.sent, self.answers = [], list(answers)
        self.release = threading.Event()

    def __call__(self, urls, title, body):
        self.sent.append((urls[0], body))
        answer = self.answers.pop(0) if self.answers else True
        if answer == "hang":
            self.release.wait(5)
            return True
        if isinstance(answer, Exception):
            raise answer
        return answer


def notifier(tmp_path, send, timeout_s=20.0, people=("li",)):
    settings = Settings(data=tmp_path, notifier=NotifierSettings(timeout_s=timeout_s))
    return Notifier(settings, {name: Person(name, [f"json://{name}"]) for name in people}, send)


async def tell(it):
    """Send what is due now, as the service's loop does."""
    some = it.journal.due(9 * 10**18)
    by_person = {}
    for notice, attempts in some:
        by_person.setdefault(notice.person, []).append((notice, attempts))
    await asyncio.gather(*(it.tell(name, found) for name, found in by_person.items()))
    return [(d.person, d.state, d.detail) for d in it.results]


async def test_notice_is_sent_and_reported(tmp_path):
    world = Told()
    it = notifier(tmp_path, world)
    it.journal.promise(notices(an_event(), UNITS), T0)
    assert sorted(await tell(it)) == [
        ("li", "sent", ""),
        ("wang", "failed", "no address for this person in people.toml"),
    ]
    assert [url for url, _ in world.sent] == ["json://li"]
    it.journal.close()


async def test_what_fails_is_shown_and_tried_again_and_a_raising_plugin_costs_one_attempt(tmp_path):
    world = Told(False, RuntimeError("no such token"), True)
    it = notifier(tmp_path, world)
    it.journal.promise(notices(an_event(), UNITS)[:1], T0)
    for _ in range(3):
        states = await tell(it)
    assert [s for _, s, _ in states] == ["failed", "failed", "sent"]
    assert "RuntimeError: no such token" in states[1][2]
    assert it.journal.waiting() == 0
    it.journal.close()


async def test_it_gives_up_in_the_end(tmp_path):
    it = notifier(tmp_path, Told(*[False] * 20))
    it.journal.promise(notices(an_event(), UNITS)[:1], T0)
    for _ in range(len(RETRY_S) + 1):
        await tell(it)
    assert await tell(it) != []
    assert it.journal.waiting() == 0
    it.journal.close()


async def test_one_that_hangs_holds_up_nobody_else(tmp_path):
    world = Told("hang", True)
    it = notifier(tmp_path, world, timeout_s=1.0, people=("li", "wang"))
    it.journal.promise(notices(an_event(), UNITS), T0)
    states = await tell(it)
    assert sorted((person, state) for person, state, _ in states) == [
        ("li", "failed"),
        ("wang", "sent"),
    ]
    world.release.set()
    it.journal.close()


def test_overflow_fails_the_oldest_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("care.journal.DUE_BOUND", 3)
    journal = Journal(tmp_path / "j.sqlite")
    for i in range(5):
        journal.promise(notices(an_event(f"h/icu/b{i}"), UNITS)[:1], T0 + i * S)
    assert [n.event.bed for n in journal.overflow()] == ["h/icu/b1", "h/icu/b0"]
    assert journal.waiting() == 3
    journal.close()
