"""The notifier service: tells people on duty through Apprise. Never in the alert path.

It reads alert events from the broker with a session of its own, so that nothing waits for it and
nothing is missed while it is away. What hangs, hangs alone: every address has one sender thread at
a time, and one that does not come back in time fails its attempt. What became of each notice goes
to the broker, into the database and onto the console.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from care.journal import Journal
from care.notify import Notice, Person, notices, parse_people, wording
from hub.broker import Connection, stay_connected
from hub.clock import now_ns
from hub.health import Reporter
from hub.mqtt import Envelope
from hub.settings import Settings
from schemas.care import UnitCare
from schemas.codec import decode_alert, decode_care, encode_judged
from schemas.deliveries import Delivery
from schemas.errors import DecodeError, SettingsError
from schemas.judged import pack
from schemas.times import S
from schemas.topics import ALERTS_FILTER, CARE_FILTER, judged_topic

log = structlog.get_logger()

CLIENT_ID = "vigil-notifier"
FILTERS = (ALERTS_FILTER, CARE_FILTER)
GATHER_S = 1.0
"""A notice waits this long for others to the same person: a power cut is one message."""
RETRY_S = (5.0, 20.0, 60.0, 180.0)
Send = Callable[[list[str], str, str], bool]


def apprise_send(urls: list[str], title: str, body: str) -> bool:
    """Send by Apprise; return whether every address took it."""
    import apprise  # noqa: PLC0415 - slow to import, and only where something is sent

    sender = apprise.Apprise()
    for url in urls:
        if not sender.add(url):
            return False
    return bool(sender.notify(body=body, title=title))


def load_people(path: Path | None) -> dict[str, Person]:
    """Return who can be told, by account name; nobody without a file. Raises SettingsError."""
    if path is None:
        return {}
    try:
        return parse_people(path.read_bytes(), path)
    except OSError as error:
        raise SettingsError(f"people {path}: {error}") from None


class Notifier:
    """The shell around the journal: takes events in, sends what is due, says what became of it."""

    def __init__(
        self, settings: Settings, people: dict[str, Person], send: Send = apprise_send
    ) -> None:
        self._settings = settings
        self._people = people
        self._send = send
        self._units: dict[str, UnitCare] = {}
        self.journal = Journal(settings.data / "notifier" / "journal.sqlite")
        for payload in self.journal.care():
            self._units |= decode_care(payload).units
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection: Connection | None = None
        self.results: list[Delivery] = []
        self._sent = self._failed = self._unreadable = 0
        self._reporter = Reporter("notifier", self._counters)

    def _counters(self) -> dict[str, float]:
        return {
            "waiting": self.journal.waiting(),
            "sent": self._sent,
            "failed": self._failed,
            "hanging": len(self._busy),
            "unreadable": self._unreadable,
            "people": len(self._people),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set."""

        def connect() -> Connection:
            return Connection(
                self._settings.broker_address,
                CLIENT_ID,
                filters=FILTERS,
                durable=True,
                will=self._reporter.will(),
            )

        self._report("unknown", self.journal.begun(), "the notifier died while sending", 1)
        tasks = {
            asyncio.create_task(stay_connected(connect, self._serve, stop), name="serve"),
            asyncio.create_task(self._sending(), name="sending"),
            asyncio.create_task(stop.wait(), name="stop"),
        }
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in [*tasks, *self._tasks]:
            task.cancel()
        results = await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)
        self.journal.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _serve(self, connection: Connection) -> None:
        self._connection = connection
        reporting = asyncio.create_task(self._reporter.run(connection), name="health")
        try:
            async for envelopes in connection.batches():
                some = [notice for envelope in envelopes for notice in self._take(envelope)]
                if some:
                    self.journal.promise(some, now_ns())
                connection.ack([envelope.mid for envelope in envelopes])
        finally:
            self._connection = None
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)

    def _take(self, envelope: Envelope) -> list[Notice]:
        if not envelope.payload:
            return []
        try:
            if envelope.topic.endswith("/config/care"):
                self._units |= decode_care(envelope.payload).units
                self.journal.keep_care(envelope.topic, envelope.payload)
                return []
            if envelope.retain or self._settings.notifier.people is None:
                return []  # nobody can be told; or it was open already when we came
            return notices(decode_alert(envelope.payload), self._units)
        except DecodeError as error:
            self._unreadable += 1
            log.warning("message_unreadable", topic=envelope.topic, reason=str(error))
            return []

    async def _sending(self) -> None:
        while True:
            await asyncio.sleep(GATHER_S)
            now = now_ns()
            self._report("failed", self.journal.overflow(), "too many notices were waiting", 0)
            by_person: dict[str, list[tuple[Notice, int]]] = defaultdict(list)
            for notice, attempts in self.journal.due(now):
                by_person[notice.person].append((notice, attempts))
            for person, some in by_person.items():
                if person not in self._busy:
                    self._busy.add(person)
                    task = asyncio.create_task(self.tell(person, some), name=f"tell-{person}")
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            self.journal.forget(now)
            self._publish()

    async def tell(self, name: str, some: list[tuple[Notice, int]]) -> None:
        """Tell one person what is due; while an address hangs, that person waits, nobody else."""
        found = [notice for notice, _ in some]
        attempts = max(count for _, count in some) + 1
        ids = [notice.id for notice in found]
        person = self._people.get(name)
        if person is None or not person.urls:
            self._busy.discard(name)
            self.journal.mark(ids, "failed", attempts, 0)
            self._report("failed", found, "no address for this person in people.toml", attempts)
            return
        self.journal.mark(ids, "begun", attempts, 0)
        title, body = wording(person.language, found)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[bool, str]] = loop.create_future()

        def settle(result: tuple[bool, str]) -> None:
            self._busy.discard(name)
            if not done.done():
                done.set_result(result)

        def work() -> None:
            result = _attempt(self._send, person.urls, title, body)
            with suppress(RuntimeError):  # the service may have ended meanwhile
                loop.call_soon_threadsafe(settle, result)

        threading.Thread(target=work, name=f"send-{name}", daemon=True).start()
        try:
            async with asyncio.timeout(self._settings.notifier.timeout_s):
                good, detail = await asyncio.shield(done)
        except TimeoutError:
            good, detail = False, f"no answer within {self._settings.notifier.timeout_s:g} s"
        self._settle(found, attempts, good=good, detail=detail)

    def _settle(self, found: list[Notice], attempts: int, *, good: bool, detail: str) -> None:
        ids = [notice.id for notice in found]
        if good:
            self.journal.mark(ids, "sent", attempts, 0)
            self._report("sent", found, detail, attempts)
        elif attempts > len(RETRY_S):
            self.journal.mark(ids, "failed", attempts, 0)
            self._report("failed", found, detail, attempts)
        else:
            again_ns = now_ns() + int(RETRY_S[attempts - 1] * S)
            self.journal.mark(ids, "due", attempts, again_ns)
            self._report("failed", found, f"{detail}; trying again", attempts)

    def _report(self, state: str, found: list[Notice], detail: str, attempts: int) -> None:
        for notice in found:
            self._sent += state == "sent"
            self._failed += state != "sent"
            person = self._people.get(notice.person)
            target = person.urls[0].partition(":")[0] if person and person.urls else ""
            self.results.append(
                Delivery(
                    1,
                    notice.id,
                    notice.event.event,
                    notice.event.alert,
                    notice.event.bed,
                    notice.person,
                    notice.role,
                    target,
                    state,  # type: ignore[arg-type]  # one of its words
                    attempts,
                    now_ns(),
                    detail,
                )
            )

    def _publish(self) -> None:
        """Say what became of notices; while the broker is away, it waits here."""
        connection = self._connection
        if connection is None or not self.results:
            return
        results, self.results = self.results, []
        by_hospital: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in results:
            by_hospital[delivery.bed.partition("/")[0]].append(delivery)
        for hospital, some in by_hospital.items():
            payload = encode_judged(pack([], now_ns(), deliveries=some))
            connection.publish_soon(judged_topic(hospital), payload)


def _attempt(send: Send, urls: list[str], title: str, body: str) -> tuple[bool, str]:
    """Return whether it was taken, and why not. A library's surprise costs one attempt."""
    try:
        good = send(urls, title, body)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        return False, f"{type(error).__name__}: {error}"[:200]
    return good, "" if good else "the service refused it"
