"""Stored readings as Arrow tables, a few hours at a time: for files and for clients.

The server writes CSV (COPY), Arrow reads it: no row and no value becomes a Python object. A bed's
day costs a fraction of a second, and memory stays flat.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from io import BytesIO

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from pyarrow import csv as arrow_csv

from hub.database import OPTIONS
from schemas.errors import StoreError
from schemas.vitals import COMMON_NAMES, Quality, unpack_status

WINDOW = timedelta(hours=6)
TIME = pa.timestamp("us", tz="UTC")
QUALITIES = tuple(q.value for q in Quality)
NUMERICS = pa.schema(
    [
        ("time", TIME),
        ("device", pa.string()),
        ("late", pa.bool_()),
        *((name, pa.float32()) for name in COMMON_NAMES),
        ("not_usable", pa.string()),
    ]
)
RARE = pa.schema(
    [
        ("time", TIME),
        ("device", pa.string()),
        ("vital", pa.string()),
        ("value", pa.float32()),
        ("quality", pa.string()),
    ]
)
_NUMERICS_SQL = sql.SQL(
    "COPY (SELECT measured_at AT TIME ZONE 'UTC', stream.device, late, status, status2, {vitals}"
    " FROM vigil_readings({bed}, {start}, {end}) AS readings"
    " JOIN stream ON stream.id = readings.stream_id"
    " ORDER BY measured_at, stream.device, seq) TO STDOUT (FORMAT csv)"
)
_RARE_SQL = sql.SQL(
    "COPY (SELECT measured_at AT TIME ZONE 'UTC', stream.device, vital, value, quality"
    " FROM numerics_rare JOIN stream ON stream.id = stream_id"
    " WHERE numerics_rare.bed_id = {bed} AND measured_at >= {start} AND measured_at < {end}"
    " ORDER BY measured_at, vital, seq) TO STDOUT (FORMAT csv)"
)
_NAIVE = pa.timestamp("us")
_RAW = {
    "time": _NAIVE,
    "device": pa.string(),
    "late": pa.string(),
    "status": pa.int64(),
    "status2": pa.int64(),
    **dict.fromkeys(COMMON_NAMES, pa.float32()),
}
_RAW_RARE = {
    "time": _NAIVE,
    "device": pa.string(),
    "vital": pa.string(),
    "value": pa.float32(),
    "quality": pa.int64(),
}


class Readings:
    """The readings of beds, read in windows. A connection of its own, not async: for threads."""

    def __init__(self, url: str, schema: str | None = None) -> None:
        options = f"{OPTIONS} -c statement_timeout=600000"
        options += f" -c search_path={schema}" if schema else ""
        self._connection = psycopg.connect(url, options=options, autocommit=True)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def bed_id(self, bed: str) -> int:
        """Return a bed's number; StoreError when it was never seen."""
        found = self._connection.execute("SELECT id FROM bed WHERE name = %s", (bed,)).fetchone()
        if found is None:
            raise StoreError(f"bed {bed} was never seen; `vigil doctor` lists the beds")
        return int(found[0])

    def windows(
        self, bed: int, start: datetime, end: datetime
    ) -> Iterator[tuple[datetime, datetime]]:
        """Yield spans of at most six hours that hold something: years of nothing cost nothing."""
        at = start
        while at < end:
            found = self._connection.execute(
                "SELECT date_bin('6 hours', vigil_next_reading(%s, %s, %s), 'epoch')",
                (bed, at, end),
            ).fetchone()
            if found is None or found[0] is None:
                return
            last = min(found[0] + WINDOW, end)
            yield max(found[0], at), last
            at = last

    def numerics(self, bed: int, start: datetime, end: datetime) -> pa.Table:
        """Return what was measured in [start, end), a row a reading, as ``NUMERICS`` says."""
        vitals = sql.SQL(", ").join(map(sql.Identifier, COMMON_NAMES))
        table = self._copy(_NUMERICS_SQL, _RAW, bed, start, end, vitals=vitals)
        if not table.num_rows:
            return NUMERICS.empty_table()
        return pa.table(
            {
                "time": table["time"].cast(TIME),
                "device": table["device"],
                "late": pc.equal(table["late"], "t"),
                **{name: table[name] for name in COMMON_NAMES},
                "not_usable": _reasons(table["status"], table["status2"]),
            },
            schema=NUMERICS,
        )

    def rare(self, bed: int, start: datetime, end: datetime) -> pa.Table:
        """Return the vitals without a column that were measured in [start, end)."""
        table = self._copy(_RARE_SQL, _RAW_RARE, bed, start, end)
        if not table.num_rows:
            return RARE.empty_table()
        words = pa.array(QUALITIES).take(table["quality"].combine_chunks())
        return pa.table(
            {
                "time": table["time"].cast(TIME),
                "device": table["device"],
                "vital": table["vital"],
                "value": table["value"],
                "quality": words,
            },
            schema=RARE,
        )

    def _copy(
        self,
        text: sql.SQL,
        columns: dict[str, pa.DataType],
        bed: int,
        start: datetime,
        end: datetime,
        **more: sql.Composable,
    ) -> pa.Table:
        made = text.format(
            bed=sql.Literal(bed), start=sql.Literal(start), end=sql.Literal(end), **more
        )
        body = BytesIO()
        with self._connection.cursor() as cursor, cursor.copy(made) as copy:
            for block in copy:
                body.write(block)
        if not body.tell():
            return pa.table({name: pa.array([], kind) for name, kind in columns.items()})
        body.seek(0)
        return arrow_csv.read_csv(
            body,
            read_options=arrow_csv.ReadOptions(column_names=list(columns)),
            convert_options=arrow_csv.ConvertOptions(
                column_types=columns, null_values=[""], strings_can_be_null=False
            ),
        )


def _reasons(status: pa.ChunkedArray, status2: pa.ChunkedArray) -> pa.Array:
    """Return why values are not usable, ``vital=reason`` by blanks, empty when all are."""
    first = status.combine_chunks().fill_null(0).to_numpy()
    second = status2.combine_chunks().fill_null(0).to_numpy()
    pairs, inverse = np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)
    words = [
        " ".join(
            f"{name}={quality.value}"
            for name, quality in sorted(unpack_status(int(a) or None, int(b) or None).items())
        )
        for a, b in pairs
    ]
    return pa.array(words, pa.string()).take(pa.array(inverse.reshape(-1)))


def shifted(table: pa.Table, shift_ns: int) -> pa.Table:
    """Return a table with its times moved."""
    if not shift_ns:
        return table
    moved = pc.add(table["time"], pa.scalar(shift_ns // 1000, pa.duration("us")))
    return table.set_column(table.schema.get_field_index("time"), "time", moved)


def values_in(table: pa.Table) -> int:
    """Return how many values a table of numerics holds."""
    return sum(len(table) - table[name].null_count for name in COMMON_NAMES)
