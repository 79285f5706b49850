"""A plain MQTT client, as a stranger would write one: QoS 1, counts what was acknowledged."""

import json
import time
from typing import Any

import numpy as np
from msgspec.structs import replace
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from schemas.waves import WaveChunk, encode_chunk


class Publisher:
    """Publishes and remembers which messages the broker acknowledged."""

    def __init__(
        self, port: int, name: str = "stranger", signs_in: tuple[str, str] | None = None
    ) -> None:
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        if signs_in is not None:
            self.client.username_pw_set(*signs_in)
        self.acknowledged: set[int] = set()
        self.client.max_inflight_messages_set(0)
        self.client.on_publish = lambda _c, _d, mid, _r, _p: self.acknowledged.add(mid)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def waves(self, bed: str, seq: int, samples: Any, **more: Any) -> int:
        """Publish a chunk of ECG II, 100 Hz, that begins ``seq`` seconds after ``start_ns``."""
        start_ns = more.pop("start_ns")
        chunk = WaveChunk(
            bed=bed,
            channel=more.pop("channel", "ecg-ii"),
            device="mon-1",
            boot="b1",
            unit="mV",
            seq=seq,
            measured_ns=start_ns + seq * 1_000_000_000,
            sent_ns=time.time_ns(),
            received_ns=0,
            rate_hz=100.0,
            scale=0.005,
            zero=0.0,
            samples=np.asarray(samples, dtype=np.int16),
        )
        return self.send(
            f"vigil/v1/{bed}/waves/{chunk.channel}", encode_chunk(replace(chunk, **more))
        )

    def send(
        self, topic: str, payload: bytes | str | dict[str, Any], *, retain: bool = False
    ) -> int:
        """Publish at QoS 1; return the message id."""
        body = json.dumps(payload) if isinstance(payload, dict) else payload
        return int(self.client.publish(topic, body, qos=1, retain=retain).mid)

    def numerics(
        self,
        bed: str,
        seq: int,
        vitals: dict[str, Any],
        *,
        measured_ms: int | None = None,
        device: str = "mon-1",
        **more: Any,
    ) -> int:
        """Publish one reading of a bed."""
        now_ms = time.time_ns() // 1_000_000
        message = {
            "v": 1,
            "device": device,
            "boot": "b1",
            "seq": seq,
            "measured_at": measured_ms or now_ms,
            "sent_at": now_ms,
            "vitals": vitals,
            **more,
        }
        return self.send(f"vigil/v1/{bed}/numerics", message)

    def drain(self, mids: set[int], timeout: float = 20) -> None:
        """Wait until the broker has acknowledged all of these."""
        deadline = time.monotonic() + timeout
        while not mids <= self.acknowledged:
            assert time.monotonic() < deadline, f"{len(mids - self.acknowledged)} not acknowledged"
            time.sleep(0.02)

    def close(self) -> None:
        """Leave."""
        self.client.disconnect()
        self.client.loop_stop()
