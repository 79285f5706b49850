"""The console attacked: generated requests, injections, paths that lead out, floods, slow lines."""

import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.browser import browser, cookies
from tests.support.hub import Hub
from tests.support.publisher import Publisher

BED = "/api/beds/x/icu/b1"
HOSTILE = (
    "'; DROP TABLE stay; --",
    "1' OR '1'='1",
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "{{1234*1111}}${1234*1111}%(bed)s{0.__class__}",
    "../../../../etc/passwd",
    "\u202eevil\u2066",
    "x" * 290,
)
SERVER_SLOWEST_S = 30


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    hub = Hub(tmp_path_factory.mktemp("attacks"))
    hub.start()
    hub.account("boss", role="administrator")
    hub.account("nurse", role="county-nurse")
    hub.account("expert", role="remote-intensivist")
    publisher = Publisher(hub.settings.broker.port)
    publisher.drain({publisher.numerics("x/icu/b1", 1, {"hr": 80})})
    publisher.close()
    yield hub
    hub.stop()


@pytest.fixture(scope="module")
def base(hub):
    return hub.address


@pytest.fixture
def person(hub, base):
    """Return a function that signs somebody in."""
    with ExitStack() as stack:

        def enter(name):
            client = stack.enter_context(browser(base, name, timeout=SERVER_SLOWEST_S))
            hub.wait("the bed is known", lambda: client.get(BED).status_code == 200)
            return client

        yield enter


@pytest.mark.timeout(600)
def test_no_generated_request_makes_the_server_fail(person, base):
    """Schemathesis over the whole OpenAPI, as the account that may most."""
    boss = person("boss")
    command = Path(sys.executable).parent / "schemathesis"
    done = subprocess.run(
        [
            str(command),
            "run",
            f"{base}/openapi.json",
            *("--header", f"Cookie: {cookies(boss)}", "--header", f"Origin: {base}"),
            *("--checks", "not_a_server_error", "--max-examples", "8", "--seed", "1"),
            *("--exclude-path-regex", "^/(logout|login|password|oidc|api/access/sessions)"),
            *("--rate-limit", "55/s", "--suppress-health-check", "all", "--workers", "2"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert boss.get("/api/system").status_code == 200


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_what_people_write_is_data_and_nothing_else(hub, person, hostile):
    nurse, expert = person("nurse"), person("expert")
    now = int(time.time() * 1000)
    note = {"start": now - 1000, "end": now, "label": "drug", "note": hostile}
    assert nurse.post(f"{BED}/annotations", json=note).status_code in (201, 422)
    consult = nurse.post(f"{BED}/consults", json={"text": hostile})
    assert consult.status_code in (201, 422)
    if consult.status_code == 201:
        shown = expert.get(f"/api/consults/{consult.json()['id']}")
        assert hostile in [act["text"] for act in shown.json()["thread"]]
        assert shown.headers["content-type"].startswith("application/json")
        advice = {"what": hostile, "why": hostile, "within_min": 5}
        path = f"/api/consults/{consult.json()['id']}"
        expert.post(f"{path}/accept")
        assert expert.post(f"{path}/advice", json=advice).status_code in (200, 422)
    for path in (
        f"/api/alerts?bed={hostile}",
        f"/api/care/stays?bed={hostile}",
        f"/api/system/rejected?device={hostile}",
        f"{BED}/why?rule={hostile}",
        f"{BED}/trend?since={hostile}",
        f"/api/consults?bed={hostile}",
    ):
        assert nurse.get(path).status_code < 500, path
    for path in ("bed", "ward", "handover", "consults", "access"):
        answer = nurse.get(f"/{path}/{hostile}")
        assert answer.status_code < 500
        assert "<script>window" not in answer.text
        assert "<img src=x" not in answer.text
        assert "1370974" not in answer.text  # the product: a template that was filled
    with httpx.Client(base_url=nurse.base_url, headers=dict(nurse.headers)) as stranger:
        wrong = stranger.post("/login", data={"username": hostile, "password": hostile})
        assert wrong.status_code == 401
        assert "<script>window" not in wrong.text
    with psycopg.connect(hub.settings.database_address) as connection:
        row = connection.execute("SELECT count(*) FROM stay").fetchone()
        assert row is not None


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../gate.py",
        "/assets/%2e%2e/gate.py",
        "/assets/..%2fgate.py",
        "/assets/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/assets//etc/passwd",
        "/assets/....//gate.py",
        "/assets/fonts/../../gate.py",
        "/assets/fonts/..%5c..%5cgate.py",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_assets(person, path):
    nurse = person("nurse")
    said = raw(nurse, f"GET {path} HTTP/1.1")
    assert b" 200 " not in said.split(b"\r\n", 1)[0]
    assert b"root:" not in said
    assert b"class Gate" not in said


def raw(client, line, headers="", body=b"", wait_s=20.0):
    """Send a request as bytes; return the answer, or nothing when the line is closed."""
    host = client.base_url.netloc.decode()
    head = f"{line}\r\nHost: {host}\r\nCookie: {cookies(client)}\r\n{headers}\r\n"
    with socket.create_connection(
        (client.base_url.host, client.base_url.port), timeout=wait_s
    ) as line_out:
        line_out.sendall(head.encode("latin-1") + body)
        said = b""
        while True:
            try:
                piece = line_out.recv(65_536)
            except (TimeoutError, ConnectionResetError):
                return said
            said += piece
            if not piece or b"\r\n\r\n" in said:
                return said


def test_a_body_that_is_too_large_is_refused(person, base):
    nurse = person("nurse")
    large = b"{" + b" " * 2_000_000 + b"}"
    said = nurse.post(f"{BED}/consults", content=large)
    assert said.status_code == 413

    def pieces():
        for _ in range(40):
            yield b" " * 65_536

    try:
        status = nurse.post(f"{BED}/consults", content=pieces()).status_code
    except httpx.TransportError:
        status = 413  # it hung up before all was sent
    assert status == 413
    assert nurse.get("/api/me").status_code == 200
    headers = f"Origin: {base}\r\nContent-Length: 99999999999999999999\r\n"
    assert b" 413 " in raw(nurse, "POST /login HTTP/1.1", headers)[:20] + b" 413 "


def test_who_sends_slowly_is_let_go(person, base):
    nurse = person("nurse")
    began = time.monotonic()
    with socket.create_connection((nurse.base_url.host, nurse.base_url.port)) as line:
        line.settimeout(SERVER_SLOWEST_S)
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert line.recv(1000) == b""
    assert time.monotonic() - began < SERVER_SLOWEST_S
    headers = f"Origin: {base}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    said = raw(nurse, f"POST {BED}/consults HTTP/1.1", headers, b"{", SERVER_SLOWEST_S)
    assert b" 408 " in said.split(b"\r\n", 1)[0]
    assert nurse.get("/api/me").status_code == 200


def test_a_flood_is_slowed_and_costs_nobody_else(person):
    flooder, other = person("expert"), person("nurse")
    codes = [flooder.get("/api/me").status_code for _ in range(900)]
    assert codes.count(429) > 100
    assert set(codes) == {200, 429}
    assert other.get("/api/me").status_code == 200


def test_a_change_from_elsewhere_is_refused(person):
    nurse = person("nurse")
    for origin in ("http://evil.example", "null", "", f"{nurse.base_url}.evil.example"):
        answer = nurse.post(f"{BED}/consults", json={"text": "x"}, headers={"Origin": origin})
        assert answer.status_code == 403
    answer = nurse.get("/api/me", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_headers_of_every_answer(person):
    nurse = person("nurse")
    for path in ("/", "/login", "/api/me", "/assets/kit.js", "/nonsense", "/healthz"):
        headers = nurse.get(path).headers
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers
    made = nurse.post("/login", data={"username": "nurse", "password": "long enough"})
    for cookie in made.headers.get_list("set-cookie"):
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie


def test_figures_are_for_who_watches_the_hub(hub, person):
    nurse = person("nurse")
    text = nurse.get("/metrics").text
    for name in ("vigil_intake_accepted_total", "vigil_beds", 'vigil_part_up{part="database"} 1.0'):
        assert name in text
    assert nurse.get("/readyz").json() == {"broker": True, "intake": True, "database": True}
