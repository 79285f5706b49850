"""Segments, fields, escapes and encodings, as senders write them."""

from datetime import UTC, timedelta, timezone

import pytest

from ingest.hl7.acknowledge import Verdict, answer, code_of
from ingest.hl7.message import Delimiters, guess_charset, parse, unescape
from ingest.hl7.times import parse_time
from schemas.errors import DecodeError
from tests.support.hl7 import NOW

HEAD = "MSH|^~\\&|A|B|C|D|20261128||ORU^R01|1|P|2.6"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\n\r", "\r\r\n"])
def test_segments_end_with_whatever_they_end_with(end):
    message = parse(end.join([HEAD, "PID|||1", "OBX|1|NM|x"]).encode() + end.encode())
    assert [s.name for s in message.segments] == ["MSH", "PID", "OBX"]
    assert message.control_id == "1"
    assert message.kind == ("ORU", "R01")


@pytest.mark.parametrize(
    ("charset", "written", "read"),
    [
        ("utf-8", "UNICODE UTF-8", "utf-8"),
        ("utf-8", "", "utf-8"),
        ("gb18030", "GB 18030-2000", "gb18030"),
        ("gb18030", "", "gb18030"),
        ("gb18030", "UNICODE UTF-8", "gb18030"),
        ("gb18030", "martian", "gb18030"),
    ],
)
def test_chinese_is_read_whatever_msh_18_says(charset, written, read):
    text = f"MSH|^~\\&|A||||||ORU^R01|1|P|2.6||||||{written}\rPID|||1||张^三\rPV1||I|重症^^3床"
    message = parse(text.encode(charset))
    assert message.charset == read
    assert message.first("PID").components(5) == ["张", "三"]
    assert bool(message.notes) == (written not in ("", "GB 18030-2000") and charset == "gb18030")


def test_western_letters_are_not_taken_for_chinese():
    for name in ("Müller^Jörg", "José|x", "Łuk"):
        assert guess_charset(f"PID|||1||{name}".encode("latin-1", "replace")) != "gb18030"
    message = parse(f"{HEAD}\rPID|||1||Müller^José".encode("latin-1"))
    assert message.first("PID").components(5) == ["Müller", "José"]
    assert guess_charset("张三".encode("gb18030")) == "gb18030"


def test_the_backslash_that_was_lost_is_there_again():
    message = parse(b"MSH|^~&|A||||||ORU^R01|1\rPV1||I|OR^^OR&ICU&B1")
    assert message.marks == Delimiters()
    assert message.first("PV1").components(3)[2] == "OR&ICU&B1"


def test_other_delimiters_are_what_msh_says():
    message = parse(b"MSH#*~\\&#A######ORU*R01#1\rPID###1##a*b")
    assert message.first("PID").components(5) == ["a", "b"]


def test_escapes_are_undone_once():
    marks = Delimiters()
    assert unescape("\\E\\F\\E\\", marks) == "\\F\\"
    assert unescape("a\\F\\b\\S\\c\\T\\d\\R\\e", marks) == "a|b^c&d~e"
    assert unescape("\\X414243\\", marks) == "ABC"
    assert unescape("\\X4\\ \\Zfoo\\ \\", marks) == "\\X4\\ \\Zfoo\\ \\"
    assert len(unescape("\\" * 100_000, marks)) == 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MSH",
        b"PID|1",
        b"\x00\x01",
        b"MSH||||",
        b"MSHabc^~&",
        b"MSH\n^~\\&|H|||||",
        b"MSH|||||",
    ],
)
def test_what_is_no_message_says_so(data):
    with pytest.raises(DecodeError):
        parse(data)


EAST = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("20260124131540000+0800", 1769231740_000000000),
        ("20260912120000.0000+0530", 1789194600_000000000),
        ("20261128160000", 1795852800_000000000),
        ("20261128160000.25", 1795852800_250000000),
        ("20261128", 1795795200_000000000),
        ("20261128080000Z", 1795852800_000000000),
        ("00000000000000", None),
        ("20261340", None),
        ("20261128160000+8800", None),
        ("20261128160000-0330", 1795894200_000000000),
        ("0", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_times_with_and_without_a_zone(text, ns):
    assert parse_time(text, EAST) == ns


def test_a_zone_is_used_only_where_none_is_said():
    assert parse_time("20261128080000+0000", EAST) == parse_time("20261128080000", UTC)


@pytest.mark.parametrize(
    ("modes", "ok", "bad"),
    [
        ("|", "AA", "AE"),
        ("AL|NE", "CA", "CE"),
        ("NE|AL", "AA", "AE"),
        ("AL|AL", "AA", "AE"),
        ("NE|NE", None, None),
        ("ER|NE", None, "CE"),
        ("SU|NE", "CA", None),
        ("NE|ER", None, "AE"),
    ],
)
def test_msh_15_and_16_say_who_is_answered_what(modes, ok, bad):
    message = parse(f"{HEAD}|||{modes}".encode())
    assert code_of(message, Verdict.ACCEPT) == ok
    assert code_of(message, Verdict.ERROR) == bad


def test_an_answer_is_addressed_back_in_the_senders_own_way():
    message = parse(HEAD.encode())
    data = answer(message, "AE", "x|y^z", "data", "n1", NOW)
    assert data.startswith(b"\x0bMSH|^~\\&|C|D|A|B|20261128080000+0000||ACK^R01|n1|P|2.6\r")
    back = parse(data)
    assert back.first("MSA").fields[1:3] == ["AE", "1"]
    assert back.first("ERR").component(3) == "102"
    assert back.first("ERR").component(8) == "x|y^z"
    old = parse(HEAD.replace("2.6", "2.3.1").encode())
    told = parse(answer(old, "AE", "why", "data", "n1", NOW))
    assert told.first("MSA").component(3) == "why"
    assert told.first("ERR") is None
    chinese = parse("MSH|^~\\&|科曼||||||ORU^R01^ORU_R01|1|P|2.6||||||GB18030".encode("gb18030"))
    assert "科曼".encode("gb18030") in answer(chinese, "AA", "", "data", "n", NOW)
