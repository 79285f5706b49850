"""FHIR R4 out of a real hub and into it: every answer validated by ``fhir.resources``."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.device import Device
from fhir.resources.R4B.encounter import Encounter
from fhir.resources.R4B.flag import Flag
from fhir.resources.R4B.location import Location
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.patient import Patient

from schemas.waves import WaveChunk, encode_chunk
from tests.support.browser import browser
from tests.support.publisher import Publisher

MODELS = {
    m.__name__: m
    for m in (
        Bundle,
        CapabilityStatement,
        Device,
        Encounter,
        Flag,
        Location,
        Observation,
        OperationOutcome,
        Patient,
    )
}
BED = "fh/icu/bed-1"
LOINC = "http://loinc.org"


def valid(answer, status=200):
    assert answer.status_code == status, answer.text[:500]
    body = answer.json()
    MODELS[body["resourceType"]].model_validate(body)
    for entry in body.get("entry", []):
        one = entry["resource"]
        MODELS[one["resourceType"]].model_validate(one)
    return body


def resources(body):
    return [entry["resource"] for entry in body.get("entry", [])]


def codes(concept):
    return {coding["code"] for coding in concept["coding"]}


@pytest.fixture(scope="module")
def ward(hub):
    hub.account("fhir-nurse", role="county-nurse", scope=("fh",))
    hub.account("fhir-other", role="county-nurse", scope=("elsewhere",))
    publisher = Publisher(hub.settings.broker.port, "fhir")
    publisher.drain({publisher.numerics(BED, 0, {"hr": 61})})
    hub.wait("the bed is known", lambda: hub.readings(BED)[0] == 1)
    with browser(hub.address, "fhir-nurse") as nurse, browser(hub.address, "fhir-other") as other:
        made = valid(
            nurse.post(
                "/fhir/Patient",
                json={
                    "resourceType": "Patient",
                    "name": [{"family": "王", "given": ["小明"]}],
                    "birthDate": "1960-05-01",
                },
            ),
            201,
        )
        (bed,) = resources(valid(nurse.get("/fhir/Location", params={"name": BED})))
        start = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
        valid(
            nurse.post(
                "/fhir/Encounter",
                json={
                    "resourceType": "Encounter",
                    "status": "in-progress",
                    "class": {"code": "IMP"},
                    "subject": {"reference": f"Patient/{made['id']}"},
                    "period": {"start": start},
                    "location": [{"location": {"reference": f"Location/{bed['id']}"}}],
                },
            ),
            201,
        )
        now = int(time.time() * 1000)
        mids = set()
        for i in range(1, 301):
            values = {"hr": 70 + i % 20, "spo2": 97, "nibp_sys": 121, "nibp_dia": 71, "temp": 36.6}
            values |= {"sphb": 12.3}
            if i == 300:
                values["spo2"] = None
            mids.add(publisher.numerics(BED, i, values, measured_ms=now - (300 - i) * 1000))
        samples = np.arange(1000, dtype=np.int16)
        samples[5] = -32768
        start_ns = (now - 60_000) * 1_000_000
        chunk = WaveChunk(
            BED,
            "ecg-ii",
            "mon-1",
            "b1",
            "mV",
            1,
            start_ns,
            None,
            start_ns,
            250.0,
            0.005,
            0.0,
            samples,
        )
        mids.add(publisher.send(f"vigil/v1/{BED}/waves/ecg-ii", encode_chunk(chunk)))
        publisher.drain(mids)
        for seq in range(3):
            publisher.numerics(BED, 400 + seq, {"spo2": 70})
        hub.wait("all is stored", lambda: hub.readings(BED)[0] >= 304)
        publisher.close()
        yield hub, nurse, other, made["id"], bed["id"]


def test_the_capability_statement_is_true(ward):
    _, nurse, _, stay, _ = ward
    said = valid(nurse.get("/fhir/metadata"))
    for resource in said["rest"][0]["resource"]:
        kind = resource["type"]
        does = {one["code"] for one in resource["interaction"]}
        for parameter in resource["searchParam"]:
            values = {"reference": f"Patient/{stay}", "date": "2026-01-01", "token": "x"}
            if parameter["name"] == "encounter":
                values["reference"] = f"Encounter/{stay}"
            given = {parameter["name"]: values.get(parameter["type"], "x")}
            if kind in ("Observation", "Flag") and parameter["type"] != "reference":
                given["patient"] = stay
            valid(nurse.get(f"/fhir/{kind}", params=given))
        assert nurse.get(f"/fhir/{kind}/none").status_code == 404
        assert ("create" in does) == (nurse.post(f"/fhir/{kind}", json={}).status_code == 422)
        assert ("update" in does) == (nurse.put(f"/fhir/{kind}/none", json={}).status_code == 422)
    wrong = valid(nurse.get("/fhir/Observation", params={"color": "red"}), 400)
    assert "color" in wrong["issue"][0]["diagnostics"]


def test_vital_signs_follow_their_profiles(ward):
    _, nurse, _, stay, _ = ward
    found = resources(valid(nurse.get("/fhir/Observation", params={"patient": stay})))
    assert len(found) == 100
    by_code = {}
    for one in found:
        for code in codes(one["code"]):
            by_code.setdefault(code, one)
        assert one["subject"] == {"reference": f"Patient/{stay}"}
        assert one["category"][0]["coding"][0]["code"] == "vital-signs"
    heart = by_code["8867-4"]
    assert "147842" in codes(heart["code"])
    assert heart["valueQuantity"]["system"] == "http://unitsofmeasure.org"
    assert heart["valueQuantity"]["code"] == "/min"
    assert {"2708-6", "59408-5", "150456"} <= codes(by_code["2708-6"]["code"])
    assert by_code["8310-5"]["valueQuantity"]["value"] == 36.6
    pressure = by_code["85354-9"]
    parts = {code: part for part in pressure["component"] for code in codes(part["code"])}
    assert parts["8480-6"]["valueQuantity"]["value"] == 121
    assert parts["8462-4"]["valueQuantity"]["value"] == 71
    assert by_code["sphb"]["valueQuantity"]["unit"] == "g/dL"
    missing = [o for o in found if "dataAbsentReason" in o and "2708-6" in codes(o["code"])]
    assert len(missing) == 1
    assert "valueQuantity" not in missing[0]


def test_pages_hold_everything_once_in_either_order(ward):
    _, nurse, _, stay, _ = ward
    code = f"{LOINC}|8867-4"
    seen = {}
    for sort in ("date", "-date"):
        address = f"/fhir/Observation?patient={stay}&code={code}&_count=70&_sort={sort}"
        ids, pages = [], 0
        while address:
            body = valid(nurse.get(address))
            ids += [(o["effectiveDateTime"], o["id"]) for o in resources(body)]
            links = {link["relation"]: link["url"] for link in body["link"]}
            address, pages = links.get("next"), pages + 1
        assert len(ids) == 301
        assert len(set(ids)) == len(ids)
        assert pages == 5
        assert [t for t, _ in ids] == sorted((t for t, _ in ids), reverse=sort == "-date")
        seen[sort] = set(ids)
    assert seen["date"] == seen["-date"]
    one = valid(nurse.get(f"/fhir/Observation/{ids[0][1]}"))
    assert one["id"] == ids[0][1]


def test_dates_bound_a_search(ward):
    _, nurse, _, stay, _ = ward
    cut = (datetime.now(UTC) - timedelta(seconds=120)).isoformat(timespec="seconds")
    code = "8867-4"
    counted = []
    for prefix in ("ge", "lt"):
        found = valid(
            nurse.get(
                "/fhir/Observation",
                params={"patient": stay, "code": code, "date": f"{prefix}{cut}", "_count": 1000},
            )
        )
        counted.append(len(resources(found)))
    assert sum(counted) == 301
    assert min(counted) > 50
    for wrong in ("yesterday", "2026-13-01", "2026-01-01T00:00:00"):
        valid(nurse.get("/fhir/Observation", params={"patient": stay, "date": wrong}), 400)


def test_waveforms_are_sampled_data(ward):
    hub, nurse, _, stay, _ = ward
    params = {
        "patient": stay,
        "code": "urn:iso:std:iso:11073:10101|131330",
        "date": f"ge{(datetime.now(UTC) - timedelta(minutes=5)).isoformat()}",
    }
    found = hub.wait(
        "the wave is there",
        lambda: resources(valid(nurse.get("/fhir/Observation", params=params))),
    )
    data = found[0]["valueSampledData"]
    assert data["period"] == 4
    assert data["factor"] == 0.005
    assert data["dimensions"] == 1
    texts = data["data"].split(" ")
    assert texts[:7] == ["0", "1", "2", "3", "4", "E", "6"]
    assert sum(len(o["valueSampledData"]["data"].split(" ")) for o in found) == 1000
    assert valid(nurse.get(f"/fhir/Observation/{found[0]['id']}")) == found[0]
    valid(nurse.get("/fhir/Observation", params={**params, "date": "ge2026-01-01"}), 400)


def test_alerts_are_flags_and_devices_and_encounters_are_there(ward):
    hub, nurse, _, stay, bed = ward
    flags = hub.wait(
        "the alert is a flag",
        lambda: [
            f
            for f in resources(valid(nurse.get("/fhir/Flag", params={"patient": stay})))
            if "spo2_low" in str(codes(f["code"])) or "spo2" in str(codes(f["code"]))
        ],
    )
    assert flags[0]["status"] == "active"
    assert flags[0]["subject"] == {"reference": f"Patient/{stay}"}
    assert valid(nurse.get(f"/fhir/Flag/{flags[0]['id']}"))["id"] == flags[0]["id"]
    (device,) = resources(valid(nurse.get("/fhir/Device", params={"identifier": "mon-1"}))) or [{}]
    assert device["deviceName"][0]["name"] == "mon-1"
    encounter = valid(nurse.get(f"/fhir/Encounter/{stay}"))
    assert encounter["status"] == "in-progress"
    assert encounter["location"][0]["location"]["reference"] == f"Location/{bed}"
    person = valid(nurse.get(f"/fhir/Patient/{stay}"))
    assert person["name"][0]["text"] == "王小明"


def test_another_hospital_sees_nothing(ward):
    _, _, other, stay, bed = ward
    for kind in ("Patient", "Encounter", "Device", "Location"):
        assert not [r for r in resources(valid(other.get(f"/fhir/{kind}"))) if "fh/" in str(r)]
    assert resources(valid(other.get("/fhir/Observation", params={"patient": stay}))) == []
    assert resources(valid(other.get("/fhir/Flag", params={"patient": stay}))) == []
    for path in (f"Patient/{stay}", f"Encounter/{stay}", f"Location/{bed}"):
        valid(other.get(f"/fhir/{path}"), 404)


def observed(stay, **more):
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8310-5"}]},
        "subject": {"reference": f"Patient/{stay}"},
        **more,
    }


def test_what_people_observe_comes_in_and_counts(ward):
    hub, nurse, _, stay, _ = ward
    fahrenheit = {
        "value": 101.3,
        "unit": "F",
        "system": "http://unitsofmeasure.org",
        "code": "[degF]",
    }
    valid(nurse.post("/fhir/Observation", json=observed(stay, valueQuantity=fahrenheit)), 201)
    hub.wait(
        "it counts",
        lambda: "38.5" in str(nurse.get(f"/api/beds/{BED}").json().get("observed")),
    )
    for body, what in (
        (observed(stay), "value"),
        (observed(stay, valueQuantity={"value": 400}), "value"),
        (observed(stay, valueQuantity={"value": 5, "code": "kg"}), "kg"),
        (observed(stay, status=7), "status"),
        (observed("nobody", valueQuantity={"value": 37}), "subject"),
        ({"resourceType": "Patient"}, "resourceType"),
    ):
        said = valid(nurse.post("/fhir/Observation", json=body), 422)
        assert what in said["issue"][0]["diagnostics"]


def test_a_token_is_enough_for_a_program(ward):
    import httpx

    hub, _, _, stay, _ = ward
    done = hub.run("token", "fhir-nurse", "--days", "1")
    token = done.stdout.strip().splitlines()[-1]
    head = {"Authorization": f"Bearer {token}"}
    body = observed(stay, valueQuantity={"value": 37.1, "code": "Cel"})
    assert httpx.post(f"{hub.address}/fhir/Observation", json=body, headers=head).status_code == 201
    wrong = {"Authorization": "Bearer nothing"}
    assert httpx.get(f"{hub.address}/fhir/Patient", headers=wrong).status_code == 401


def test_an_encounter_ends(ward):
    _, nurse, _, stay, bed = ward
    body = valid(nurse.get(f"/fhir/Encounter/{stay}"))
    body |= {"status": "finished", "period": {"end": datetime.now(UTC).isoformat()}}
    ended = valid(nurse.put(f"/fhir/Encounter/{stay}", json=body))
    assert ended["status"] == "finished"
    free = resources(valid(nurse.get("/fhir/Observation", params={"subject": f"Location/{bed}"})))
    assert all(o["subject"]["reference"] == f"Location/{bed}" for o in free)
