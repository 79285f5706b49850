"""Columns of numbers as PostgreSQL's binary arrays, made by numpy: what one INSERT takes. Pure.

psycopg adapts Python lists one element at a time; a column of thousands of numbers is one copy
here. The query casts (``%b::int[]``), so the parameter carries no type of its own.
Source: PostgreSQL ``array_recv`` (src/backend/utils/adt/arrayfuncs.c).
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.abc import AdaptContext
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_EPOCH_2000_US = 946_684_800_000_000
_OIDS = {"bool": 16, "int8": 20, "int4": 23, "float4": 700, "timestamptz": 1184}
_DTYPES = {"bool": "u1", "int8": ">i8", "int4": ">i4", "float4": ">f4", "timestamptz": ">i8"}
_HEAD = struct.Struct("!iiiii")


class BinaryArray:
    """An array in the form that the server reads, ready to be a parameter."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _BinaryArrayDumper(Dumper):
    format = Format.BINARY
    oid = 0

    def dump(self, obj: BinaryArray) -> Buffer:
        return obj.data


def register(context: AdaptContext) -> None:
    """Let a connection take :class:`BinaryArray` parameters."""
    context.adapters.register_dumper(BinaryArray, _BinaryArrayDumper)


def array(kind: str, values: NDArray[Any], null: NDArray[np.bool_] | None = None) -> BinaryArray:
    """Return ``values`` as an array of SQL type ``kind``; where ``null`` is true, NULL.

    All NULL, or no values: an empty array, which ``unnest`` pads with NULL beside longer ones.
    ``timestamptz`` takes integer microseconds since 1970.
    """
    oid = _OIDS[kind]
    if not len(values) or (null is not None and null.all()):
        return BinaryArray(_HEAD.pack(0, 0, oid, 0, 0)[:12])
    if kind == "timestamptz":
        values = values - _EPOCH_2000_US
    records = np.empty(len(values), dtype=[("length", ">i4"), ("value", _DTYPES[kind])])
    size = records.dtype["value"].itemsize
    records["length"] = size
    records["value"] = values
    some_null = null is not None and bool(null.any())
    head = _HEAD.pack(1, some_null, oid, len(values), 1)
    if not some_null:
        return BinaryArray(head + records.tobytes())
    assert null is not None
    records["length"][null] = -1
    raw = records.view(np.uint8).reshape(len(values), 4 + size)
    kept = np.ones(raw.shape, dtype=bool)
    kept[null, 4:] = False
    return BinaryArray(head + raw[kept].tobytes())
