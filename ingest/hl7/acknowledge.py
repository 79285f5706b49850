"""What a sender is answered: MSH-15 and MSH-16 say who wants which answer when. Pure.

Without both the original mode holds: AA, AE, AR. With them the enhanced one: an application answer
(AA, AE, AR) when MSH-16 asks for it, else an accept answer (CA, CE, CR) when MSH-15 does. ``AL``
always, ``NE`` never, ``ER`` only on errors, ``SU`` only on success. Source: HL7 v2.6, 2.9.2, 2.9.3.
"""

from enum import StrEnum

from ingest.hl7.message import Delimiters, Message
from schemas.times import to_datetime


class Verdict(StrEnum):
    """What became of a message: taken; an error that may be mended; not for us at all."""

    ACCEPT = "A"
    ERROR = "E"
    REJECT = "R"


UNSUPPORTED = {
    "type": "200^Unsupported message type^HL70357",
    "event": "201^Unsupported event code^HL70357",
    "sequence": "100^Segment sequence error^HL70357",
    "data": "102^Data type error^HL70357",
    "identity": "204^Unknown key identifier^HL70357",
    "internal": "207^Application internal error^HL70357",
}
"""ERR-3 (HL7 table 0357) by what was wrong."""


def code_of(message: Message, verdict: Verdict) -> str | None:
    r"""Return MSA-1; None when the sender wants no answer to this.

    >>> from ingest.hl7.message import parse
    >>> [code_of(parse(f"MSH|^~\\&|||||||ORU^R01|1|P|2.6|||{modes}".encode()), Verdict.ACCEPT)
    ...  for modes in ("|", "AL|NE", "NE|AL", "NE|NE", "ER|ER")]
    ['AA', 'CA', 'AA', None, None]
    """
    accept, application = message.header.component(15), message.header.component(16)
    if not accept and not application:
        return f"A{verdict}"
    if _wanted(application, verdict):
        return f"A{verdict}"
    return f"C{verdict}" if _wanted(accept, verdict) else None


def _wanted(when: str, verdict: Verdict) -> bool:
    ok = verdict is Verdict.ACCEPT
    return when == "AL" or (when == "SU" and ok) or (when == "ER" and not ok)


def answer(message: Message, code: str, why: str, what: str, number: str, now_ns: int) -> bytes:
    """Return the acknowledgement of a message, framed: in its own version and encoding.

    ``why``: what was wrong, in words; ``what``: a key of ``UNSUPPORTED``; ``number``: our MSH-10.
    """
    header, marks = message.header, message.marks
    event = header.component(9, 2)
    version = header.raw(12).strip() or "2.3.1"
    modern = version.split(marks.component)[0] >= "2.5"
    kind = [p for p in ("ACK", event, "ACK" if header.component(9, 3) else "") if p]
    fields = [
        "MSH",
        marks.component + marks.repetition + marks.escape + marks.subcomponent,
        header.raw(5).strip() or "VIGIL",
        header.raw(6).strip(),
        header.raw(3).strip(),
        header.raw(4).strip(),
        f"{to_datetime(now_ns):%Y%m%d%H%M%S}+0000",
        "",
        marks.component.join(kind),
        number,
        header.raw(11).strip() or "P",
        version,
    ]
    if header.raw(18):
        fields += ["", "", "", "", "", header.raw(18)]
    text = _escaped(why, marks)
    lines = [fields, ["MSA", code, message.control_id, *([text] if text and not modern else [])]]
    if why and modern:
        error = UNSUPPORTED.get(what, UNSUPPORTED["internal"]).replace("^", marks.component)
        lines.append(["ERR", "", "", error, "E", "", "", "", text])
    body = "\r".join(marks.field.join(line) for line in lines) + "\r"
    return b"\x0b" + body.encode(message.charset, "replace") + b"\x1c\r"


def _escaped(text: str, marks: Delimiters) -> str:
    """Return text that says the same within a field."""
    out = text.replace(marks.escape, f"{marks.escape}E{marks.escape}")
    for mark, letter in (
        (marks.field, "F"),
        (marks.component, "S"),
        (marks.repetition, "R"),
        (marks.subcomponent, "T"),
    ):
        out = out.replace(mark, f"{marks.escape}{letter}{marks.escape}")
    return out.replace("\r", " ").replace("\n", " ")[:200]
