"""Make the console's fonts: Noto Sans CJK SC, of which only what our screens say is kept.

    python -m tests.support.make_fonts /usr/share/fonts/opentype/noto

Anything else (a patient's name, free text) is shown in the system's fonts. Needs fonttools and
brotli, and Debian's fonts-noto-cjk; the licence (SIL OFL 1.1) stands beside the fonts.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboard" / "assets" / "fonts"
SOURCES = ("alerts", "care", "dashboard", "schemas", "simulators", "hub")
KINDS = {".py", ".js", ".toml", ".html"}
WEIGHTS = {400: "Regular", 700: "Bold"}
LATIN = {chr(c) for c in (*range(0x20, 0x7F), *range(0xA0, 0x100))}
SC = 2
"""The number of Simplified Chinese in Noto's collection."""


def characters() -> str:
    """Return every character that a screen of ours can say, sorted."""
    found = set(LATIN)
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in KINDS and "vendor" not in path.parts:
                found |= set(path.read_text("utf-8"))
    return "".join(sorted(c for c in found if c.isprintable() and ord(c) < 0x10000))


def make(source: Path) -> None:
    """Write the subset of each weight, and the list of characters in it."""
    from fontTools import subset

    text = characters()
    FOLDER.mkdir(exist_ok=True)
    for weight, name in WEIGHTS.items():
        options = subset.Options(
            flavor="woff2",
            font_number=SC,
            layout_features=["kern", "tnum", "locl", "palt"],
            hinting=False,
            name_IDs=[1, 2],
            notdef_outline=True,
        )
        font = subset.load_font(str(source / f"NotoSansCJK-{name}.ttc"), options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(text=text)
        subsetter.subset(font)
        subset.save_font(font, str(FOLDER / f"noto-sans-sc-{weight}.woff2"), options)
    (FOLDER / "characters.txt").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
