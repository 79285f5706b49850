"""What of a request the audit keeps, and what it never keeps."""

import pytest

from dashboard.trail import Recent, asked_of, detail_of, object_of, what_of
from hub.audit import BEGIN, Entry, Waiting, seal
from hub.vault import Vault
from schemas.errors import StoreError
from schemas.times import to_datetime


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("WEBSOCKET", "/ws/bed/h/u/b", "see-bed"),
        ("GET", "/bed/h/u/b", ""),
        ("GET", "/api/units/h/u/handover", "see-identity"),
        ("WEBSOCKET", "/ws/wall", "see-wall"),
        ("GET", "/api/beds/h/u/b/patient", "see-identity"),
        ("GET", "/api/beds/h/u/b/waves", "read-waves"),
        ("GET", "/assets/kit.js", ""),
        ("DELETE", "/api/access/sessions", "DELETE sessions"),
        ("POST", "/api/beds/h/u/b/alerts/a1/acknowledge", "POST acknowledge"),
        ("POST", "/login", ""),
    ],
)
def test_what_a_request_does(method, path, what):
    assert what_of(method, path) == what


def test_what_it_is_about():
    assert object_of("/api/units/h/u/handover") == "h/u"
    assert object_of("/api/consults/c1/accept") == "/api/consults/c1/accept"


def test_a_search_is_about_whom_it_names():
    one, other = (asked_of("/fhir/Observation", b"_count=5&patient=" + s) for s in (b"s1", b"s2"))
    assert (one, other) == ("/fhir/Observation?patient=s1", "/fhir/Observation?patient=s2")
    assert asked_of("/fhir/Flag", b"status=active") == "/fhir/Flag"
    assert "\0" not in asked_of("/fhir/Patient", b"_id=%00\xff")


def test_names_and_what_people_wrote_are_left_out():
    body = b'{"bed": "h/u/b", "name": "X", "note": "Y", "reason": "Z", "age": 3, "minutes": 5}'
    assert detail_of("/api/care/stays", body) == {"bed": "h/u/b", "minutes": 5}
    assert detail_of("/api/care/stays", b"\xff{") == {}


def test_a_seal_covers_every_column_and_the_line_before():
    row = {
        "id": "i",
        "at": to_datetime(0),
        **dict.fromkeys(("who", "role", "what", "object", "outcome", "address", "detail"), "x"),
    }
    key = bytes(32)
    first = seal(key, BEGIN, 1, row)
    for column in row:
        changed = row | {column: to_datetime(1_000) if column == "at" else "y"}
        assert seal(key, BEGIN, 1, changed) != first
    assert seal(key, first, 1, row) != first
    assert seal(key, BEGIN, 2, row) != first
    assert seal(bytes([1] * 32), BEGIN, 1, row) != first


def test_what_waits_survives_its_process(tmp_path):
    waiting = Waiting(tmp_path)
    waiting.add(Entry(1, "nurse", "county-nurse", "see-bed"))
    waiting.close()
    again = Waiting(tmp_path)
    [(number, entry)] = again.oldest()
    assert (entry.who, len(entry.id), len(again)) == ("nurse", 32, 1)
    again.drop(number)
    assert len(again) == 0
    again.close()


def test_a_journal_that_cannot_be_written_is_counted_and_stops_nobody(tmp_path):
    waiting = Waiting(tmp_path)
    waiting.close()
    waiting.add(Entry(1, "nurse", "county-nurse", "see-bed"))
    assert waiting.refused == 1


def test_looking_again_soon_is_no_line():
    recent = Recent()
    assert [recent.again("n", "bed"), recent.again("n", "bed"), recent.again("m", "bed")] == [
        False,
        True,
        False,
    ]


def test_the_vault_opens_only_what_it_sealed_for_whom():
    old, new = Vault([bytes(32)]), Vault([bytes([1] * 32), bytes(32)])
    sealed = old.seal("stay-1", "张三")
    assert "张三".encode() not in sealed
    assert new.open("stay-1", sealed) == "张三"
    with pytest.raises(StoreError, match="exchanged"):
        new.open("stay-2", sealed)
    with pytest.raises(StoreError, match="another key"):
        Vault([bytes([2] * 32)]).open("stay-1", sealed)
    with pytest.raises(StoreError):
        new.open("stay-1", b"forged")
