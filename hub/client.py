"""A hub's data in Python: readings as a DataFrame, waveforms as arrays, alerts, live changes.

    from hub.client import Vigil

    vigil = Vigil("http://127.0.0.1:8050", token="…")          # `vigil token ACCOUNT`
    numbers = vigil.read_numerics("kaihua/icu/bed-01", "-8h")   # index: time; columns: vitals
    wave = vigil.read_wave("kaihua/icu/bed-01", "ecg-ii", "-5m")
    alerts = vigil.alerts("kaihua/icu/bed-01", "-1d")
    for change in vigil.stream("kaihua/icu/bed-01"):
        print(change)

What an account may not see it does not get here either, and what is read is in the audit. Times
are RFC 3339 strings, aware datetimes, or ``-90s``, ``-5m``, ``-8h``, ``-2d``; what comes is UTC.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2 as httpx
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from websockets.sync.client import connect

from schemas.errors import HubError
from schemas.times import parse_when
from schemas.topics import check_bed
from schemas.vitals import COMMON_NAMES, KNOWN
from schemas.waves import NO_SAMPLE

When = str | datetime
HOUR = timedelta(hours=1)
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Wave:
    """A stretch of one channel without a gap: ``values`` (n,) float64 in ``unit``, NaN for none.

    ``samples`` (n,) int16 are the device's own numbers, -32768 for none.
    """

    channel: str
    device: str
    unit: str
    rate_hz: float
    start: datetime
    samples: NDArray[np.int16]
    scale: float
    zero: float

    @property
    def values(self) -> NDArray[np.float64]:
        """The samples in the channel's unit."""
        values: NDArray[np.float64] = self.samples.astype(np.float64) * self.scale + self.zero
        values[self.samples == NO_SAMPLE] = np.nan
        return values

    @property
    def times(self) -> NDArray[np.datetime64]:
        """When each sample was measured, to the nanosecond, UTC."""
        start = np.datetime64(self.start.replace(tzinfo=None), "ns")
        steps = np.arange(len(self.samples)) * 1e9 / self.rate_hz
        return start + steps.round().astype("timedelta64[ns]")


class Vigil:
    """One hub, as an account sees it. Also a context manager."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8050",
        *,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._http = httpx.Client(base_url=self._url, timeout=TIMEOUT_S)
        if token is None:
            if username is None or password is None:
                raise HubError("give a token (`vigil token ACCOUNT`), or username and password")
            token = self._sign_in(username, password)
        self._token = token
        self._http.headers["authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _sign_in(self, username: str, password: str) -> str:
        form = {"username": username, "password": password}
        answer = self._http.post("/login", data=form, headers={"origin": self._url})
        for name, value in self._http.cookies.items():
            if name == "vigil_session":
                self._http.cookies.clear()
                return str(value)
        self.close()
        raise HubError(f"{username}: not signed in ({answer.status_code}); look at the password")

    def beds(self) -> list[str]:
        """Return the beds that the account may see."""
        found = self._get("/fhir/Location", {"_count": "1000"}).json()
        return sorted(entry["resource"]["name"] for entry in found.get("entry", []))

    def read_numerics(
        self, bed: str, start: When = "-1h", end: When = "now", *, usable_only: bool = True
    ) -> pd.DataFrame:
        """Return a bed's readings: index ``time``, a column for each vital of which anything came.

        Values are in the vitals' own units (``frame.attrs["units"]``). With ``usable_only``, values
        that must not be averaged (a sensor that is off, a sentinel) are NaN; else they are as they
        came, and the column ``not_usable`` says which and why.
        """
        span = _span(start, end)
        answer = self._get(f"/api/beds/{check_bed(bed)}/table/numerics", span)
        table = pa.ipc.open_stream(BytesIO(answer.content)).read_all()
        frame = table.to_pandas().set_index("time")
        if usable_only:
            _leave_out(frame)
        vitals = [name for name in COMMON_NAMES if frame[name].notna().any()]
        more = ["device"] if usable_only else ["device", "late", "not_usable"]
        frame = frame[[*vitals, *more]]
        frame.attrs["units"] = {name: KNOWN[name].unit for name in vitals}
        return frame

    def read_wave(
        self, bed: str, channel: str, start: When = "-1m", end: When = "now"
    ) -> list[Wave]:
        """Return a channel's stretches without a gap, in order; read an hour at a time."""
        first, last = _when(start), _when(end)
        found: list[Wave] = []
        while first < last:
            until = min(first + HOUR, last)
            answer = self._get(
                f"/api/beds/{check_bed(bed)}/table/waves",
                {"channel": channel, "since": first.isoformat(), "until": until.isoformat()},
            )
            rows = pa.ipc.open_stream(BytesIO(answer.content)).read_all().to_pylist()
            found += [
                Wave(
                    channel,
                    row["device"],
                    row["unit"],
                    row["rate_hz"],
                    row["start"].astimezone(UTC),
                    np.array(row["samples"], dtype=np.int16),
                    row["scale"],
                    row["zero"],
                )
                for row in rows
            ]
            first = until
        return found

    def alerts(
        self,
        bed: str | None = None,
        start: When = "-1d",
        end: When = "now",
        *,
        only_open: bool = False,
        limit: int = 2000,
    ) -> pd.DataFrame:
        """Return alerts, newest onset first, a row each: rule, priority, onset, state, words."""
        span = _span(start, end)
        asked = {**span, "limit": str(limit), "open": str(only_open).lower()}
        if bed is not None:
            asked["bed"] = check_bed(bed)
        rows = self._get("/api/alerts", asked).json()
        frame = pd.DataFrame(rows)
        for name in ("onset_at", "at", "acknowledged_at"):
            if name in frame:
                frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
        return frame

    def stream(self, bed: str) -> Iterator[dict[str, Any]]:
        """Yield what the bed's screen is told as it happens: a snapshot, then changes."""
        parts = urlsplit(self._url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        address = f"{scheme}://{parts.netloc}/ws/bed/{check_bed(bed)}"
        head = {"Authorization": f"Bearer {self._token}"}
        with connect(address, additional_headers=head, max_size=None) as socket:
            for said in socket:
                yield json.loads(said)

    def _get(self, path: str, parameters: dict[str, str]) -> httpx.Response:
        try:
            answer = self._http.get(path, params=parameters)
        except httpx.HTTPError as error:
            raise HubError(f"{path}: the hub's answer broke off ({error}); ask again") from None
        if answer.status_code != httpx.codes.OK:
            raise HubError(f"{answer.status_code}: {answer.text[:300]}")
        return answer


def _when(when: When) -> datetime:
    """Return a moment; raise HubError saying how to write one."""
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise HubError(f"{when}: a time needs a zone")
        return when
    try:
        return parse_when(when, datetime.now(UTC))
    except ValueError as error:
        raise HubError(str(error)) from None


def _span(start: When, end: When) -> dict[str, str]:
    return {"since": _when(start).isoformat(), "until": _when(end).isoformat()}


def _leave_out(frame: pd.DataFrame) -> None:
    """Make values NaN that must not be used."""
    odd = frame["not_usable"].to_numpy() != ""
    for position, text in zip(
        np.flatnonzero(odd), frame["not_usable"].to_numpy()[odd], strict=True
    ):
        for part in text.split():
            name = part.partition("=")[0]
            if name in frame.columns:
                frame.iloc[position, frame.columns.get_loc(name)] = np.nan
