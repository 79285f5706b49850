"""The decoders, the errors that they may answer with, and mutations of what they read.

``python -m tests.fuzz.decoders --inputs 100000`` feeds each with so many and prints one JSON line.
An input passes when it is read, or refused with an error of ours, within ``SLOW_S``.
"""

import argparse
import atexit
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from alerts.rulesets import parse_baseline, parse_overlay
from care.notify import parse_people
from care.roles import parse_ladder
from hub.logs import quiet
from hub.mqtt import Receiver
from hub.sites import load_sites
from ingest.checkpoint import VERSION, Checkpoint
from ingest.checkpoint import encode as encode_checkpoint
from ingest.checkpoint import read as read_checkpoint
from ingest.hl7.mllp import Frame, Framer
from ingest.hl7.places import parse_places
from ingest.hl7.profiles import parse_profile
from ingest.hl7.reading import describe, frames_in, read_frame
from ingest.hl7.translate import Memory
from ingest.journal import read as read_journal
from schemas import codec
from schemas.errors import HubError
from schemas.judged import pack
from schemas.topics import parse_config, parse_topic
from schemas.wave_codec import decode_block, encode_block
from schemas.waves import WaveChunk, decode_chunk, encode_chunk
from schemas.wire import Health, Rejected
from simulators.recordings import read_csv
from simulators.wfdb_records import read_wfdb
from tests.support.hl7 import PROFILES, site
from tests.support.readings import T0, pipeline, reading

SLOW_S = 5
BED = "fuzz/icu/bed-01"
PACKS = Path(__file__).parents[2] / "alerts" / "packs"
INTERESTING = (
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"9223372036854775808",
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"\\u0000",
    b"\x00",
    b"\xff\xfe",
    b"\xf0\x9f\x92\x80",
    b"/../",
    b"[" * 200,
    b"{" * 200,
    b"\x80\x80\x80\x80\x80",
    b"'; DROP TABLE stay; --",
    b"<script>",
)
Decoder = Callable[[bytes], object]


def _numerics() -> bytes:
    message = {
        "v": 1,
        "device": "mon-1",
        "boot": "b1",
        "seq": 7,
        "measured_at": T0 // 1_000_000,
        "sent_at": T0 // 1_000_000 + 100,
        "vitals": {"hr": 80, "spo2": 97.5},
        "quality": {"spo2": "weak"},
    }
    return json.dumps(message).encode()


def _chunk() -> bytes:
    chunk = WaveChunk(
        bed=BED,
        channel="ecg-ii",
        device="mon-1",
        boot="b1",
        unit="mV",
        seq=1,
        measured_ns=T0,
        sent_ns=T0,
        received_ns=0,
        rate_hz=250.0,
        scale=0.005,
        zero=0.0,
        samples=np.arange(250, dtype=np.int16),
    )
    return encode_chunk(chunk)


_HEALTH = Health("intake", 1, "0.2", 1, 2, "running", "", {"accepted": 3.0})
_REJECTED = Rejected("e", "mon-1", "json", 3, 1, 2, "detail", "topic", "sample")


def _alert() -> bytes:
    """Return an alert event as intake publishes it."""
    one = pipeline()
    message = json.loads(_numerics()) | {"vitals": {"spo2": 60}}
    for seq in range(4):
        at_ms = T0 // 1_000_000 + 1000 * seq
        body = json.dumps(message | {"seq": seq, "measured_at": at_ms, "sent_at": at_ms}).encode()
        found = one.message(f"vigil/v1/{BED}/numerics", body, at_ms * 1_000_000).events
        if found:
            return codec.encode_json(found[0])
    raise AssertionError("no alert came of an SpO2 of 60 %")


def _json(**fields: object) -> bytes:
    return json.dumps({"v": 1, **fields}).encode()


def _from_file(name: str, read: Callable[[Path], object]) -> Decoder:
    """Return a decoder of what is read from a file."""
    folder = tempfile.TemporaryDirectory(prefix="vigil-fuzz-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / name
    quiet()

    def decode(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return decode


def _wfdb(path: Path) -> object:
    samples = path.with_suffix(".dat")
    if not samples.exists():
        samples.write_bytes(bytes(range(256)) * 8)
        segment = "seg 1 250 250\nrec.dat 16 200 16 0 1 1 0 II\n"
        path.with_name("seg.hea").write_text(segment, "utf-8")
    return read_wfdb(path)


def _mqtt(data: bytes) -> object:
    receiver = Receiver(lambda *_: None)
    out = []
    for cut in range(0, len(data), 7):
        out += receiver.feed(data[cut : cut + 7], 1)
    return out


def _csv(data: bytes) -> object:
    return read_csv(data.decode("utf-8", "replace").splitlines(), "fuzz.csv")


OVERLAY = b"""name = "o"
for = "fuzz"

[[set]]
rule = "spo2_low"
below = 88
"""
PEOPLE = b"""[[person]]
name = "li"
language = "zh"
urls = ["json://127.0.0.1:9/li"]
"""


def _checkpoint() -> bytes:
    """Return a checkpoint of an intake that has seen a bed."""
    one = pipeline()
    one.message(f"vigil/v1/{BED}/numerics", _numerics(), T0)
    return encode_checkpoint(Checkpoint(VERSION, one.state, [], 1))


BASELINE = (PACKS / "adult.toml").read_bytes()
_base = parse_baseline(BASELINE, PurePath("adult.toml"))
_block = encode_block(np.arange(500, dtype=np.int16))
_publish = b"\x32\x13\x00\x05a/b/c\x00\x01hello world"

_HL7 = [
    b"\r".join(
        [
            b"MSH|^~\\&|A^1^EUI-64||||20261128160000+0800||ORU^R01^ORU_R01|1|P|2.6|||AL|NE||GB18030",
            b"PID|||1^^^H^MR||\xd5\xc5^\xc8\xfd",
            b"PV1||I|ICU^^ICU&Bed5&3232241659&0&0",
            b"OBR|1|||1^x|||20261128155959|20261128160000",
            b"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4|70|264864^MDC_DIM_BEAT_PER_MIN^MDC",
            b"OBX|2|NM|0002-4bb8^SpO2^MDIL||98|0004-0220^%^MDIL|||||F|||20261128160000",
            b"OBX|3|NA|131330^MDC_ECG_ELEC_POTL_II^MDC|1.1|1^2^3^-4.5",
            b"OBX|4|NM|0^MDC_ATTR_SAMP_RATE^MDC|1.1.1|250",
            b"OBX|5|TX|2^Yellow^MDIL-ALERT||SpO2 \\T\\ High \\X41\\",
        ]
    ),
    b"MSH|^~\\&|||||||ORU^R01|54|P|2.3.1|\rOBX||CE|2|1|10002^**HR TOO LOW||||||F",
    b"MSH|^~\\&|H||||||ADT^A01|1|P|2.4\rEVN|A01|20261128\rPID|||P1^^^^MR||a^b||19600101\rPV1||I|ICU^^1",
]


def _described(frame: Frame) -> object:
    return describe(read_frame(frame, PROFILES, site(), Memory(), T0))


def _frames(data: bytes) -> object:
    framer = Framer(limit=4_096)
    return (
        framer.feed(data[: len(data) // 2]) + framer.feed(data[len(data) // 2 :]) + framer.close()
    )


TARGETS: dict[str, tuple[Decoder, list[bytes]]] = {
    "numerics": (lambda d: codec.decode_numerics(BED, d, T0), [_numerics()]),
    "status": (codec.decode_status, [_json(device="mon-1", state="offline", interval_s=1)]),
    "command": (
        codec.decode_command,
        [_json(id="c1", kind="acknowledge", by="x", at_ns=1, alert="a")],
    ),
    "observation": (
        codec.decode_observation,
        [_json(id="o1", by="x", at=1, values={"acvpu": "A", "on_oxygen": True})],
    ),
    "device_alarm": (
        codec.decode_device_alarm,
        [_json(device="m", id="1", alarm="asystole", priority="high", phase="start", at=1)],
    ),
    "care": (
        codec.decode_care,
        [_json(at_ns=1, beds={BED: {"stay": "s", "age": 3}}, units={"fuzz/icu": {}})],
    ),
    "presence": (codec.decode_presence, [_json(at_ns=1, units={"fuzz/icu": {"nurse": 1}})]),
    "line": (codec.decode_line, [_json(at_ns=1, backlog=3)]),
    "rules": (
        codec.decode_rules,
        [_json(at_ns=1, by="x", reason="y", baseline="", overlays={"a.toml": "x=1"})],
    ),
    "judged": (
        codec.decode_judged,
        [codec.encode_judged(pack([reading(0, hr=72), reading(1, spo2=90)], T0))],
    ),
    "alert": (codec.decode_alert, [_alert()]),
    "health": (codec.decode_health, [codec.encode_json(_HEALTH)]),
    "rejected": (codec.decode_rejected, [codec.encode_json([_REJECTED])]),
    "waves": (lambda d: decode_chunk(BED, "ecg-ii", d, T0), [_chunk()]),
    "wave_block": (lambda d: decode_block(d, 500), [_block]),
    "topic": (
        lambda d: parse_topic(d.decode("utf-8", "replace")),
        [b"vigil/v1/kaihua/icu/bed-01/numerics"],
    ),
    "config_topic": (
        lambda d: parse_config(d.decode("utf-8", "replace")),
        [b"vigil/v1/kaihua/config/care"],
    ),
    "hl7": (lambda d: list(map(_described, frames_in(d))), _HL7),
    "mllp": (_frames, [b"".join(b"\x0b" + one + b"\x1c\r" for one in _HL7)]),
    "hl7_beds": (
        lambda d: parse_places(d, PurePath("beds.toml")),
        [b'hospital = "h"\n[beds]\n"ICU^^5" = "icu/bed-05"\n'],
    ),
    "hl7_profile": (
        lambda d: parse_profile(d, PurePath("p.toml")),
        [b'name = "a"\ntitle = "b"\nrecognise = { sender = "x" }\n[codes]\n"1" = "hr"\n'],
    ),
    "mqtt": (_mqtt, [_publish + b"\x40\x02\x00\x07" + _publish + b"\xd0\x00"]),
    "csv": (_csv, [b"t_seconds,hr,spo2\n0,80,97\n1,81,98\n2,,98\n"]),
    "wfdb": (
        _from_file("rec.hea", _wfdb),
        [
            b"rec 2 250 500\nrec.dat 16 200 16 0 1 1 0 II\nrec.dat 16 200/mV 16 0 1 1 0 PLETH\n",
            b"rec/2 1 250 500\nseg 250\nseg 250\n",
        ],
    ),
    "baseline": (lambda d: parse_baseline(d, PurePath("f.toml")), [BASELINE]),
    "overlay": (
        lambda d: parse_overlay(d, PurePath("o.toml"), _base),
        [OVERLAY],
    ),
    "people": (
        lambda d: parse_people(d, PurePath("p.toml")),
        [PEOPLE],
    ),
    "ladder": (
        lambda d: parse_ladder(d, PurePath("l.toml")),
        [b'[[step]]\nrole = "county-nurse"\nafter_s = { high = 0 }\n'],
    ),
    "sites": (
        _from_file("sites.toml", load_sites),
        [
            b'[[hospital]]\nid="h"\nzh="h"\nen="h"\n[[hospital.unit]]\nid="u"\nzh="u"\nen="u"\nbeds=["b1"]\n'
        ],
    ),
    "checkpoint": (_from_file("checkpoint.msgpack", read_checkpoint), [_checkpoint()]),
    "journal": (
        _from_file("journal-000000000001", lambda path: list(read_journal(path.parent, 0))),
        [b"\x00\x00\x00\x0c\x91\x94\xa1t\xc4\x02{}\x01\xc2"],
    ),
}


def mutate(seed: bytes, rng: random.Random) -> bytes:
    """Return a seed with a few things changed, or noise."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(300))
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 2:
            data[at:at] = rng.choice(INTERESTING)
        elif kind == 3:
            del data[at : at + rng.randrange(1, 20)]
        elif kind == 4:
            data[at:at] = data[: rng.randrange(1, 40)]
        elif kind == 5:
            del data[at:]
        else:
            data[at : at + rng.randrange(1, 6)] = rng.choice(INTERESTING)
    return bytes(data)


class Hung(BaseException):
    """A decoder that does not come to an end."""


def _hang(*_: Any) -> None:
    raise Hung


def fuzz(name: str, inputs: int, seed: int) -> dict[str, Any]:
    """Feed a decoder; return how many inputs it read and refused, and the first it died of."""
    decode, seeds = TARGETS[name]
    rng = random.Random(f"{name}-{seed}")
    read = refused = 0
    slowest = 0.0
    signal.signal(signal.SIGALRM, _hang)
    for good in seeds:
        for number in range(inputs // len(seeds)):
            data = mutate(good, rng) if number else good
            signal.alarm(SLOW_S)
            began = time.perf_counter()
            try:
                decode(data)
                read += 1
            except HubError:
                refused += 1
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
                signal.alarm(0)
                what = f"{type(error).__name__}: {error}"[:300]
                return {"inputs": read + refused, "died_of": repr(data)[:600], "error": what}
            slowest = max(slowest, time.perf_counter() - began)
    signal.alarm(0)
    return {
        "inputs": read + refused,
        "read": read,
        "refused": refused,
        "slowest_s": round(slowest, 3),
    }


def main() -> None:
    """Feed every decoder, or those that are named; exit 1 when one died."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    found = {}
    for name in asked.names or TARGETS:
        found[name] = fuzz(name, asked.inputs, asked.seed)
        sys.stderr.write(f"{name}: {found[name]}\n")
    sys.stdout.write(json.dumps(found) + "\n")
    sys.exit(any("error" in one for one in found.values()))


if __name__ == "__main__":
    main()
