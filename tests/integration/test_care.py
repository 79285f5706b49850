"""Annotations, consults, the wrong-bed guard and the ward over HTTP, on a running hub."""

import asyncio
import csv
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from care import consult_store
from care.consults import Act, Advised, Side
from dashboard.api_consults import attach_responses
from schemas.times import MS, S
from tests.support.browser import browser, open_socket
from tests.support.hub import Hub
from tests.support.publisher import Publisher

pytestmark = pytest.mark.timeout(180)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)
PEOPLE = {
    "nurse": ("county-nurse", ()),
    "expert": ("remote-intensivist", ()),
    "other": ("county-nurse", ("elsewhere",)),
    "guest": ("integrator", ()),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    hub = Hub(tmp_path_factory.mktemp("care"))
    hub.start()
    for name, (role, scope) in PEOPLE.items():
        hub.account(name, role=role, scope=scope)
    yield hub
    hub.stop()


@pytest.fixture(scope="module")
def people(hub):
    """Return a signed-in client for each account."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(browser(hub.address, name, timeout=20)) for name in PEOPLE}


@pytest.fixture
def stranger(hub, request):
    publisher = Publisher(hub.settings.broker.port, f"c-{request.node.name[:40]}")
    yield publisher
    publisher.close()


def now_ms():
    return time.time_ns() // MS


def test_an_annotation_has_versions_an_author_and_a_file(hub, people, stranger, tmp_path):
    bed, expert, nurse = "a/icu/bed-1", people["expert"], people["nurse"]
    for seq in range(5):
        stranger.numerics(bed, seq, {"hr": 80}, measured_ms=now_ms() - 5000 + seq * 1000)
    hub.wait("the bed is known", lambda: known(nurse, bed) is not None)
    body = {"start": now_ms() - 5000, "end": now_ms() - 1000, "label": "drug", "note": "肾上腺素"}
    made = expert.post(f"/api/beds/{bed}/annotations", json=body)
    assert made.status_code == 201
    url = f"/api/annotations/{made.json()['id']}"
    refused = nurse.put(url, json=body)
    assert (refused.status_code, "is expert's" in refused.text) == (422, True)
    assert people["guest"].post(f"/api/beds/{bed}/annotations", json=body).status_code == 403
    assert people["other"].get(url).status_code == 422
    assert expert.put(url, json=body | {"note": "去甲"}).json()["version"] == 2
    [shown] = nurse.get(f"/api/beds/{bed}/annotations").json()
    assert (shown["note"], shown["version"]) == ("去甲", 2)
    assert [v["note"] for v in nurse.get(url).json()] == ["肾上腺素", "去甲"]
    events = nurse.get(f"/api/beds/{bed}/events").json()
    assert [a["id"] for a in events["annotations"]] == [made.json()["id"]]
    assert expert.delete(url).json()["withdrawn"]
    assert nurse.get(f"/api/beds/{bed}/annotations").json() == []
    for wrong, names in (
        (body | {"label": "nope"}, "label"),
        (body | {"end": now_ms() + 3_600_000}, "end"),
        (body | {"end": body["start"] - 1}, "end"),
    ):
        assert names in expert.post(f"/api/beds/{bed}/annotations", json=wrong).text
    out = tmp_path / "bed.csv"
    hub.wait("it is stored", lambda: people["nurse"].get(f"/api/beds/{bed}/trend").json()["t"])
    done = hub.run("export", "--bed", bed, "--identified", "--output", str(out))
    assert done.returncode == 0, done.stderr
    with (tmp_path / "bed.annotations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["version"], r["note"], r["withdrawn"]) for r in rows] == [
        ("1", "肾上腺素", "0"),
        ("2", "去甲", "0"),
        ("3", "去甲", "1"),
    ]


def test_a_consult_with_a_picture_and_who_may_not(hub, people, stranger):
    bed, expert, nurse = "a/icu/bed-2", people["expert"], people["nurse"]
    stranger.numerics(bed, 1, {"hr": 80})
    hub.wait("the bed is known", lambda: known(nurse, bed) is not None)
    asked = nurse.post(f"/api/beds/{bed}/consults", json={"text": "看一下"}).json()
    url = f"/api/consults/{asked['id']}"
    assert nurse.post(f"{url}/accept").status_code == 422
    assert people["other"].get(url).status_code == 422
    assert people["guest"].post(f"{url}/accept").status_code == 403
    assert nurse.post(f"{url}/images", content=b"GIF89a").status_code == 422
    assert nurse.post(f"{url}/images", content=PNG + bytes(700_000)).status_code == 413
    image = nurse.post(f"{url}/images", content=PNG).json()["image"]
    said = nurse.post(f"{url}/messages", json={"images": [image]})
    assert said.json()["thread"][1]["images"] == [image]
    shown = expert.get(f"{url}/images/{image}")
    assert (shown.content, shown.headers["content-type"]) == (PNG, "image/png")
    assert people["other"].get(f"{url}/images/{image}").status_code == 422
    assert expert.post(f"{url}/accept").json()["state"] == "active"
    advice = {"what": "补液 250 mL", "why": "CVP 2", "within_min": 30}
    assert nurse.post(f"{url}/advice", json=advice).status_code == 403
    made = expert.post(f"{url}/advice", json=advice).json()["advice"][0]["id"]
    done = nurse.post(f"{url}/advice/{made}", json={"answer": "done"}).json()
    assert done["advice"][0]["state"] == "done"
    assert done["turnaround"]["accepted_s"] is not None
    closed = expert.post(f"{url}/close").json()
    assert closed["state"] == "closed"
    assert expert.get("/api/consults", params={"bed": bed, "open": True}).json() == []
    assert [c["id"] for c in expert.get("/api/consults", params={"bed": bed}).json()] == [
        asked["id"]
    ]
    assert people["other"].get("/api/consults").json() == []


class Told:
    """A feed that remembers what it was told."""

    def __init__(self):
        self.news = []

    def tell(self, news):
        self.news.append(news)


def test_the_vitals_of_the_hour_after_attach_themselves(hub, stranger):
    bed, done_ms = "a/icu/bed-3", now_ms() - 62 * 60_000
    for seq in range(150):
        at = done_ms - 600_000 + seq * 29_000
        stranger.numerics(
            bed, seq, {"hr": (120 if at < done_ms else 90) + seq % 3 - 1}, measured_ms=at
        )
    told = Told()

    async def work():
        async with await psycopg.AsyncConnection.connect(
            hub.settings.database_address, autocommit=True
        ) as connection:
            at = done_ms * MS

            def act(kind, after_s, side=Side.EXPERT, **fields):
                return Act(kind, "x", side, at + after_s * S, **fields)

            asked = act("opened", -900, Side.BEDSIDE, bed=bed, text="?")
            consult = await consult_store.open_consult(connection, asked)
            await consult_store.do(connection, consult.id, act("accepted", -800))
            body = {"advice": "r1", "what": "a", "why": "b", "due_ns": at + 999 * S}
            await consult_store.do(connection, consult.id, act("advised", -700, **body))
            done = act("answered", 0, Side.BEDSIDE, advice="r1", answer=Advised.DONE)
            await consult_store.do(connection, consult.id, done)
            await attach_responses(told, connection, at + 3599 * S)
            assert (await consult_store.read(connection, consult.id)).find("r1").response == {}
            for _ in range(2):  # once only
                await attach_responses(told, connection, at + 3601 * S)
            return (await consult_store.read(connection, consult.id)).find("r1").response

    hub.wait("all is stored", lambda: count(hub, bed) == 150)
    found = asyncio.run(work())
    assert found == {"hr": pytest.approx([120, 90, 90, 90, 90], abs=0.5)}
    assert len(told.news) == 1


def count(hub, bed):
    with psycopg.connect(hub.settings.database_address) as connection:
        return connection.execute(
            "SELECT count(*) FROM vigil_readings((SELECT id FROM bed WHERE name = %s),"
            " now() - interval '3 hours', now())",
            (bed,),
        ).fetchone()[0]


def test_the_guard_asks_when_the_monitor_names_another_patient(hub, people, stranger):
    bed, nurse = "a/icu/bed-4", people["nurse"]
    body = {"bed": bed, "name": "王小明", "age": 70}
    stay = nurse.post("/api/care/stays", json=body).json()["stay"]
    stranger.numerics(bed, 1, {"hr": 80})
    hub.wait("care is known", lambda: known(nurse, bed) == stay)
    stranger.numerics(bed, 2, {"hr": 80})
    status = {"v": 1, "device": "mon-1", "state": "online", "patient": "ref-1"}
    stranger.send(f"vigil/v1/{bed}/status", status)
    time.sleep(0.5)
    stranger.send(f"vigil/v1/{bed}/status", status | {"patient": "ref-2"})
    [asked] = hub.wait("it asks", lambda: questions(nurse, bed))
    assert (asked["kind"], asked["stay"]) == ("identity", stay)
    assert asked["detail"] == {"was": "ref-1", "is": "ref-2"}
    url = f"/api/questions/{asked['id']}"
    assert people["guest"].post(url, json={"answer": "same"}).status_code == 403
    assert people["other"].post(url, json={"answer": "same"}).status_code == 404
    assert questions(people["other"], bed) == []
    nurse.post(f"/api/care/stays/{stay}/discharge", json={})
    assert questions(nurse, bed) == []  # nobody is there to ask about
    again = nurse.post("/api/care/stays", json={"bed": bed}).json()["stay"]
    assert questions(nurse, bed) == []
    hub.wait("care is known", lambda: known(nurse, bed) == again)
    stranger.send(f"vigil/v1/{bed}/status", status | {"patient": "ref-3"})
    time.sleep(0.5)
    stranger.send(f"vigil/v1/{bed}/status", status | {"patient": "ref-4"})
    [asked] = hub.wait("it asks about the next", lambda: questions(nurse, bed))
    url = f"/api/questions/{asked['id']}"
    assert nurse.post(url, json={"answer": "same"}).status_code == 204
    assert nurse.post(url, json={"answer": "same"}).status_code == 404


def known(client, bed):
    answer = client.get(f"/api/beds/{bed}")
    return answer.json()["care"].get("stay", "") if answer.status_code == 200 else None


def questions(client, bed):
    return [q for q in client.get("/api/questions").json() if q["bed"] == bed]


def test_names_are_whole_at_the_bedside_only_and_are_not_published(hub, people, stranger):
    bed = "a/icu/bed-5"
    people["nurse"].post("/api/care/stays", json={"bed": bed, "name": "欧阳小明", "age": 70})
    stranger.numerics(bed, 1, {"hr": 80})
    assert people["nurse"].get(f"/api/beds/{bed}/patient").json()["name"] == "欧阳小明"
    assert people["expert"].get(f"/api/beds/{bed}/patient").json()["name"] == "欧***"
    hub.wait("the unit is known", lambda: known(people["nurse"], bed))
    handover = people["expert"].get("/api/units/a/icu/handover").json()
    assert handover["patients"][bed]["name"] == "欧***"
    assert "欧阳" not in people["nurse"].get("/api/care").text
    with psycopg.connect(hub.settings.database_address) as connection:
        changes = connection.execute("SELECT string_agg(detail::text, '') FROM care_change")
        assert "欧阳" not in changes.fetchone()[0]


def test_a_unit_has_a_sound_check_and_only_its_people_see_it(people):
    url = "/api/units/a/icu"
    assert people["nurse"].post(f"{url}/sound-check", json={"heard": True}).status_code == 204
    check = people["nurse"].get(url).json()["sound_check"]
    assert (check["by"], check["heard"]) == ("nurse", True)
    assert people["other"].get(url).status_code == 403
    assert people["nurse"].get("/api/units/no/such").status_code == 404
    assert people["guest"].post(f"{url}/sound-check", json={"heard": True}).status_code == 403


def test_a_consult_goes_with_its_patient(hub, people, stranger):
    first, second, nurse = "a/icu/bed-6", "a/icu/bed-7", people["nurse"]
    for bed in (first, second):
        stranger.numerics(bed, 1, {"hr": 80})
    hub.wait("the beds are known", lambda: known(nurse, second) is not None)
    stay = nurse.post("/api/care/stays", json={"bed": first}).json()["stay"]
    made = nurse.post(f"/api/beds/{first}/consults", json={"text": "?"}).json()
    nurse.post(f"/api/care/stays/{stay}/move", json={"bed": second})
    assert nurse.get(f"/api/consults/{made['id']}").json()["bed"] == second
    assert [c["id"] for c in open_of(nurse, second)] == [made["id"]]
    nurse.post("/api/care/stays", json={"bed": first})
    assert open_of(nurse, first) == []
    nurse.post(f"/api/care/stays/{stay}/discharge", json={})
    assert open_of(nurse, second) == []
    assert nurse.get(f"/api/consults/{made['id']}").json()["state"] == "waiting"


def open_of(client, bed):
    return client.get("/api/consults", params={"bed": bed, "open": True}).json()


def test_nobody_reaches_over_the_edge_of_their_scope(hub, people, stranger):
    """Every route that changes something, asked by somebody who sees another hospital only."""
    bed, nurse, other = "a/icu/bed-8", people["nurse"], people["other"]
    for name in (bed, "elsewhere/icu/bed-1", "elsewhere/icu/bed-2"):
        stranger.numerics(name, 1, {"hr": 80})
    hub.wait("the beds are known", lambda: known(nurse, "elsewhere/icu/bed-2") is not None)
    stay = nurse.post("/api/care/stays", json={"bed": bed}).json()["stay"]
    mine = other.post("/api/care/stays", json={"bed": "elsewhere/icu/bed-1"}).json()["stay"]
    begins = other.get("/api/care/stays", params={"bed": "elsewhere/icu/bed-1"}).json()[0][
        "start_ns"
    ]
    begins = datetime.fromtimestamp(begins / S, UTC).isoformat()
    refused = [
        ("POST", "/api/care/stays", {"bed": "a/icu/bed-9"}),
        ("POST", f"/api/care/stays/{stay}/discharge", {}),
        ("POST", f"/api/care/stays/{stay}/move", {"bed": "elsewhere/icu/bed-2"}),
        ("POST", f"/api/care/stays/{mine}/move", {"bed": "a/icu/bed-9"}),
        ("POST", f"/api/care/stays/{mine}/swap", {"other": stay}),
        ("POST", f"/api/care/stays/{mine}/correct", {"begins": begins, "bed": "a/icu/bed-9"}),
        ("PUT", f"/api/care/stays/{stay}/patient", {"age": 1}),
        ("PUT", f"/api/care/beds/{bed}/state", {"state": "monitored"}),
        ("POST", f"/api/beds/{bed}/commands", {"kind": "audio_resume"}),
        ("POST", f"/api/beds/{bed}/observations", {"values": {"gcs": 15}}),
        ("POST", f"/api/beds/{bed}/annotations", {"start": 1, "end": 1, "label": "event"}),
        ("POST", f"/api/beds/{bed}/consults", {"text": "?"}),
        ("POST", "/api/units/a/icu/sound-check", {"heard": True}),
        ("PUT", "/api/care/units/a/icu/ladder", {"steps": []}),
        ("GET", f"/api/beds/{bed}/trend", None),
        ("GET", f"/api/beds/{bed}/events", None),
        ("GET", f"/api/beds/{bed}/scores", None),
        ("GET", f"/api/beds/{bed}/why", None),
        ("GET", f"/api/beds/{bed}/patient", None),
        ("GET", f"/api/beds/{bed}/waves/minutes", None),
        ("GET", f"/api/rules?bed={bed}", None),
        ("GET", "/api/units/a/icu/handover", None),
    ]
    for method, path, body in refused:
        answer = other.request(method, path, json=body)
        assert answer.status_code == 403, (method, path, answer.text)
    moved = other.post(f"/api/care/stays/{mine}/move", json={"bed": "elsewhere/icu/bed-2"})
    assert moved.status_code == 204
    assert list(other.get("/api/system").json()["delays"]) in ([], ["elsewhere"])


def test_a_change_that_somebody_else_made_meanwhile_is_not_overwritten(people):
    nurse, bed = people["nurse"], "a/icu/bed-10"
    before = {"age": 0.5, "limits": []}
    stay = nurse.post("/api/care/stays", json={"bed": bed, "name": "小明", **before}).json()["stay"]
    url = f"/api/care/stays/{stay}/patient"
    dnr = {"age": 0.5, "limits": ["不插管"]}
    assert nurse.put(url, json=dnr | {"was": before}).status_code == 204
    late = nurse.put(url, json={"age": 0.6, "was": before})
    assert (late.status_code, "meanwhile" in late.text) == (422, True)
    found = nurse.get(f"/api/beds/{bed}/patient").json()
    assert (found["name"], found["age"], found["limits"]) == ("小明", 0.5, ["不插管"])


def test_rules_are_published_within_the_scope_and_never_over_each_other(hub, people):
    for name, scope in (("lead", ()), ("unit-lead", ("elsewhere/icu",))):
        hub.account(name, role="quality-lead", scope=scope)
    with (
        browser(hub.address, "lead", timeout=20) as lead,
        browser(hub.address, "unit-lead", timeout=20) as unit_lead,
    ):
        on = lead.get("/api/rule-sets/current").json()["version"]
        text = 'name = "{0}"\nfor = "{1}"\n[[set]]\nrule = "hr_high"\nabove = 118\n'
        mine = {"own.toml": text.format("own", "elsewhere/icu")}
        theirs = {"a.toml": text.format("a", "a/icu")}
        publish = "/api/rule-sets/publish"
        wrong = unit_lead.post(publish, json={"overlays": theirs, "reason": "x", "on": on})
        assert wrong.status_code == 403, wrong.text
        by_nurse = people["nurse"].post(publish, json={"overlays": mine, "reason": "x", "on": on})
        assert by_nurse.status_code == 403
        done = unit_lead.post(publish, json={"overlays": mine, "reason": "x", "on": on})
        assert done.status_code == 201, done.text
        late = lead.post(publish, json={"overlays": theirs, "reason": "x", "on": on})
        assert late.status_code == 409
        [newest] = lead.get("/api/rule-sets/history").json()
        assert newest["version"] == done.json()["version"]


def test_an_open_wall_closes_when_its_person_signs_out(hub, people):
    with (
        browser(hub.address, "expert", timeout=20) as client,
        open_socket(client, "/ws/wall") as socket,
    ):
        socket.recv()
        client.post("/logout")
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - frames come before
            for _ in range(100):
                socket.recv(timeout=30)
    assert closed.value.rcvd.code == 4401
