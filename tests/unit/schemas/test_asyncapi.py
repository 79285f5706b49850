"""The AsyncAPI file says what the code does: real messages fit it, refused ones do not."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from schemas.codec import decode_numerics, encode_json, encode_numerics
from schemas.errors import DecodeError
from schemas.topics import Kind
from tests.support.readings import T0, feed, pipeline, reading

DOCUMENT = yaml.safe_load((Path(__file__).parents[3] / "docs" / "asyncapi.yaml").read_text("utf-8"))


def validator(name):
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return Draft202012Validator(schema)


def test_document_is_whole():
    assert DOCUMENT["asyncapi"] == "3.0.0"
    for operation in DOCUMENT["operations"].values():
        assert operation["channel"]["$ref"].rsplit("/", 1)[1] in DOCUMENT["channels"]
    for channel in DOCUMENT["channels"].values():
        for message in channel["messages"].values():
            name = message["$ref"].rsplit("/", 1)[1]
            payload = DOCUMENT["components"]["messages"][name]["payload"]["$ref"]
            assert payload.rsplit("/", 1)[1] in DOCUMENT["components"]["schemas"]
        kind = channel["address"].split("/")[5]
        assert kind in set(Kind)


def test_what_a_device_sends_fits():
    item = reading(0, hr=72, spo2=97)
    validator("Numerics").validate(json.loads(encode_numerics(item)))


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"device": "a b"},
        {"vitals": {}},
        {"vitals": {"HR": 1}},
        {"seq": -1},
        {"vitals": {"hr": "72"}},
        {"quality": {"hr": "frozen"}},
        {"interval_s": 0},
    ],
)
def test_document_and_decoder_refuse_the_same(change):
    body = json.loads(encode_numerics(reading(0, hr=72))) | change
    assert not validator("Numerics").is_valid(body)
    with pytest.raises(DecodeError):
        decode_numerics("h/icu/b1", json.dumps(body).encode(), T0)


def test_every_alert_event_fits():
    line = pipeline()
    events = [e for t in range(60) for e in feed(line, reading(t, hr=150 if t < 30 else 70)).events]
    events += line.tick(T0 + 10**12)
    assert {e.kind for e in events} == {"fired", "resolved"}
    for event in events:
        validator("Alert").validate(json.loads(encode_json(event)))
