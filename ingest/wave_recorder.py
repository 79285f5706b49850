"""The wave half of the recorder: chunks into the database, acknowledged after the commit.

A session, a database connection and a pace of its own: numbers never wait behind waves. Chunks are
kept as they come and turned into compressed blocks when they make a minute.
"""

import asyncio

import psycopg
import structlog
from psycopg import AsyncConnection

from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from hub.database import flavour_of, stay_with_database
from hub.mqtt import Envelope
from hub.settings import Settings
from ingest import rejects
from ingest.rejects import RejectState
from ingest.wave_blocks import BLOCK_S, IDLE_NS
from ingest.wave_store import WaveStore
from ingest.wave_track import WaveTrack
from schemas.codec import encode_rejected
from schemas.errors import BrokerError, DecodeError
from schemas.topics import REJECTED_TOPIC, WAVES_FILTER, parse_topic
from schemas.waves import WaveChunk, decode_chunk

log = structlog.get_logger()

CLIENT_ID = "vigil-recorder-waves"
BLOCK_PERIOD_S = 5.0
REPORT_PERIOD_S = 2.0


class WaveRecorder:
    """The shell around the wave store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chunks: list[WaveChunk] = []
        self._mids: list[int] = []
        self._rejects = RejectState(f"waves-{now_ns():x}")
        self._track = WaveTrack()
        self._stored = self._repeats = self._samples = self._blocks = 0

    def counters(self) -> dict[str, float]:
        """Return what happened since the start."""
        return {
            "wave_chunks": self._stored,
            "wave_chunks_again": self._repeats,
            "wave_chunks_missing": self._track.missing,
            "wave_overlaps": self._track.overlaps,
            "wave_changes": self._track.changes,
            "wave_samples": self._samples,
            "wave_blocks": self._blocks,
            "wave_rejected": self._rejects.total,
            "waves_waiting": len(self._chunks),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until cancelled, through any number of losses of database and broker."""

        def connect() -> Connection:
            return Connection(
                self._settings.broker_address, CLIENT_ID, filters=(WAVES_FILTER,), durable=True
            )

        async def with_database(database: AsyncConnection) -> None:
            store = WaveStore(database, await flavour_of(database))
            await store.load()
            await stay_connected(connect, lambda connection: self._serve(connection, store), stop)

        await stay_with_database(self._settings.database_address, with_database)

    async def _serve(self, connection: Connection, store: WaveStore) -> None:
        self._chunks, self._mids = [], []
        lock = asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._consume(connection), name="waves-consume")
            group.create_task(self._flush(connection, store, lock), name="waves-flush")
            group.create_task(self._make_blocks(store, lock), name="waves-blocks")
            group.create_task(self._report(connection), name="waves-report")

    async def _consume(self, connection: Connection) -> None:
        async for envelopes in connection.batches():
            for envelope in envelopes:
                self._take(envelope)

    def _take(self, envelope: Envelope) -> None:
        self._mids.append(envelope.mid)
        device = ""
        try:
            topic = parse_topic(envelope.topic)
            device = topic.bed
            chunk = decode_chunk(topic.bed, topic.tail, envelope.payload, envelope.received_ns)
        except DecodeError as error:
            self._reject(error.device or device, error.reason, str(error), envelope)
            return
        odd = self._track.see(chunk)
        if odd is not None:
            self._reject(chunk.device, "wave_odd", odd, envelope)
        self._chunks.append(chunk)

    def _reject(self, device: str, reason: str, detail: str, envelope: Envelope) -> None:
        rejects.reject(
            self._rejects,
            device=device,
            reason=reason,
            detail=detail,
            topic=envelope.topic,
            payload=envelope.payload[:64],
            now_ns=envelope.received_ns,
        )

    async def _flush(self, connection: Connection, store: WaveStore, lock: asyncio.Lock) -> None:
        while True:
            await asyncio.sleep(self._settings.recorder.wave_flush_ms / 1000)
            if not self._mids:
                continue
            chunks, self._chunks = self._chunks, []
            mids, self._mids = self._mids, []
            if chunks:
                async with lock:
                    await self._store(store, chunks)
            connection.ack(mids)

    async def _store(self, store: WaveStore, chunks: list[WaveChunk]) -> None:
        try:
            async with store.transaction():
                new = await store.insert_chunks(chunks)
        except psycopg.Error:
            store.forget()
            raise
        self._stored += new
        self._repeats += len(chunks) - new
        self._samples += sum(len(chunk.samples) for chunk in chunks)

    async def _make_blocks(self, store: WaveStore, lock: asyncio.Lock) -> None:
        while True:
            await asyncio.sleep(BLOCK_PERIOD_S)
            now = now_ns()
            ready = [
                signal
                for signal, (seconds, received_ns) in store.staged.items()
                if seconds >= BLOCK_S or now - received_ns > IDLE_NS
            ]
            for signal in ready:
                async with lock:
                    blocks, repeats = await store.make_blocks(signal, now)
                self._blocks += blocks
                self._repeats += repeats

    async def _report(self, connection: Connection) -> None:
        while True:
            await asyncio.sleep(REPORT_PERIOD_S)
            changed = rejects.drain(self._rejects)
            limit = self._settings.broker.max_payload_bytes
            try:
                for payload in encode_rejected(changed, limit) if changed else []:
                    await connection.publish(REJECTED_TOPIC, payload)
            except BrokerError:
                rejects.put_back(self._rejects, changed)
                raise
