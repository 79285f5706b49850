"""People and alerts through the real services: care, ladders, notifications, kills, why, try."""

import json
import os
import re
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.browser import browser as browser_at
from tests.support.browser import open_socket
from tests.support.hub import Hub
from tests.support.publisher import Publisher
from tests.support.readings import PACK_FILE

pytestmark = pytest.mark.timeout(180)
UNIT = "a/icu"


class Phone(BaseHTTPRequestHandler):
    """Stands for a messenger's webhook: keeps what it was sent."""

    told: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/broken"):
            self.send_response(500)
        else:
            Phone.told.append((self.path, body["message"]))
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def phone():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Phone)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def ward(tmp_path_factory, phone):
    """A hub of its own: people with phones, a unit with a ladder."""
    folder = tmp_path_factory.mktemp("ward")
    people = folder / "people.toml"
    people.write_text(
        f'[[person]]\nname = "li"\nurls = ["json://127.0.0.1:{phone}/li"]\n'
        f'[[person]]\nname = "zhao"\nurls = ["json://127.0.0.1:{phone}/broken"]\n'
    )
    hub = Hub(
        folder / "hub",
        {"VIGIL_BROKER__ACK_WAIT_S": "3", "VIGIL_NOTIFIER__PEOPLE": str(people)},
    )
    hub.start()
    hub.account("li", role="county-nurse")
    hub.account("zhang", role="charge-nurse")
    yield hub
    hub.stop()


@pytest.fixture
def stranger(ward, request):
    publisher = Publisher(ward.settings.broker.port, f"t-{request.node.name[:40]}")
    yield publisher
    publisher.close()


@pytest.fixture
def browser(ward):
    with browser_at(ward.address, "li", timeout=20) as client:
        yield client


def run(hub, *arguments):
    done = hub.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def events(hub, bed, **equal):
    """Return the ledger of a bed, straight from the table."""
    with psycopg.connect(hub.settings.database_address, row_factory=dict_row) as connection:
        rows = connection.execute(
            "SELECT * FROM alert_event WHERE bed = %s ORDER BY line", (bed,)
        ).fetchall()
    return [row for row in rows if all(row[key] == value for key, value in equal.items())]


def steady(publisher, bed, seconds, start, **vitals):
    """Send a reading a second of the past up to now: ``start`` counts sequence numbers."""
    first = int(time.time() * 1000) - seconds * 1000
    for i in range(seconds):
        publisher.numerics(bed, start + i, vitals, measured_ms=first + i * 1000)


def test_stay_ladder_and_duty_reach_intake_and_an_alert_reaches_a_phone_once(ward, stranger):
    bed = f"{UNIT}/bed-1"
    stay = run(ward, "care", "admit", "--bed", bed, "--by", "lead", "--age", "71")
    run(ward, "care", "ladder", "--unit", UNIT, "--by", "lead")
    run(ward, "care", "duty", "--unit", UNIT, "--role", "county-nurse", "--user", "li", "--by", "x")
    run(
        ward,
        "care",
        "duty",
        "--unit",
        UNIT,
        "--role",
        "charge-nurse",
        "--user",
        "zhao",
        "--by",
        "x",
    )
    assert stay in run(ward, "care", "list")
    refused = ward.run("care", "admit", "--bed", bed, "--by", "lead")
    assert "would both lie there" in refused.stderr
    before = len(Phone.told)
    steady(stranger, bed, 4, 0, spo2=75)
    ward.wait("the phone rings", lambda: len(Phone.told) > before)
    path, words = Phone.told[before]
    assert path == "/li"
    assert "血氧饱和度极低" in words
    assert "仅为辅助" in words
    ward.wait("it is recorded", lambda: [
        d for d in ward.json("deliveries") if (d["person"], d["state"]) == ("li", "sent")
    ])  # fmt: skip
    failed = ward.wait("the other's failure is shown", lambda: ward.json("deliveries", "--failed"))
    assert {d["person"] for d in failed} == {"zhao"}
    assert "refused" in failed[0]["detail"]


@pytest.mark.parametrize("victim", ["intake", "notifier", "recorder", "dashboard"])
def test_kill_9_loses_no_alert_state_and_repeats_no_notification(ward, stranger, victim):
    bed = f"{UNIT}/k-{victim}"
    before = len(Phone.told)
    steady(stranger, bed, 4, 0, spo2=75, hr=80, rr=15)
    [fired] = ward.wait(
        "it fires", lambda: events(ward, bed, kind="fired", rule="spo2_extreme_low/spo2")
    )
    run(ward, "command", "acknowledge", "--bed", bed, "--by", "li", "--alert", fired["alert"])
    run(ward, "command", "shelve", "--bed", bed, "--by", "li", "--rule", "rr_high", "--reason",
        "known", "--until", "+30m")  # fmt: skip
    ward.wait("it is acknowledged", lambda: events(ward, bed, kind="acknowledged"))
    ward.wait("the phone rang", lambda: len(Phone.told) > before)
    steady(stranger, bed, 2, 10, spo2=75, hr=135, rr=40)  # heart rate: pending now
    time.sleep(0.3)
    [pid] = ward.pids(victim)
    os.kill(pid, signal.SIGKILL)
    ward.wait("it is back", lambda: [p for p in ward.pids(victim) if p != pid])
    for seq in range(20, 55):
        stranger.numerics(bed, seq, {"spo2": 75, "hr": 135, "rr": 40})
        time.sleep(0.35)
        if seq > 30 and events(ward, bed, kind="fired", rule="hr_high/hr"):
            break
    ward.wait("the pending one fires", lambda: events(ward, bed, kind="fired", rule="hr_high/hr"))
    lines = events(ward, bed, rule="spo2_extreme_low/spo2")
    last = lines[-1]
    assert last["acknowledged_by"] == "li"
    assert len(events(ward, bed, kind="fired", rule="spo2_extreme_low/spo2")) == 1
    assert len(events(ward, bed, kind="acknowledged")) == 1
    rung = [words for _, words in Phone.told[before:] if f"{bed}：血氧饱和度极低" in words]
    assert len(rung) == 1


def test_what_a_person_does_over_http_is_checked_and_done(ward, stranger, browser):
    bed = f"{UNIT}/bed-7"
    steady(stranger, bed, 20, 0, hr=135)
    [fired] = ward.wait("it fires", lambda: events(ward, bed, kind="fired"))
    url = f"/api/beds/{bed}"
    ward.wait("the console has it", lambda: browser.get(url).json().get("alerts"))
    for body, status in (
        ({"kind": "shelve", "rule": "hr_high"}, 422),
        ({"kind": "shelve", "reason": "x", "minutes": 5}, 422),
        ({"kind": "acknowledge", "alert": "nonsense"}, 404),
        ({"kind": "dance"}, 422),
        ({"kind": "shelve", "rule": "hr_high", "reason": "sinus", "minutes": 30}, 202),
    ):
        assert browser.post(f"{url}/commands", json=body).status_code == status, body
    ward.wait("it is shelved", lambda: events(ward, bed, kind="shelved"))
    assert browser.post(f"{url}/alerts/{fired['alert']}/acknowledge").status_code == 202
    ward.wait("it is acknowledged", lambda: events(ward, bed, kind="acknowledged"))
    ward.wait("twice is refused", lambda: (
        browser.post(f"{url}/alerts/{fired['alert']}/acknowledge").status_code == 409
    ))  # fmt: skip
    life = browser.get(f"/api/alerts/{fired['alert']}").json()
    kinds = [line["kind"] for line in life if line["kind"] != "escalated"]
    assert kinds == ["fired", "shelved", "acknowledged"]
    assert browser.get("/api/alerts/nonsense").status_code == 404
    for values, status in (({"acvpu": "V", "on_oxygen": True}, 202), ({"gcs": 99}, 422)):
        answer = browser.post(f"{url}/observations", json={"values": values})
        assert answer.status_code == status
    future = {"values": {"gcs": 15}, "at": "2199-01-01T00:00:00Z"}
    assert "future" in browser.post(f"{url}/observations", json=future).text
    ward.wait("it is known", lambda: browser.get(url).json()["observed"].get("acvpu"))


def test_care_over_http(ward, browser):
    browser.post("/login", data={"username": "zhang", "password": "long enough"})
    bed = "c/icu/bed-1"
    stay = browser.post("/api/care/stays", json={"bed": bed, "age": 80}).json()["stay"]
    again = browser.post("/api/care/stays", json={"bed": bed})
    assert (again.status_code, "both lie there" in again.text) == (422, True)
    wrong = browser.post("/api/care/stays", json={"bed": "c/icu/bed-2", "spo2_scale": 2})
    assert "documented order" in wrong.text
    ended = browser.post(f"/api/care/stays/{stay}/discharge", json={"at": "2020-01-01T00:00:00Z"})
    assert ended.status_code == 422
    until = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    body = {"rule": "spo2_low", "reason": "COPD", "until": until, "below": 85}
    url = f"/api/care/stays/{stay}/exceptions"
    for wrong in (
        body | {"rule": "nope"},
        body | {"rule": "asystole", "below": None, "off": True},
        body | {"below": None, "above": 99},
        body | {"until": "2199-01-01T00:00:00Z"},
    ):
        assert browser.post(url, json=wrong).status_code == 422, wrong
    assert browser.post(url, json=body).status_code == 204
    state = {"state": "standby", "until": until, "reason": "CT"}
    assert browser.put(f"/api/care/beds/{bed}/state", json=state).status_code == 204
    assert browser.put(f"/api/care/beds/{bed}/state", json={"state": "empty"}).status_code == 422

    def published():
        care = browser.get(f"/api/beds/{bed}").json().get("care", {})
        return care.get("state") == "standby" and care["exceptions"][0]["by"] == "zhang"

    ward.wait("the console has it from the broker", published)
    rules = browser.get("/api/rules", params={"bed": bed}).json()["rules"]
    [changed] = [r for r in rules if r["id"] == "spo2_low/spo2"]
    assert (changed["terms"][0]["trigger"], changed["overlay"]) == (85, "patient:zhang")
    assert browser.post(f"/api/care/stays/{stay}/discharge", json={}).status_code == 204


def test_console_that_is_open_is_a_receiver(ward, browser):
    unit = "p/icu"
    run(ward, "care", "ladder", "--unit", unit, "--by", "lead")
    place = f"{unit}/unit"
    ward.wait("nobody is there", lambda: events(ward, place, kind="fired"), timeout=60)
    with open_socket(browser, "/ws/wall"):
        ward.wait("somebody is", lambda: events(ward, place, kind="resolved"))


def test_command_line_says_what_became_of_a_command(ward, stranger):
    bed = "k/icu/bed-1"
    steady(stranger, bed, 3, 0, hr=80)
    time.sleep(0.5)
    assert run(ward, "observe", "--bed", bed, "--by", "li", "acvpu=A") == "done"
    for arguments, names in (
        (("acknowledge", "--alert", "nope"), "not open on this bed"),
        (("shelve", "--rule", "asystole", "--reason", "x", "--until", "+5m"), "never shelved"),
        (("dance",), "command"),
    ):
        done = ward.run("command", *arguments, "--bed", bed, "--by", "li")
        assert (done.returncode, bool(re.search(names, done.stderr))) == (1, True), done.stderr
    done = ward.run("care", "except", "nobody", "hr_hi", "--by", "li", "--reason", "x", "--above",
                    "140", "--until", "+1h")  # fmt: skip
    assert "no rule 'hr_hi'" in done.stderr


def test_a_nurse_may_not_change_who_is_told(ward, browser):
    answer = browser.put("/api/care/units/x/icu/ladder", json={"steps": []})
    assert (answer.status_code, "charge-nurse" in answer.text) == (403, True)


def test_why_says_what_was_pending_missing_and_muted(ward, stranger):
    bed = "w/icu/bed-1"
    steady(stranger, bed, 20, 0, spo2=75, hr=80)
    ward.wait("it fires", lambda: events(ward, bed, kind="fired"))
    found = ward.json("why", "--bed", bed, "--at", "now")
    rules = {rule["rule"]: rule for rule in found["rules"]}
    assert rules["spo2_extreme_low/spo2"]["reason"] == "firing"
    assert rules["spo2_low/spo2"]["reason"] == "muted"
    assert rules["hr_high/hr"]["reason"] == "within_limits"
    assert rules["news2_high"]["reason"] == "not_evaluated"
    assert "意识" in rules["news2_high"]["why_zh"]
    assert found["inputs"]["spo2"]["value"] == 75
    assert "nothing is stored" in ward.run("why", "--bed", bed, "--at", "-1d").stderr
    assert "none of this name" in ward.run("why", "--bed", bed, "--rule", "dance").stderr


def test_try_shows_what_a_change_would_have_done_and_fails_over_budget(ward, stranger, tmp_path):
    bed = "y/icu/bed-1"
    steady(stranger, bed, 60, 0, hr=120)
    ward.wait("it is stored", lambda: "120" in ward.run("export", "--bed", bed).stdout)
    changed = tmp_path / "changed.toml"
    text = PACK_FILE.read_text("utf-8")
    changed.write_text(text.replace("above = 125\nrecovery = 110", "above = 115\nrecovery = 105"))
    assert changed.read_text() != text
    diff = ward.json("rules", "diff", str(PACK_FILE), str(changed))
    assert [row["rule"] for row in diff] == ["hr_high/hr"]
    chart = tmp_path / "chart.png"
    asked = ("rules", "try", str(changed), "--since", "1h", "--bed", bed)
    found = ward.json(*asked, "--output", str(chart))
    assert (found["new"], found["lost"]) == (1, 0)
    assert found["after"]["by_rule"].keys() == {"hr_high"}
    assert chart.read_bytes().startswith(b"\x89PNG")
    over = ward.run(*asked, "--budget", "0.1")
    assert (over.returncode, "over budget" in over.stderr) == (3, True)


def test_burden_counts_what_people_were_called_for(ward, stranger):
    bed = "u/icu/bed-1"
    steady(stranger, bed, 20, 0, spo2=75)
    ward.wait("it fires", lambda: events(ward, bed, kind="fired"))
    time.sleep(1)
    found = ward.json("burden", "--bed", bed)
    assert (found["alerts"], found["muted"]) == (1, 1)
    assert {row["rule"] for row in found["top_rules"]} == {"spo2_extreme_low"}


def test_published_rules_run_at_once_and_stay_in_the_history(ward, stranger, tmp_path):
    bed = "r/icu/bed-1"
    (tmp_path / "r.toml").write_text(
        'name = "r"\nfor = "r"\n[[set]]\nrule = "hr_high"\nabove = 110\n'
    )
    wrong = ward.run(
        "rules", "publish", "--by", "lead", "--reason", " ", "--overlays", str(tmp_path)
    )
    assert "needs --by and --reason" in wrong.stderr
    run(ward, "rules", "publish", "--by", "lead", "--reason", "night", "--overlays", str(tmp_path))
    time.sleep(0.5)
    steady(stranger, bed, 20, 0, hr=115)
    [fired] = ward.wait("it fires", lambda: events(ward, bed, kind="fired"))
    assert (fired["limit_value"], fired["overlay"].partition("@")[0]) == (110, "r")
    with psycopg.connect(ward.settings.database_address) as connection:
        assert connection.execute("SELECT by, reason FROM rule_set").fetchall() == [
            ("lead", "night")
        ]


def test_feed_cut_for_ten_minutes_and_backfilled_fires_once_with_its_true_onset(ward, stranger):
    bed = "f/icu/bed-1"
    now = int(time.time() * 1000)
    stranger.numerics(bed, 0, {"hr": 80}, measured_ms=now - 600_000)
    time.sleep(0.5)
    for i in range(1, 300):  # it was trouble for four minutes, and over
        stranger.numerics(bed, i, {"hr": 135 if 20 < i < 260 else 80},
                          measured_ms=now - 600_000 + i * 2000)  # fmt: skip
    steady(stranger, bed, 3, 400, hr=80)
    finding = ward.wait("it is found", lambda: events(ward, bed, kind="finding"))
    assert [e["rule"] for e in finding] == ["hr_high/hr"]
    assert events(ward, bed, kind="fired", rule="hr_high/hr") == []
