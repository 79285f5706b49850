"""Chunks become blocks: gaps stay gaps, repeats vanish, nothing else does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.waves import Segment, join
from ingest.wave_blocks import Span, Staged, assemble
from ingest.wave_track import WaveTrack
from schemas.times import MS, S
from schemas.wave_codec import decode_block
from tests.support.readings import T0
from tests.unit.schemas.test_waves import chunk

RATE = 100


def staged(seq, *, at_s=None, value=None, received_s=None):
    """One second of samples."""
    at = T0 + int((seq if at_s is None else at_s) * S)
    received = at if received_s is None else T0 + int(received_s * S)
    return Staged(at, seq, np.full(RATE, seq if value is None else value, np.int16), received)


def spans(made):
    return [
        Span(b.start_ns, b.start_ns + b.samples * S // RATE, b.first_seq, b.last_seq)
        for b in made.blocks
    ]


def test_a_minute_is_a_block_and_the_rest_waits():
    chunks = [staged(i) for i in range(130)]
    made = assemble(chunks, [], RATE, T0 + 130 * S)
    assert [(b.first_seq, b.last_seq, b.samples) for b in made.blocks] == [
        (0, 59, 6000),
        (60, 119, 6000),
    ]
    assert {seq for _, seq in made.done} == set(range(120))


def test_what_waits_too_long_is_stored_as_it_is():
    made = assemble([staged(i) for i in range(12)], [], RATE, T0 + 40 * S)
    assert [(b.first_seq, b.last_seq) for b in made.blocks] == [(0, 11)]


def test_a_gap_ends_a_block_and_a_late_chunk_closes_it_while_it_waits():
    chunks = [staged(i) for i in range(20) if i != 10]
    assert assemble(chunks, [], RATE, T0 + 20 * S).blocks == []
    gap = assemble(chunks, [], RATE, T0 + 60 * S)
    assert [(b.first_seq, b.last_seq) for b in gap.blocks] == [(0, 9), (11, 19)]
    whole = assemble([*chunks, staged(10)], [], RATE, T0 + 60 * S)
    assert [(b.first_seq, b.last_seq) for b in whole.blocks] == [(0, 19)]


def test_a_clock_that_was_set_begins_a_new_block():
    chunks = [staged(0), staged(1), staged(2, at_s=-3600), staged(3, at_s=-3599)]
    made = assemble(chunks, [], RATE, T0 + 60 * S)
    assert [(b.first_seq, b.last_seq) for b in made.blocks] == [(0, 1), (2, 3)]


def test_jitter_of_the_stamps_is_no_gap_but_a_drifting_rate_is_cut():
    jitter = [staged(i, at_s=i + 0.01 * (-1) ** i) for i in range(20)]
    assert len(assemble(jitter, [], RATE, T0 + 60 * S).blocks) == 1
    drift = [staged(i, at_s=i * 1.005) for i in range(20)]
    assert len(assemble(drift, [], RATE, T0 + 60 * S).blocks) > 2


def test_what_is_in_a_block_already_is_a_repeat():
    first = assemble([staged(i) for i in range(60)], [], RATE, T0 + 60 * S)
    again = assemble([staged(i) for i in range(50, 80)], spans(first), RATE, T0 + 99 * S)
    assert again.repeats == 10
    assert [(b.first_seq, b.last_seq) for b in again.blocks] == [(60, 79)]


def test_a_restart_with_the_same_boot_id_and_its_clock_set_back_is_no_repeat():
    first = assemble([staged(i) for i in range(60)], [], RATE, T0 + 60 * S)
    restarted = [staged(i, at_s=40 + i) for i in range(60)]
    again = assemble(restarted, spans(first), RATE, T0 + 999 * S)
    assert again.repeats == 0
    assert sum(block.samples for block in again.blocks) == 60 * RATE


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_order_any_batches_and_any_repeats_store_each_sample_once(data):
    seqs = data.draw(st.lists(st.integers(0, 150), min_size=1, max_size=120))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(seqs)), max_size=4)))
    stored, blocks, waiting = [], [], {}
    for first, last in zip([0, *cuts], [*cuts, len(seqs)], strict=True):
        for seq in seqs[first:last]:
            waiting[seq] = staged(seq)
        made = assemble(list(waiting.values()), stored, RATE, T0 + 400 * S, final=last == len(seqs))
        stored += spans(made)
        blocks += made.blocks
        for _, seq in made.done:
            waiting.pop(seq)
    assert not waiting
    values = np.concatenate([decode_block(b.data, b.samples) for b in blocks])
    assert sorted(values.tolist()) == sorted(np.repeat(sorted(set(seqs)), RATE).tolist())


def segment(start_s, length_s, value, channel="abp"):
    samples = np.full(int(length_s * RATE), value, np.int16)
    return Segment(channel, "m1", "mm[Hg]", RATE, 0.1, 0.0, T0 + int(start_s * S), samples)


def test_segments_join_without_gaps_and_stand_apart_over_one():
    found = join([segment(10, 10, 2), segment(0, 10, 1), segment(30, 5, 3)])
    assert [(s.start_ns, len(s.samples)) for s in found] == [(T0, 2000), (T0 + 30 * S, 500)]


def test_of_overlapping_segments_the_first_stands():
    [one, rest] = join([segment(0, 10, 1), segment(5, 10, 2)])
    assert (len(one.samples), len(rest.samples)) == (1000, 500)
    assert rest.start_ns == T0 + 10 * S
    assert join([segment(0, 10, 1), segment(2, 3, 2)])[0].samples.tolist() == [1] * 1000


@pytest.mark.parametrize(("start_s", "end_s", "n"), [(2, 5, 300), (-5, 1, 100), (9.995, 99, 0)])
def test_cutting_takes_the_samples_between_two_times(start_s, end_s, n):
    cut = segment(0, 10, 1).cut(T0 + int(start_s * S), T0 + int(end_s * S))
    assert (0 if cut is None else len(cut.samples)) == n


def test_odd_chunks_are_named_and_counted():
    track = WaveTrack()
    assert track.see(chunk(seq=1)) is None
    assert track.see(chunk(seq=2, measured_ns=T0 + 400 * MS)) is None
    assert "begins" in track.see(chunk(seq=3, measured_ns=T0 + 500 * MS))
    assert track.see(chunk(seq=9, measured_ns=T0 + 2 * S)) is None
    assert "changed" in track.see(chunk(seq=10, measured_ns=T0 + 4 * S, rate_hz=125.0))
    assert track.see(chunk(seq=10, measured_ns=T0 + 4 * S, rate_hz=125.0)) is None
    assert track.see(chunk(seq=1, boot="b2")) is None
    assert (track.missing, track.overlaps, track.changes) == (5, 1, 1)
