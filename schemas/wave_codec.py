"""Lossless blocks of waveform samples: best fixed difference, zigzag, byte planes, zlib. Pure.

Arithmetic is modulo 2**16, so a residual always fits 16 bits and its inverse, a running sum, is
exact for any input, markers of missing samples included. All of a block stands inside one zlib
stream, whose checksum covers it: 1 byte of difference order (0-3), the low bytes of the zigzag
residuals, their high bytes. 0.78 bytes a sample on the recordings (docs/decisions/0008-waves.md).
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StoreError

MAX_ORDER = 3
LEVEL = 6
Samples = NDArray[np.int16]


def encode_block(samples: Samples) -> bytes:
    """Return (n,) int16 samples as a block."""
    residual = np.ascontiguousarray(samples, dtype=np.int16).view(np.uint16)
    best_cost, best_order, best = _cost(residual), 0, residual
    for order in range(1, MAX_ORDER + 1):
        residual = np.diff(residual, prepend=np.uint16(0))
        cost = _cost(residual)
        if cost < best_cost:
            best_cost, best_order, best = cost, order, residual
    signed = best.view(np.int16)
    zigzag = ((signed << 1) ^ (signed >> 15)).view(np.uint16)
    low, high = (zigzag & 0xFF).astype(np.uint8), (zigzag >> 8).astype(np.uint8)
    return zlib.compress(bytes([best_order]) + low.tobytes() + high.tobytes(), LEVEL)


def _cost(residual: NDArray[np.uint16]) -> int:
    """Return the size of the residuals without the first few, which hold the level."""
    return int(np.abs(residual[MAX_ORDER:].view(np.int16).astype(np.int32)).sum())


def decode_block(data: bytes, n: int) -> Samples:
    """Return the ``n`` samples of a block: the inverse of :func:`encode_block`.

    Raises StoreError when the block is damaged or holds another number of samples.
    """
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, 2 * n + 2)  # bounds what a foreign block may become
    except zlib.error as error:
        raise StoreError(f"a waveform block is damaged: {error}") from None
    if len(plain) != 2 * n + 1 or not inflater.eof or plain[0] > MAX_ORDER:
        raise StoreError(f"a waveform block does not hold {n} samples")
    planes = np.frombuffer(plain, np.uint8, offset=1)
    zigzag = planes[:n] | planes[n:].astype(np.uint16) << 8
    values = (zigzag >> 1) ^ (0 - (zigzag & 1)).astype(np.uint16)
    for _ in range(plain[0]):
        values = np.cumsum(values, dtype=np.uint16)
    return values.view(np.int16)
