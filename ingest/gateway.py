"""The HL7 gateway: monitors connect over MLLP, and what they say goes to the broker.

Theory of operation: each connection is a ``Line`` with a framer and a memory of its own. Its
messages are taken one after the other: read (``ingest.hl7``, pure), published, and acknowledged
when the broker has all that was made of them. While the broker is away a message waits ``hold_s``,
then its sender is told to send it again; what comes again is known by its key. Nothing is kept
here: a message that is not acknowledged is still the sender's.

A line that sends faster than the broker takes is not read from; a line of garbage costs its own
answers and nothing else. What was dropped is counted by device and reason, with its newest example,
from which patients' segments are left out.
"""

import asyncio
import hmac
import socket
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import token_hex
from typing import cast

import structlog

from hub import secret_files
from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from hub.health import Reporter
from hub.settings import Settings
from ingest.hl7.acknowledge import Verdict
from ingest.hl7.mllp import Frame, FrameKind, Framer
from ingest.hl7.outgoing import Cadence, Outgoing, Sender, alarm_end, compose
from ingest.hl7.places import unassigned
from ingest.hl7.profiles import Profile
from ingest.hl7.reading import Read, read, read_frame
from ingest.hl7.translate import AlarmsOn, Memory, Outcome, Site
from ingest.rejects import RejectState, drain, put_back, reject
from schemas.admissions import Admission
from schemas.codec import encode_rejected
from schemas.errors import BrokerError, CareError, HubError, StoreError
from schemas.times import S
from schemas.topics import rejected_topic

log = structlog.get_logger()

QUEUE = 64
"""Messages of one connection that wait for their turn; beyond, it is not read from."""
SENDERS_KEPT = 4_000
ALARMS_KEPT = 8_000
REJECTED_PERIOD_S = 2.0
REPORT_BYTES = 500_000
SWEEP_S = 10.0
PATIENT_KEY = "patient-reference.key"
_SHOWN = (b"MSH", b"OBR", b"OBX", b"EVN")
"""Segments that may be kept as an example: none says who the patient is."""
Admit = Callable[[Admission], Awaitable[str]]


class Line(asyncio.Protocol):
    """One connection of a sender."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._framer = Framer()
        self._frames: deque[Frame] = deque()
        self._work: asyncio.Task[None] | None = None
        self._paused = False
        self.memory = Memory(alarms_on=gateway.alarms_on)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, unless there are too many."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.memory.peer = peer[0] if peer else ""
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not self._gateway.open(self):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes; whole messages are worked off in their order."""
        self._queue(self._framer.feed(data))

    def eof_received(self) -> bool:
        """Take what was left; the connection stays until it is answered."""
        self._queue(self._framer.close())
        return self._work is not None

    def connection_lost(self, _: Exception | None) -> None:
        """Note that the line is gone. Whole messages that came before it are taken still."""
        self._queue(self._framer.close())
        self._gateway.close(self)

    def _queue(self, frames: list[Frame]) -> None:
        self._frames.extend(frames)
        if self._frames and self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._run(), name="hl7-line")
            self._gateway.works.add(self._work)
            self._work.add_done_callback(self._gateway.works.discard)
        line = self.transport
        if (
            len(self._frames) > QUEUE
            and line is not None
            and not (self._paused or line.is_closing())
        ):
            self._paused = True
            line.pause_reading()

    async def _run(self) -> None:
        try:
            while self._frames:
                reply = await self._gateway.take(self.memory, self._frames.popleft())
                line = self.transport
                if line is None or line.is_closing():
                    continue
                if reply is not None:
                    line.write(reply)
                if self._paused and len(self._frames) <= QUEUE // 2:
                    self._paused = False
                    line.resume_reading()
        finally:
            self._work = None


class Gateway:
    """The server, its connection to the broker, and the counts of what passed."""

    def __init__(
        self,
        settings: Settings,
        profiles: list[Profile],
        site: Site,
        admit: Admit | None = None,
    ) -> None:
        self._settings, self._profiles, self._site = settings, profiles, site
        self._admit = admit
        self._boot = token_hex(4)
        self._key = secret_files.key(settings.data, PATIENT_KEY)
        self._lines: set[Line] = set()
        self._senders: OrderedDict[tuple[str, str], Sender] = OrderedDict()
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._rejects = RejectState(self._boot)
        self._number = 0
        self._counts = dict.fromkeys(
            (
                "connections",
                "refused_connections",
                "messages",
                "accepted",
                "errors",
                "rejected",
                "readings",
                "missing",
                "waves",
                "alarms",
                "admissions",
                "dropped",
                "hub_clock_used",
                "unassigned",
            ),
            0,
        )
        self.works: set[asyncio.Task[None]] = set()
        self.alarms_on: dict[tuple[str, str], AlarmsOn] = {}
        self.port = 0
        name = f"gateway-{site.places.hospital}"
        self._reporter = Reporter(name, self.counters)
        self._client_id = f"vigil-hl7-{site.places.hospital}-{settings.gateway.port}"

    def counters(self) -> dict[str, float]:
        """Return what has passed since the start, and what is here now."""
        return {**self._counts, "lines": len(self._lines), "waiting": len(self.works)}

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, through any number of losses of the broker."""
        told = self._settings.gateway
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: Line(self), told.host, told.port, backlog=512)
        except OSError as error:
            raise HubError(
                f"gateway: {told.host}:{told.port}: {error.strerror}; set VIGIL_GATEWAY__PORT"
            ) from None
        self.port = server.sockets[0].getsockname()[1]
        log.info("gateway_listens", host=told.host, port=self.port)
        try:
            await stay_connected(self._connect, lambda c: self._serve(c, stop), stop)
        finally:
            server.close()
            for line in list(self._lines):
                if line.transport is not None:
                    line.transport.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.gather(*self.works, return_exceptions=True)
            log.info("gateway_stopped", **self.counters())

    def _connect(self) -> Connection:
        return Connection(
            self._settings.broker_address, self._client_id, will=self._reporter.will()
        )

    async def _serve(self, connection: Connection, stop: asyncio.Event) -> None:
        self._connection = connection
        self._connected.set()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._reporter.run(connection), name="health"),
                    group.create_task(self._report(connection), name="rejected"),
                    group.create_task(self._sweep(connection), name="sweep"),
                    group.create_task(_watch(connection), name="watch"),
                ]
                await stop.wait()
                for task in tasks:
                    task.cancel()
            await self._reporter.leave(connection)
        finally:
            self._connection = None
            self._connected.clear()

    async def _report(self, connection: Connection) -> None:
        """Say every few seconds what was refused."""
        topic = rejected_topic(self._site.places.hospital)
        while True:
            await asyncio.sleep(REJECTED_PERIOD_S)
            kinds = drain(self._rejects)
            try:
                for payload in encode_rejected(kinds, REPORT_BYTES) if kinds else ():
                    await connection.publish(topic, payload)
            except BrokerError:
                put_back(self._rejects, kinds)
                raise

    async def _sweep(self, connection: Connection) -> None:
        """End alarms of dialects that say no end, when they are not said again."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = now_ns()
            for on in self.alarms_on.values():
                if on.ends_after_s and on.by_key and now - on.said_ns > on.ends_after_s * S:
                    for alarm in on.by_key.values():
                        ended = alarm_end(alarm, alarm.bed, now)
                        await connection.publish(ended.topic, ended.payload)
                    on.by_key = {}
            while len(self.alarms_on) > ALARMS_KEPT:
                self.alarms_on.pop(next(iter(self.alarms_on)))

    def open(self, line: Line) -> bool:
        """Take note of a connection; False when there are too many."""
        if len(self._lines) >= self._settings.gateway.max_connections:
            self._counts["refused_connections"] += 1
            return False
        self._counts["connections"] += 1
        self._lines.add(line)
        return True

    def close(self, line: Line) -> None:
        """Take note that a connection is over."""
        self._lines.discard(line)

    async def take(self, memory: Memory, frame: Frame) -> bytes | None:
        """Take one frame; return what its sender is answered, None for nothing."""
        if frame.kind is not FrameKind.MESSAGE:
            return self._refuse_frame(memory, frame)
        received_ns = now_ns()
        self._counts["messages"] += 1
        one = read(frame.data, self._profiles, self._site, memory, received_ns)
        self._note(one, frame.data, memory, received_ns)
        if one.verdict is Verdict.ACCEPT:
            try:
                await self._pass_on(one.outcome, memory, received_ns)
            except BrokerError:
                one.verdict, one.what = Verdict.ERROR, "internal"
                one.why = "the message bus is away; send it again"
            except CareError as error:
                one.verdict, one.what, one.why = Verdict.ERROR, "identity", str(error)
                self._reject(one.outcome.device, "admission", str(error), frame.data, received_ns)
            except StoreError as error:
                one.verdict, one.what, one.why = Verdict.ERROR, "internal", str(error)
        words = {Verdict.ACCEPT: "accepted", Verdict.ERROR: "errors", Verdict.REJECT: "rejected"}
        self._counts[words[one.verdict]] += 1
        return self._answer(one)

    def _refuse_frame(self, memory: Memory, frame: Frame) -> bytes | None:
        """Count a frame that is no whole message; answer it when it says who sent it."""
        now = now_ns()
        self._counts["rejected"] += 1
        one = read_frame(frame, self._profiles, self._site, memory, now)
        self._reject(memory.device or memory.peer, frame.kind, one.why, frame.data, now)
        return self._answer(one)

    def _answer(self, one: Read) -> bytes | None:
        self._number += 1
        return one.answer(f"{self._boot}{self._number}", now_ns())

    async def _pass_on(self, out: Outcome, memory: Memory, received_ns: int) -> None:
        """Publish what a message means, and wait until the broker has it."""
        if out.admission is not None:
            if self._admit is None:
                raise CareError("this gateway keeps no stays: send ADT to the hub's own")
            await self._admit(out.admission)
            self._counts["admissions"] += 1
        if not (out.readings or out.waves or out.alarms):
            return
        if out.bed is None:
            out.bed = unassigned(self._site.places, out.device)
            self._counts["unassigned"] += 1
        for alarm in out.alarms:
            alarm.bed = out.bed
        sender = self._sender(out, memory)
        messages, shifted = compose(out, sender, received_ns)
        await self._publish(messages)
        missing = sum(value.value is None for value in out.readings)
        self._counts["hub_clock_used"] += shifted
        self._counts["missing"] += missing
        self._counts["readings"] += len(out.readings) - missing
        self._counts["waves"] += len(out.waves)
        self._counts["alarms"] += len(out.alarms)

    def _sender(self, out: Outcome, memory: Memory) -> Sender:
        """Return the sender for a bed's device; the one that was silent longest is forgotten."""
        assert out.bed is not None
        key = (out.bed, out.device)
        sender = self._senders.get(key)
        if sender is None:
            cadence = Cadence(out.interval_s)
            sender = self._senders[key] = Sender(out.bed, out.device, self._boot, cadence)
            if len(self._senders) > SENDERS_KEPT:
                self._senders.popitem(last=False)
        self._senders.move_to_end(key)
        sender.patient = self._reference(memory.patient)
        return sender

    def _reference(self, patient: str) -> str:
        """Return an opaque reference to a patient: the same for the same one, and no more."""
        if not patient:
            return ""
        return "p-" + hmac.digest(self._key, patient.encode(), "sha256").hex()[:24]

    async def _publish(self, messages: list[Outgoing]) -> None:
        """Publish and wait for the broker's word; a broker that is away is waited for a while."""
        try:
            async with asyncio.timeout(self._settings.gateway.hold_s):
                while True:
                    await self._connected.wait()
                    if self._connection is None:
                        continue
                    try:
                        await _publish_all(self._connection, messages)
                    except BrokerError:
                        await asyncio.sleep(0.05)  # lost: the next connection tries all of it again
                        continue
                    return
        except TimeoutError:
            raise BrokerError("the message bus is away") from None

    def _note(self, one: Read, data: bytes, memory: Memory, now: int) -> None:
        """Count what was dropped of a message, with the segment as its example."""
        out = one.outcome
        device = out.device or memory.peer
        if out.refused is not None:
            reason, why = out.refused
            self._reject(device, reason, why, data, now)
        segments = one.message.segments if one.message is not None else []
        numbered = [s for s in segments if s.name == "OBX"]
        for dropped in out.dropped:
            if dropped.reason == "no_value":
                continue
            self._counts["dropped"] += 1
            at = dropped.segment.removeprefix("OBX-")
            shown = numbered[int(at) - 1].fields if at.isdecimal() else []
            self._reject(device, dropped.reason, dropped.detail, "|".join(shown).encode(), now)

    def _reject(self, device: str, reason: str, why: str, data: bytes, now: int) -> None:
        lines = [line for line in data.replace(b"\n", b"\r").split(b"\r") if line[:3] in _SHOWN]
        reject(
            self._rejects,
            device=device or "unknown",
            reason=f"hl7_{reason}",
            detail=why,
            topic=f"hl7:{self.port}",
            payload=b"\r".join(lines),
            now_ns=now,
        )


async def _publish_all(connection: Connection, messages: list[Outgoing]) -> None:
    """Publish all and wait for all; raise BrokerError when one did not arrive."""
    waiting = [connection.publish_soon(m.topic, m.payload, retain=m.retain) for m in messages]
    for done in waiting:
        await done


async def _watch(connection: Connection) -> None:
    """Notice when the broker is lost."""
    async for _ in connection.batches():
        pass
