"""Commands for people and beds: stays, states, exceptions, ladders, duty; what a nurse does."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from psycopg import AsyncConnection

from hub.cli_base import Json, app, call, open_tables, out, parse_when, read_settings, show
from hub.settings import Settings
from schemas.errors import HubError

ANSWER_S = 5.0
care_app = typer.Typer(help="Stays, states of beds, ladders, duty.", no_args_is_help=True)
app.add_typer(care_app, name="care")

By = Annotated[str, typer.Option(help="Who does this.")]
At = Annotated[str, typer.Option(help="RFC 3339 time, now, or e.g. -10m.")]
Bed = Annotated[str, typer.Option(help="hospital/unit/bed")]
Stay = Annotated[str, typer.Argument(help="The stay's name; `vigil care list`.")]


def _change(work: Callable[[AsyncConnection, int], Awaitable[object]]) -> object:
    """Do one change, then publish what intake must know of it."""
    from hub.clock import now_ns

    settings = read_settings()
    result: list[object] = []

    async def run() -> None:
        async with open_tables(settings) as connection:
            result.append(await work(connection, now_ns()))
            await _publish(settings, connection)

    call(run())
    return result[0]


async def _publish(settings: Settings, connection: AsyncConnection) -> None:
    from care.publish import Publisher
    from hub.broker import Connection
    from hub.clock import now_ns
    from schemas.errors import BrokerError

    try:
        async with Connection(settings.broker_address, f"vigil-care-{uuid4().hex[:8]}") as broker:
            await Publisher().publish(connection, broker, now_ns())
    except BrokerError as error:
        out.print(f"stored; the console publishes it when the broker is back ({error})")


def _ns(text: str) -> int:
    from schemas.times import from_datetime

    return from_datetime(parse_when(text))


@care_app.command("list")
def list_beds(json: Json = False) -> None:
    """List beds: state, stay, what rules depend on; and units: ladder, duty."""
    from msgspec import to_builtins

    from care import store
    from hub.clock import now_ns

    rows: list[dict[str, Any]] = []

    async def run() -> None:
        async with open_tables(read_settings()) as connection:
            for config in (await store.configs(connection, now_ns())).values():
                for name, bed in config.beds.items():
                    rows.append({"bed": name, **to_builtins(bed), "state": bed.state.value})
                for name, unit in config.units.items():
                    rows.append({"bed": name, "state": "unit", **to_builtins(unit)})

    call(run())
    keys = ("bed", "state", "stay", "age", "spo2_scale", "limits", "exceptions", "ladder", "duty")
    show([dict.fromkeys(keys) | row for row in rows], json, keys)


@care_app.command()
def admit(
    bed: Bed,
    by: By,
    at: At = "now",
    age: Annotated[float | None, typer.Option(help="Years.")] = None,
    pregnant: bool = False,
    spo2_scale: Annotated[int, typer.Option(help="2: target 88-92 %, on an order.")] = 1,
    ordered_by: Annotated[str, typer.Option(help="Who ordered scale 2.")] = "",
    limit: Annotated[list[str] | None, typer.Option(help="Treatment limit, e.g. DNR.")] = None,
) -> None:
    """Put a patient into a bed; print the stay's name."""
    from care import store

    patient = store.Patient(age, pregnant, spo2_scale, ordered_by, tuple(limit or ()))
    when = _ns(at)
    stay = _change(
        lambda c, now: store.admit(c, bed, patient, by=by, at_ns=min(when, now), now_ns=now)
    )
    out.print(stay, highlight=False)


@care_app.command()
def discharge(stay: Stay, by: By, at: At = "now") -> None:
    """Let a patient leave; the bed is empty then and never alarms."""
    from care import store

    when = _ns(at)
    _change(lambda c, now: store.discharge(c, stay, by=by, at_ns=when, now_ns=now))


@care_app.command()
def move(stay: Stay, bed: Bed, by: By, at: At = "now") -> None:
    """Move a patient to a free bed."""
    from care import store

    when = _ns(at)
    _change(lambda c, now: store.move(c, stay, bed, by=by, at_ns=when, now_ns=now))


@care_app.command()
def swap(
    stay: Stay,
    other: Annotated[str, typer.Argument(help="The other stay.")],
    by: By,
    at: At = "now",
) -> None:
    """Let two patients change beds."""
    from care import store

    when = _ns(at)
    _change(lambda c, now: store.swap(c, stay, other, by=by, at_ns=when, now_ns=now))


@care_app.command()
def correct(
    stay: Stay,
    begins: Annotated[str, typer.Option(help="When the interval begins that is wrong.")],
    by: By,
    bed: Annotated[str | None, typer.Option(help="The right bed.")] = None,
    start: Annotated[str | None, typer.Option(help="The right beginning.")] = None,
    end: Annotated[str | None, typer.Option(help="The right end.")] = None,
) -> None:
    """Correct where a patient lay, afterwards."""
    from care import store

    begins_ns = _ns(begins)
    new_start, new_end = (None if t is None else _ns(t) for t in (start, end))
    _change(
        lambda c, now: store.correct(
            c,
            stay,
            begins_ns,
            bed=bed,
            new_start_ns=new_start,
            new_end_ns=new_end,
            by=by,
            now_ns=now,
        )
    )


@care_app.command()
def state(
    bed: Bed,
    state: Annotated[str, typer.Argument(help="empty, monitored or standby")],
    by: By,
    until: Annotated[str | None, typer.Option(help="standby: time of return, e.g. +40m.")] = None,
    reason: Annotated[str, typer.Option(help="standby: why (外出检查, 操作).")] = "",
) -> None:
    """Say that a bed is empty, monitored, or on standby until a time."""
    from care import store

    until_ns = None if until is None else _ahead(until)
    _change(
        lambda c, now: store.set_state(
            c, bed, state, by=by, until_ns=until_ns, reason=reason, now_ns=now
        )
    )


def _ahead(text: str) -> int:
    """Return a time ahead: RFC 3339, or ``+40m``."""
    from hub.clock import now_ns

    return 2 * now_ns() - _ns("-" + text[1:]) if text.startswith("+") else _ns(text)


@care_app.command("except")
def exception(
    stay: Stay,
    rule: Annotated[str, typer.Argument(help="The rule, by name or id.")],
    by: By,
    reason: Annotated[str, typer.Option(help="Why.")],
    until: Annotated[str, typer.Option(help="Its end: RFC 3339, or +12h.")],
    above: float | None = None,
    below: float | None = None,
    off: bool = False,
) -> None:
    """Change a limit for one patient, with author, reason and end."""
    from alerts.rulesets import refusal
    from care import store
    from hub.packs import configured_rules
    from schemas.care import PatientException
    from schemas.errors import CareError

    changed = PatientException(rule, by, reason, _ahead(until), above, below, off)
    refused = refusal(configured_rules(read_settings()).baseline.rules, changed)
    if refused:
        raise CareError(f"exception: {refused}")
    _change(lambda c, now: store.add_exception(c, stay, changed, now_ns=now))


@care_app.command("unexcept")
def end_exception(
    stay: Stay, rule: Annotated[str, typer.Argument(help="The rule, as it was given.")], by: By
) -> None:
    """End an exception before its time."""
    from care import store

    _change(lambda c, now: store.end_exception(c, stay, rule, by=by, now_ns=now))


@care_app.command("stays")
def list_stays(
    bed: Annotated[str | None, typer.Option(help="Only this bed.")] = None, json: Json = False
) -> None:
    """List who lay where from when until when: what `care correct --begins` asks for."""
    from care import store
    from schemas.times import to_datetime

    rows: list[dict[str, Any]] = []

    async def run() -> None:
        async with open_tables(read_settings()) as connection:
            for place in await store.read_places(connection):
                if bed in (None, place.bed):
                    end = None if place.end_ns is None else to_datetime(place.end_ns).isoformat()
                    begins = to_datetime(place.start_ns).isoformat()
                    row = {"stay": place.stay, "bed": place.bed, "begins": begins, "ends": end}
                    rows.append(row)

    call(run())
    show(rows, json, ("stay", "bed", "begins", "ends"))


@care_app.command()
def ladder(
    unit: Annotated[str, typer.Option(help="hospital/unit")],
    by: By,
    file: Annotated[
        Path | None,
        typer.Option(help="TOML of tables [[step]\\] with role and after_s; else the default."),
    ] = None,
    off: Annotated[bool, typer.Option(help="No escalation here.")] = False,
) -> None:
    """Set a unit's ladder: who is told next, and after how long without acknowledgement."""
    from care import store
    from care.roles import parse_ladder
    from schemas.care import DEFAULT_LADDER

    steps = DEFAULT_LADDER if file is None else parse_ladder(file.read_bytes(), file)
    _change(lambda c, _: store.set_ladder(c, unit, () if off else steps, by=by))


@care_app.command()
def duty(
    unit: Annotated[str, typer.Option(help="hospital/unit")],
    role: Annotated[str, typer.Option(help="county-nurse, charge-nurse, …")],
    user: Annotated[str, typer.Option(help="Account name.")],
    by: By,
    start: Annotated[str, typer.Option("--from", help="RFC 3339 time, or now.")] = "now",
    end: Annotated[str, typer.Option("--to", help="RFC 3339 time, or +8h.")] = "+8h",
) -> None:
    """Put a person on duty."""
    from care import store

    between = (_ns(start), _ahead(end))
    _change(lambda c, _: store.add_duty(c, unit, role, user, between, by=by))


@app.command()
def command(
    kind: Annotated[
        str,
        typer.Argument(
            help="acknowledge, decline, shelve, unshelve, audio_pause, audio_resume, "
            "alarm_pause, alarm_resume"
        ),
    ],
    bed: Bed,
    by: By,
    alert: Annotated[str | None, typer.Option(help="acknowledge, decline: the alert.")] = None,
    rule: Annotated[
        str, typer.Option(help="shelve, unshelve: hr_high (all its vitals) or hr_high/hr.")
    ] = "",
    reason: str = "",
    until: Annotated[str | None, typer.Option(help="RFC 3339 time, or +30m.")] = None,
) -> None:
    """Do to a bed's alerts what a person does on the console."""
    from msgspec import ValidationError, convert, to_builtins

    from hub.clock import now_ns
    from schemas.topics import Kind
    from schemas.wire import CommandMessage

    message = CommandMessage(
        1,
        uuid4().hex,
        kind,  # type: ignore[arg-type]  # checked just below
        by,
        now_ns(),
        alert,
        rule,
        reason,
        0 if until is None else _ahead(until),
    )
    try:
        convert(to_builtins(message), CommandMessage)
    except ValidationError as error:
        raise HubError(f"command: {error}") from None
    _send(bed, Kind.COMMANDS, message)


@app.command()
def observe(
    bed: Bed,
    by: By,
    values: Annotated[list[str], typer.Argument(help="acvpu=A on_oxygen=1 temp=37.2 gcs=15 …")],
    at: At = "now",
) -> None:
    """Enter what somebody observed: consciousness, oxygen, temperature, GCS, urine."""
    from schemas.observations import code
    from schemas.times import MS
    from schemas.topics import Kind
    from schemas.wire import ObservationMessage

    entered: dict[str, float | str | bool] = {}
    for text in values:
        name, _, value = text.partition("=")
        entered[name] = value if value.isalpha() or name == "on_oxygen" else _number(name, value)
        try:
            code(name, entered[name])
        except ValueError as error:
            raise HubError(f"observe: {error}") from None
    _send(bed, Kind.OBSERVATIONS, ObservationMessage(1, uuid4().hex, by, _ns(at) // MS, entered))


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise HubError(f"observe: {name}={text!r}: a number") from None


def _send(bed: str, kind: Any, message: Any) -> None:
    """Publish what a person says, and wait for what intake makes of it."""
    from hub.broker import Connection
    from schemas.codec import encode_json
    from schemas.topics import check_bed, format_topic, judged_topic

    check_bed(bed)
    hospital = bed.partition("/")[0]
    answers: list[str] = []

    async def run() -> None:
        async with Connection(
            read_settings().broker_address,
            f"vigil-command-{uuid4().hex[:8]}",
            filters=(judged_topic(hospital),),
        ) as broker:
            await broker.publish(format_topic(bed, kind), encode_json(message))
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    async for envelopes in broker.batches():
                        broker.ack([envelope.mid for envelope in envelopes])
                        for envelope in envelopes:
                            answers.extend(_answers(envelope.payload, message.id))
                        if answers:
                            return

    call(run())
    if not answers:
        raise HubError(f"no answer within {ANSWER_S:g} s; it is on its way: `vigil doctor`")
    if answers[0]:
        raise HubError(answers[0])
    out.print("done")


def _answers(payload: bytes, command: str) -> list[str]:
    """Return what intake made of a command, if this batch says: "" done, else why not."""
    from schemas.codec import decode_judged, message_id
    from schemas.errors import DecodeError

    try:
        batch = decode_judged(payload)
    except DecodeError:
        return []
    found = [refusal.detail for refusal in batch.refusals if refusal.id == command]
    found += ["" for taken in batch.inputs if message_id(taken.body) == command]
    return found
