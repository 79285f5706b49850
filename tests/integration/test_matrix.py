"""Every route and socket, asked by nobody, by every role, and by another hospital's people.

A route that is not in the table fails the test: nothing comes in without a row.
"""

import re
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.routing import APIWebSocketRoute
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed, InvalidStatus

from care.roles import ALLOWED, ROLES, May
from dashboard.app import make_app
from dashboard.fhir_search import SEARCH
from hub.cli import _rule_services, _services
from hub.sites import load_sites
from tests.support.browser import browser, open_socket
from tests.support.publisher import Publisher

OURS, BESIDE, THEIRS = "m/icu/bed-01", "m/icu/bed-09", "n/icu/bed-01"
PASSWORD = "long enough"
OPEN, PAGE, EVERYBODY, NAMES = "open", "page", "everybody", "names"


@dataclass
class Row:
    """Who may ask a route, with what body, and whether it is about one bed, unit or patient."""

    who: May | str
    body: Any = None
    bound: bool = False
    anonymous: int = 401
    parameters: dict[str, str] = field(default_factory=dict)


BED = "/api/beds/{hospital}/{unit}/{bed}"
NOW_MS = int(time.time() * 1000)
SPAN = {"start": NOW_MS - 60_000, "end": NOW_MS}
NOTE = SPAN | {"label": "drug"}
ADVICE = {"what": "a", "why": "b", "within_min": 5}
LATER = "2040-01-01T00:00:00Z"
EXCEPTION = {"rule": "spo2_low", "reason": "COPD known", "until": LATER, "below": 85}
DUTY = {"role": "county-nurse", "username": "x", "start": LATER, "end": "2040-01-02T00:00:00Z"}
LEAVE = {
    "resourceType": "Encounter",
    "status": "finished",
    "class": {"code": "IMP"},
    "period": {"end": LATER},
}
GLASS = {"scope": "n", "reason": "transfer tonight", "minutes": 1}

TABLE: dict[tuple[str, str], Row] = {
    ("GET", "/healthz"): Row(OPEN),
    ("GET", "/readyz"): Row(OPEN),
    ("GET", "/metrics"): Row(OPEN),  # from this machine; otherwise its token
    ("GET", "/manifest.webmanifest"): Row(OPEN),
    ("GET", "/worker.js"): Row(OPEN),
    ("GET", "/offline"): Row(OPEN),
    ("GET", "/login"): Row(OPEN),
    ("POST", "/login"): Row(OPEN, anonymous=401),
    ("POST", "/logout"): Row("last"),
    ("GET", "/password"): Row(EVERYBODY),
    ("POST", "/password"): Row(EVERYBODY),
    ("GET", "/openapi.json"): Row(EVERYBODY),
    ("GET", "/"): Row(PAGE),
    ("GET", "/bed/{bed}"): Row(PAGE),
    ("GET", "/consults"): Row(PAGE),
    ("GET", "/consults/{consult}"): Row(PAGE),
    ("GET", "/ward"): Row(PAGE),
    ("GET", "/ward/{unit}"): Row(PAGE),
    ("GET", "/review"): Row(PAGE),
    ("GET", "/rules"): Row(PAGE),
    ("GET", "/handover"): Row(PAGE),
    ("GET", "/handover/{unit}"): Row(PAGE),
    ("GET", "/system"): Row(PAGE),
    ("GET", "/access"): Row(PAGE),
    ("GET", "/access/{scope}"): Row(PAGE),
    ("GET", "/api/access/sessions"): Row(EVERYBODY),
    ("DELETE", "/api/access/sessions"): Row(EVERYBODY),
    ("DELETE", "/api/access/sessions/{session}"): Row(EVERYBODY),
    ("GET", "/api/access/break-glass"): Row(EVERYBODY),
    ("POST", "/api/access/break-glass"): Row(May.BREAK_GLASS, GLASS),
    ("DELETE", "/api/access/break-glass/{found}"): Row(EVERYBODY),
    ("GET", "/api/access/audit"): Row(May.AUDIT),
    ("GET", "/api/access/audit/verdict"): Row(May.AUDIT),
    ("POST", f"{BED}/alerts/{{alert}}/acknowledge"): Row(May.ALERTS, bound=True),
    ("POST", f"{BED}/alerts/{{alert}}/decline"): Row(May.ALERTS, bound=True),
    ("POST", f"{BED}/commands"): Row(
        May.ALERTS, {"kind": "shelve", "rule": "spo2_low", "minutes": 5, "reason": "x"}, bound=True
    ),
    ("POST", f"{BED}/observations"): Row(May.OBSERVE, {"values": {"acvpu": "A"}}, bound=True),
    ("GET", "/api/observations"): Row(EVERYBODY),
    ("GET", "/api/annunciation"): Row(EVERYBODY),
    ("GET", "/api/alerts"): Row(EVERYBODY),
    ("GET", "/api/alerts/{alert}"): Row(EVERYBODY, bound=True),
    ("GET", f"{BED}/why"): Row(EVERYBODY, bound=True),
    ("GET", "/api/burden"): Row(EVERYBODY),
    ("GET", "/api/rules"): Row(EVERYBODY),
    ("GET", "/api/deliveries"): Row(EVERYBODY),
    ("GET", BED): Row(EVERYBODY, bound=True),
    ("GET", "/api/care"): Row(EVERYBODY),
    ("GET", "/api/care/roles"): Row(EVERYBODY),
    ("GET", "/api/care/stays"): Row(EVERYBODY),
    ("POST", "/api/care/stays"): Row(May.PLACE, {"bed": OURS}, bound=True),
    ("PUT", "/api/care/stays/{stay}/patient"): Row(May.PLACE, {"age": 60}, bound=True),
    ("POST", "/api/care/stays/{stay}/move"): Row(May.PLACE, {"bed": "m/icu/bed-02"}, bound=True),
    ("POST", "/api/care/stays/{stay}/swap"): Row(May.PLACE, {"other": "s-none"}, bound=True),
    ("POST", "/api/care/stays/{stay}/correct"): Row(May.PLACE, {"begins": LATER}, bound=True),
    ("POST", "/api/care/stays/{stay}/exceptions"): Row(May.EXCEPT, EXCEPTION, bound=True),
    ("DELETE", "/api/care/stays/{stay}/exceptions/{rule}"): Row(May.EXCEPT, bound=True),
    ("POST", "/api/care/stays/{stay}/discharge"): Row(May.PLACE, {"at": LATER}, bound=True),
    ("PUT", "/api/care/beds/{hospital}/{unit}/{bed}/state"): Row(
        May.PLACE, {"state": "monitored"}, bound=True
    ),
    ("PUT", "/api/care/units/{hospital}/{unit}/ladder"): Row(May.LEAD, {"steps": []}, bound=True),
    ("POST", "/api/care/units/{hospital}/{unit}/duty"): Row(May.LEAD, DUTY, bound=True),
    ("GET", f"{BED}/table/numerics"): Row(EVERYBODY, bound=True),
    ("GET", f"{BED}/table/waves"): Row(EVERYBODY, bound=True),
    ("GET", f"{BED}/trend"): Row(EVERYBODY, bound=True),
    ("GET", f"{BED}/events"): Row(EVERYBODY, bound=True),
    ("GET", f"{BED}/scores"): Row(EVERYBODY, bound=True),
    ("GET", f"{BED}/waves"): Row(EVERYBODY, bound=True),
    ("GET", f"{BED}/waves/minutes"): Row(EVERYBODY, bound=True),
    ("GET", "/api/annotations/labels"): Row(EVERYBODY),
    ("GET", f"{BED}/annotations"): Row(EVERYBODY, bound=True),
    ("POST", f"{BED}/annotations"): Row(May.ANNOTATE, NOTE, bound=True),
    ("GET", "/api/annotations/{annotation}"): Row(EVERYBODY, bound=True),
    ("PUT", "/api/annotations/{annotation}"): Row(May.ANNOTATE, NOTE, bound=True),
    ("DELETE", "/api/annotations/{annotation}"): Row(May.ANNOTATE, bound=True),
    ("GET", "/api/consults"): Row(EVERYBODY),
    ("POST", f"{BED}/consults"): Row(May.CONSULT, {"text": "?"}, bound=True),
    ("GET", "/api/consults/{consult}"): Row(EVERYBODY, bound=True),
    ("POST", "/api/consults/{consult}/messages"): Row(May.CONSULT, {"text": "x"}, bound=True),
    ("POST", "/api/consults/{consult}/images"): Row(May.CONSULT, bound=True),
    ("GET", "/api/consults/{consult}/images/{image}"): Row(EVERYBODY, bound=True),
    ("POST", "/api/consults/{consult}/advice"): Row(May.ADVISE, ADVICE, bound=True),
    ("POST", "/api/consults/{consult}/advice/{advice}"): Row(
        May.ANSWER, {"answer": "done"}, bound=True
    ),
    ("POST", "/api/consults/{consult}/accept"): Row(May.CONSULT, bound=True),
    ("POST", "/api/consults/{consult}/withdraw"): Row(May.CONSULT, bound=True),
    ("POST", "/api/consults/{consult}/close"): Row(May.CONSULT, bound=True),
    ("GET", "/api/me"): Row(EVERYBODY),
    ("GET", f"{BED}/patient"): Row(NAMES, bound=True),
    ("GET", "/api/units/{hospital}/{unit}"): Row(EVERYBODY, bound=True),
    ("POST", "/api/units/{hospital}/{unit}/sound-check"): Row(
        May.ALERTS, {"heard": True}, bound=True
    ),
    ("GET", "/api/questions"): Row(EVERYBODY),
    ("POST", "/api/questions/{question}"): Row(May.PLACE, {"answer": "same"}),
    ("GET", "/api/units/{hospital}/{unit}/handover"): Row(EVERYBODY, bound=True),
    ("GET", "/api/rule-sets/current"): Row(EVERYBODY),
    ("GET", "/api/rule-sets/history"): Row(EVERYBODY),
    ("POST", "/api/rule-sets/check"): Row(May.TRY, {"overlays": {}}),
    ("POST", "/api/rule-sets/trials"): Row(May.TRY, {"overlays": {}, "days": 0.01}),
    ("GET", "/api/rule-sets/trials/{trial}"): Row(EVERYBODY),
    ("POST", "/api/rule-sets/publish"): Row(
        May.RULES, {"overlays": {}, "reason": "x", "on": "none"}
    ),
    ("POST", "/api/rule-sets/history/{number}/roll-back"): Row(May.RULES, {"reason": "x"}),
    ("GET", "/fhir/metadata"): Row(EVERYBODY),
    **{("GET", f"/fhir/{kind}"): Row(EVERYBODY) for kind in SEARCH},
    **{("GET", f"/fhir/{kind}/{{name}}"): Row(EVERYBODY, bound=True) for kind in SEARCH},
    ("POST", "/fhir/Patient"): Row(May.PLACE, {"resourceType": "Patient"}),
    ("PUT", "/fhir/Patient/{name}"): Row(May.PLACE, {"resourceType": "Patient"}, bound=True),
    ("POST", "/fhir/Encounter"): Row(May.PLACE, {"resourceType": "Encounter"}),
    ("PUT", "/fhir/Encounter/{name}"): Row(May.PLACE, LEAVE, bound=True),
    ("POST", "/fhir/Observation"): Row(May.OBSERVE, {"resourceType": "Observation"}),
    ("GET", "/api/system"): Row(EVERYBODY),
    ("GET", "/api/system/screens"): Row(EVERYBODY),
    ("GET", "/api/system/rejected"): Row(EVERYBODY),
}
SOCKETS = {
    "/ws/wall": False,
    "/ws/bed/{hospital}/{unit}/{bed}": True,
    "/ws/waves/{hospital}/{unit}/{bed}": True,
}
"""Whether a socket is about one bed."""


@pytest.fixture(scope="module")
def ward(hub):
    """A hub with a bed in each of two hospitals, and in ours a patient, consult and annotation."""
    publisher = Publisher(hub.settings.broker.port, "matrix")
    publisher.drain({publisher.numerics(bed, 1, {"hr": 80}) for bed in (OURS, BESIDE, THEIRS)})
    publisher.close()
    for role in ROLES:
        hub.account(f"ours-{role}", role=role, scope=("m",))
        hub.account(f"theirs-{role}", role=role, scope=("n",))
    base = hub.address
    with ExitStack() as stack:
        names = [f"{side}-{role}" for side in SIDES for role in ROLES]
        people = {name: stack.enter_context(browser(base, name)) for name in names}
        nobody = stack.enter_context(browser(base))
        nurse = people["ours-county-nurse"]
        hub.wait("the bed is known", lambda: nurse.get(f"/api/beds/{OURS}").status_code == 200)
        admitted = nurse.post("/api/care/stays", json={"bed": OURS, "name": "张三丰"})
        consult = nurse.post(f"/api/beds/{OURS}/consults", json={"text": "请会诊"})
        annotation = nurse.post(f"/api/beds/{OURS}/annotations", json=NOTE)
        fill = {
            "hospital": "m",
            "unit": "icu",
            "bed": "bed-01",
            "alert": "none",
            "rule": "spo2_low",
            "session": "none",
            "found": "none",
            "advice": "none",
            "image": "none",
            "question": "none",
            "trial": "none",
            "number": "0",
            "scope": "m/icu",
            "stay": admitted.json()["stay"],
            "name": admitted.json()["stay"],
            "consult": consult.json()["id"],
            "annotation": annotation.json()["id"],
        }
        yield base, people, nobody, fill


SIDES = ("ours", "theirs")


def ask(client, method, path, row, fill):
    if path == "/bed/{bed}":
        fill = fill | {"bed": OURS}
    if path in ("/ward/{unit}", "/handover/{unit}"):
        fill = fill | {"unit": "m/icu"}
    body = {} if row.body is None else {"json": row.body}
    return client.request(method, path.format_map(fill), **body)


def test_every_route_and_socket_has_a_row(hub):
    """Also those that the OpenAPI does not list."""
    settings, sites = hub.settings, load_sites(None)
    gate = make_app(settings, sites, _services(settings, sites), _rule_services(settings))
    sockets, routes, queue = set(), set(), list(gate.app.routes)
    while queue:
        route = queue.pop()
        router = getattr(route, "original_router", None)
        queue += router.routes if router is not None else []
        if isinstance(route, APIWebSocketRoute):
            sockets.add(route.path)
        elif isinstance(route, Route):
            path = re.sub(r":\w+}", "}", route.path)
            routes |= {(method, path) for method in route.methods - {"HEAD"}}
        else:
            assert router is not None or route.path == "/assets"
    assert sockets == SOCKETS.keys()
    assert routes == TABLE.keys()


def test_the_openapi_says_nothing_that_is_not_there(ward):
    _, people, _, _ = ward
    listed = people["ours-administrator"].get("/openapi.json").json()["paths"]
    there = {(method.upper(), path) for path, methods in listed.items() for method in methods}
    assert there <= TABLE.keys()


def test_nobody_comes_in_without_a_session(ward):
    _, _, nobody, fill = ward
    wrong = {}
    for (method, path), row in TABLE.items():
        status = ask(nobody, method, path, row, fill).status_code
        expected = {OPEN: 200, PAGE: 303}.get(row.who, 401)
        if (method, path) == ("POST", "/login"):
            expected = 401
        if status not in (expected, 503 if path == "/readyz" else expected):
            wrong[method, path] = status
    assert wrong == {}


def test_a_page_alone_tells_nothing_of_another_hospital(ward):
    _, people, _, fill = ward
    for (method, path), row in TABLE.items():
        if row.who != PAGE:
            continue
        answer = ask(people["theirs-county-nurse"], method, path, row, fill)
        assert answer.status_code == 200
        assert "张三丰" not in answer.text
        assert BESIDE not in answer.text  # the bed in the address is only said back


@pytest.mark.parametrize("role", ROLES)
def test_names_are_whole_at_the_bedside_alone(ward, role):
    _, people, _, _ = ward
    said = people[f"ours-{role}"].get(f"/api/beds/{OURS}/patient")
    assert said.status_code == 200
    whole = May.NAMES in ALLOWED[role]
    assert said.json()["name"] == ("张三丰" if whole else "张**")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_the_table_of_permissions_says(ward, role):
    _, people, _, fill = ward
    wrong = {}
    for (method, path), row in TABLE.items():
        if row.who in (OPEN, "last"):
            continue
        status = ask(people[f"ours-{role}"], method, path, row, fill).status_code
        allowed = not isinstance(row.who, May) or row.who in ALLOWED[role]
        if path == "/password" and method == "POST":
            allowed = status in (401, 422)  # the form says why
            status = 200
        refused = status in (401, 403)
        if refused == allowed or status >= 500:
            wrong[method, path] = (status, allowed)
    assert wrong == {}


@pytest.mark.parametrize("role", ROLES)
def test_another_hospitals_people_get_and_change_nothing(ward, role):
    _, people, _, fill = ward
    wrong = {}
    for (method, path), row in TABLE.items():
        answer = None
        if row.bound:
            answer = ask(people[f"theirs-{role}"], method, path, row, fill)
            if answer.status_code not in (403, 404, 422):
                wrong[method, path] = answer.status_code
        elif row.who == EVERYBODY and method == "GET" and path != "/openapi.json":
            answer = ask(people[f"theirs-{role}"], method, path, row, fill)
        if answer is not None and method == "GET" and row.who != PAGE:
            for secret in ("张三丰", "请会诊", BESIDE, fill["stay"]):
                if secret in answer.text:
                    wrong[method, path, secret] = answer.status_code
    assert wrong == {}


@pytest.mark.parametrize("path", SOCKETS)
def test_sockets(ward, path):
    _, people, nobody, fill = ward

    def opens(client, **options):
        try:
            with open_socket(client, path.format_map(fill), **options) as socket:
                said = socket.recv(timeout=5) if "waves" not in path else b""
        except (ConnectionClosed, InvalidStatus):
            return None
        return said

    assert opens(nobody) is None
    assert opens(people["ours-county-nurse"], origin="http://elsewhere.example") is None
    assert opens(people["ours-county-nurse"]) is not None
    for role in ROLES:
        said = opens(people[f"theirs-{role}"])
        if SOCKETS[path]:
            assert said is None, role
        else:
            assert "m/icu/bed-01" not in said, role


def test_signing_out_ends_it(ward):
    _, people, _, _ = ward
    client = people["theirs-integrator"]
    assert client.post("/logout").status_code == 303
    assert client.get("/api/me").status_code == 401
