"""The fonts that we serve have every character that our screens say."""

import pytest
from fontTools.ttLib import TTFont

from tests.support.make_fonts import FOLDER, WEIGHTS, characters

REMAKE = "python -m tests.support.make_fonts FOLDER_OF_NOTO"


@pytest.mark.parametrize("weight", WEIGHTS)
def test_no_word_of_ours_needs_another_font(weight):
    kept = set((FOLDER / "characters.txt").read_text("utf-8"))
    missing = "".join(sorted(set(characters()) - kept))
    assert missing == "", f"not in the fonts: {missing}; {REMAKE}"
    with TTFont(FOLDER / f"noto-sans-sc-{weight}.woff2") as font:
        there = set(map(chr, font.getBestCmap()))
    chinese = {c for c in kept if "\u4e00" <= c <= "\u9fff"}
    assert len(chinese) > 300
    assert chinese - there == set()
    assert set("0123456789ABCabc%/()°µ→") - there == set()
