"""The shell of the wrong-bed guard: feeds it readings and moves, keeps and shows its questions."""

import asyncio
import time
from collections import deque

import structlog
from psycopg_pool import AsyncConnectionPool

from care import guard, ward_store
from care.guard import Question, Watched
from dashboard.api_ward import show_questions
from dashboard.feed import Feed
from hub.database import AWAY
from schemas.care import CareConfig
from schemas.errors import HubError
from schemas.wire import DeviceStatus, Reading

log = structlog.get_logger()

PERIOD_S = 1.0
SHOW_S = 5.0
"""Marks on tiles follow who lies there, and what was answered elsewhere, within this."""
WAITING = 1_000
"""Questions that the database has not taken yet; the oldest goes, and is counted."""
REMEMBERED = 20_000


class Guard:
    """What is known of each bed, and the questions that are still to be kept."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._beds: dict[str, Watched] = {}
        self._vitals: dict[str, dict[str, float]] = {}
        self._waiting: deque[Question] = deque(maxlen=WAITING)
        self.lost = 0

    def read(self, reading: Reading) -> None:
        """Take a reading; late ones say nothing of who lies there now."""
        if reading.late or reading.behind:
            return
        watched = self._beds.setdefault(reading.bed, Watched())
        values = {n: v for n, v in reading.values.items() if n not in reading.flags}
        self._ask(guard.see(reading.bed, watched, reading.device, reading.received_ns, values))

    def status(self, said: DeviceStatus) -> None:
        """Take a device's word on itself: whom it watches."""
        watched = self._beds.get(said.bed)
        if watched is not None and said.patient:
            self._ask(guard.name_patient(said.bed, watched, said.patient, said.received_ns))

    def care(self, config: CareConfig) -> None:
        """Take note of who lies where; whoever came from another bed is compared with then."""
        before = {w.stay: guard.medians(w) for w in self._beds.values() if w.stay}
        for bed, care in config.beds.items():
            watched = self._beds.setdefault(bed, Watched())
            if care.stay == watched.stay:
                continue
            if len(self._vitals) >= REMEMBERED:
                self._vitals.clear()
            came_from = before.get(care.stay) or self._vitals.pop(care.stay, {})
            if watched.stay:  # whoever leaves may turn up elsewhere in a later message
                self._vitals[watched.stay] = before.get(watched.stay, {})
            if watched.stay or came_from:
                guard.move(watched, care.stay, came_from, config.at_ns)
            else:
                watched.stay = care.stay

    def _ask(self, question: Question | None) -> None:
        if question is not None:
            self.lost += len(self._waiting) == WAITING
            self._waiting.append(question)
            log.info("identity_asked", bed=question.bed, kind=question.kind)

    async def run(self, pool: AsyncConnectionPool) -> None:
        """Keep questions and show them, while the database is there; else they wait."""
        shown_at = -SHOW_S
        while True:
            try:
                if self._waiting or time.monotonic() - shown_at >= SHOW_S:
                    async with pool.connection() as connection:
                        while self._waiting:
                            question = self._waiting[0]
                            new = await ward_store.ask(connection, question)
                            self._waiting.popleft()
                            if new:
                                news = {"bed": question.bed, "kind": question.kind}
                                self._feed.tell({"what": "question", **news})
                        await show_questions(self._feed, connection)
                        shown_at = time.monotonic()
            except AWAY:
                pass  # the next round tries again
            except HubError as error:
                log.warning("questions_not_shown", reason=str(error))
            await asyncio.sleep(PERIOD_S)
