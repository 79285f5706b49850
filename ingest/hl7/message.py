r"""An HL7 v2 message as segments and fields, however its sender wrote it. Pure.

Segments end with CR, LF or both. The encoding is the one that MSH-18 names, or else what the bytes
show: UTF-8, GB 18030, ISO 8859-1. ``MSH|^~&`` without its backslash is read as if it were there.
Escapes are undone once, from left to right, so that ``\E\F\E\`` stays what it says.

Why not a library: decisions/0014-integration.md has the measurements.
"""

import re
from dataclasses import dataclass, field

from schemas.errors import DecodeError

MAX_BYTES = 4_194_304
MAX_SEGMENTS = 5_000
SHORTEST = len("MSH|^~\\&")
_ENDS = re.compile(r"[\r\n]+")
_ESCAPE = re.compile(r"\\([^\\\r\n]{1,200})\\")
_HEX = re.compile(r"[0-9A-Fa-f]+")
CHARSETS = {
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "GB 18030-2000": "gb18030",
    "GB18030": "gb18030",
    "GB18030-2000": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "CP936": "gb18030",
    "8859/1": "latin-1",
    "ISO8859-1": "latin-1",
    "ISO-8859-1": "latin-1",
    "ASCII": "ascii",
}
"""MSH-18 as senders write it (HL7 table 0211, and names that are not in it), to Python's name."""


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The characters that separate: components, repetitions, subcomponents; and the escape."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


@dataclass(slots=True)
class Segment:
    """One segment: ``fields[0]`` is its name, ``fields[n]`` what HL7 calls n, raw."""

    fields: list[str]
    marks: Delimiters

    @property
    def name(self) -> str:
        """MSH, PID, OBX and so on."""
        return self.fields[0]

    def raw(self, n: int) -> str:
        """Return field ``n`` as it stands; empty when it is not there."""
        return self.fields[n] if n < len(self.fields) else ""

    def components(self, n: int) -> list[str]:
        """Return the components of the first repetition of field ``n``, escapes undone."""
        marks, text = self.marks, self.raw(n)
        if marks.repetition in text:
            text = text.split(marks.repetition, 1)[0]
        parts = text.split(marks.component)
        if marks.escape in text:
            return [unescape(part, marks) for part in parts]
        return parts

    def component(self, n: int, m: int = 1) -> str:
        """Return component ``m`` (from 1) of field ``n``, trimmed; empty when it is not there."""
        fields = self.fields
        if n >= len(fields) or not (text := fields[n]):
            return ""
        marks = self.marks
        if marks.repetition in text:
            text = text.split(marks.repetition, 1)[0]
        if marks.component in text:
            parts = text.split(marks.component)
            text = parts[m - 1] if m <= len(parts) else ""
        elif m > 1:
            return ""
        if marks.escape in text:
            text = unescape(text, marks)
        return text.strip()

    def repetitions(self, n: int) -> list[str]:
        """Return the repetitions of field ``n``, each as it stands."""
        return self.raw(n).split(self.marks.repetition)


@dataclass(slots=True)
class Message:
    """A message: its segments in order, and how it was written."""

    segments: list[Segment]
    marks: Delimiters
    charset: str
    notes: list[str] = field(default_factory=list)

    @property
    def header(self) -> Segment:
        """The MSH segment."""
        return self.segments[0]

    def first(self, name: str) -> Segment | None:
        """Return the first segment of a name."""
        return next((s for s in self.segments if s.name == name), None)

    @property
    def kind(self) -> tuple[str, str]:
        """MSH-9: the message's type and its trigger event, as in ("ORU", "R01")."""
        return self.header.component(9, 1).upper(), self.header.component(9, 2).upper()

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.header.raw(10).strip()


def unescape(text: str, marks: Delimiters) -> str:
    r"""Return text with its escapes undone; one that means nothing stays as it is.

    >>> unescape("a\\T\\b \\X41\\ \\.br\\", Delimiters())
    'a&b A \n'
    """
    if marks.escape not in text:
        return text
    plain = {
        "F": marks.field,
        "S": marks.component,
        "R": marks.repetition,
        "T": marks.subcomponent,
        "E": marks.escape,
        "H": "",
        "N": "",
        ".br": "\n",
        ".sp": "\n",
    }

    def undo(found: re.Match[str]) -> str:
        inner = found[1]
        if inner in plain:
            return plain[inner]
        if inner[0] == "X" and len(inner) % 2 and _HEX.fullmatch(inner[1:]):
            return bytes.fromhex(inner[1:]).decode("utf-8", "replace")
        return found[0]

    pattern = _ESCAPE
    if marks.escape != "\\":
        escape = re.escape(marks.escape)
        pattern = re.compile(f"{escape}([^{escape}\r\n]{{1,200}}){escape}")
    return pattern.sub(undo, text)


def guess_charset(data: bytes) -> str:
    """Return the encoding that bytes without a word on it are in.

    UTF-8 if they can be. Chinese text in GB 18030 has runs of bytes above 127 and becomes Chinese
    characters; single ones among letters are ISO 8859-1.
    """
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return "latin-1"
    runs = re.findall(rb"[\x80-\xff]{2,}", data)
    chinese = all(c < "\x80" or c >= "⸀" or c in "·—…‘’“”℃°±×" for c in text)
    return "gb18030" if runs and chinese else "latin-1"


def _decode(data: bytes) -> tuple[str, str, list[str]]:
    """Return the text of a message, the encoding it is in, and what is odd about that."""
    line = re.split(rb"[\r\n]", data, maxsplit=1)[0]
    fields = line.split(line[3:4] or b"|")
    named = fields[17].decode("latin-1").split("~")[0].strip().upper() if len(fields) > 17 else ""
    notes = []
    charset = CHARSETS.get(named, "")
    if named and not charset:
        notes.append(f"MSH-18 {named[:40]!r} is no encoding that is known; what the bytes show")
    if charset:
        try:
            return data.decode(charset), charset, notes
        except UnicodeDecodeError:
            notes.append(f"MSH-18 says {named}, the bytes are something else")
    charset = guess_charset(data)
    return data.decode(charset), charset, notes


def _delimiters(line: str) -> Delimiters:
    mark = line[3:4]
    codes = line[4:].split(mark, 1)[0] if mark else ""
    if (
        not mark
        or mark.isalnum()
        or mark.isspace()
        or not codes
        or len(set(mark + codes)) <= len(codes)
    ):
        raise DecodeError("delimiters", f"MSH-1 and MSH-2: {line[3:12]!r}; expected |^~\\&")
    if len(codes) == 3:  # the backslash was lost on the way
        return Delimiters(mark, codes[0], codes[1], "\\", codes[2])
    padded = codes + "^~\\&"[len(codes) :]
    return Delimiters(mark, padded[0], padded[1], padded[2], padded[3])


def _realign(fields: list[str], marks: Delimiters) -> list[str]:
    """Take out the field that a sender has too many before MSH-9; say so."""
    kind = re.compile(rf"[A-Z]{{3}}({re.escape(marks.component)}[A-Z]\d\d|$)")
    if len(fields) > 10 and not fields[9].strip() and not fields[3] and kind.match(fields[10]):
        del fields[3]
        return ["MSH has a field too many before MSH-9; read without its empty MSH-3"]
    return []


def parse(data: bytes) -> Message:
    """Return the message in a frame's bytes; raise DecodeError when it is none."""
    data = data.strip(b"\x0b\x1c\r\n \x00").removeprefix(b"\xef\xbb\xbf")
    if not data.startswith(b"MSH") or len(data) < SHORTEST:
        raise DecodeError("not_hl7", f"starts with {data[:20]!r}; a message starts with MSH|^~\\&")
    if len(data) > MAX_BYTES:
        raise DecodeError("too_large", f"{len(data)} bytes; a message has at most {MAX_BYTES}")
    text, charset, notes = _decode(data)
    lines = [line for line in _ENDS.split(text) if line.strip()]
    marks = _delimiters(lines[0])
    if len(lines) > MAX_SEGMENTS:
        raise DecodeError("too_large", f"{len(lines)} segments; at most {MAX_SEGMENTS} are read")
    segments = []
    for line in lines:
        fields = line.split(marks.field)
        if line.startswith("MSH"):
            fields.insert(1, marks.field)  # MSH-1 is the separator itself
            notes += _realign(fields, marks)
        fields[0] = fields[0].strip().upper()
        segments.append(Segment(fields, marks))
    return Message(segments, marks, charset, notes)
