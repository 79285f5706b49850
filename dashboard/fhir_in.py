"""FHIR resources that come in: validated, and read as what Vigil keeps of them."""

import asyncio
from datetime import date
from typing import Any

import orjson
from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError

from care.store import YEAR_S, Patient
from dashboard import fhir
from dashboard.fhir import Resource
from schemas.errors import DecodeError
from schemas.observations import OBSERVATIONS, code
from schemas.times import to_datetime
from schemas.units import convert

OBSERVED = {
    "8310-5": "temp",
    "9279-1": "rr",
    "9269-2": "gcs",
    "3150-6": "fio2",
    "9187-6": "urine",
}
"""LOINC codes of what people observe; others by Vigil's own, urn:x-vigil:observed."""


def _models() -> dict[str, type[BaseModel]]:
    from fhir.resources.R4B.encounter import Encounter  # noqa: PLC0415 - slow, and seldom needed
    from fhir.resources.R4B.observation import Observation  # noqa: PLC0415
    from fhir.resources.R4B.patient import Patient as FhirPatient  # noqa: PLC0415

    return {"Patient": FhirPatient, "Encounter": Encounter, "Observation": Observation}


async def read_resource(request: Request, kind: str) -> Resource:
    """Return a resource that was sent, validated; 422 naming each field that is wrong."""
    try:
        body: Any = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"not JSON: {error}") from None
    if not isinstance(body, dict) or body.get("resourceType") != kind:
        raise HTTPException(422, f"resourceType: a {kind} belongs here")
    models = await asyncio.to_thread(_models)  # the first time it takes a second
    try:
        models[kind].model_validate(body)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or kind}: {e['msg']}" for e in error.errors()[:5]
        )
        raise HTTPException(422, said) from None
    except RecursionError:
        raise HTTPException(422, "nested too deeply") from None
    return body


def reference_to(given: Any, kind: str, where: str) -> str:
    """Return the id in a reference to a kind of resource; 422 naming the field."""
    text = str((given or {}).get("reference", "")) if isinstance(given, dict) else ""
    found, _, name = text.rpartition("/")
    if found.rpartition("/")[2] != kind or not name:
        raise HTTPException(422, f"{where}: a reference to {kind}/… is needed")
    return name


def patient_of(body: Resource, at_ns: int) -> Patient:
    """Return what rules need of a patient, and the name, of a resource."""
    names = [n for n in body.get("name") or [] if isinstance(n, dict)]
    name = None
    if names:
        given = [*(names[0].get("given") or []), names[0].get("family") or ""]
        chinese = any(ord(c) > 0x2E7F for part in given for c in part)
        parts = [names[0].get("family") or "", *(names[0].get("given") or [])] if chinese else given
        name = names[0].get("text") or ("" if chinese else " ").join(p for p in parts if p)
    age = None
    born = body.get("birthDate")
    if born:
        text = f"{born}-01-01"[:10] if len(born) < 10 else born
        years = (to_datetime(at_ns).date() - date.fromisoformat(text)).days * 86_400 / YEAR_S
        age = round(years, 1)
    return Patient(age=age, name=name)


def observed_in(body: Resource) -> tuple[str, float | str | bool]:
    """Return which observation a resource is, and its value in our unit; 422 naming the fix."""
    kind = None
    for coding in (body.get("code") or {}).get("coding") or []:
        if coding.get("system") == fhir.LOINC:
            kind = kind or OBSERVED.get(coding.get("code", ""))
        elif coding.get("system") == fhir.OWN_OBSERVED and coding.get("code") in OBSERVATIONS:
            kind = coding["code"]
    if kind is None:
        known = ", ".join(f"{loinc} {name}" for loinc, name in OBSERVED.items())
        raise HTTPException(
            422,
            f"code: people's observations are LOINC {known}; others are {fhir.OWN_OBSERVED} "
            f"{', '.join(OBSERVATIONS)}",
        )
    value = _value(body, kind)
    try:
        code(kind, value)
    except ValueError as error:
        raise HTTPException(422, f"value: {error}") from None
    return kind, value


def _value(body: Resource, kind: str) -> float | str | bool:
    """Return an observation's value in our unit; 422 naming the field."""
    quantity = body.get("valueQuantity")
    if quantity is not None:
        wanted = OBSERVATIONS[kind].unit
        try:
            unit = quantity.get("code") or quantity.get("unit") or wanted
            return convert(float(quantity.get("value", "nan")), unit, wanted)
        except DecodeError as error:
            raise HTTPException(422, f"valueQuantity: {error}") from None
    if "valueString" in body:
        return str(body["valueString"])
    if "valueBoolean" in body:
        return bool(body["valueBoolean"])
    if "valueInteger" in body:
        return int(body["valueInteger"])
    raise HTTPException(422, "value: valueQuantity, valueString, valueBoolean or valueInteger")
