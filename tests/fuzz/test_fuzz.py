"""A short run of the fuzzer for every decoder; `make fuzz` runs 100 000 inputs each."""

import pytest

from tests.fuzz.decoders import TARGETS, fuzz

INPUTS = 1_500


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_not_meant_to_be_read_is_refused(name):
    found = fuzz(name, INPUTS, seed=7)
    assert "error" not in found, found


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_mutated_is_good_before(name):
    decode, seeds = TARGETS[name]
    for good in seeds:
        decode(good)
