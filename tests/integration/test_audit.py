"""Who did what is kept, and nobody changes it afterwards without being found."""

import os
import re
import signal
import time

import httpx
import orjson
import psycopg
import pytest

from tests.support.browser import browser, open_socket, sign_in
from tests.support.hub import Hub
from tests.support.publisher import Publisher

BED = "a/icu/bed-01"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub whose audit this module spoils."""
    hub = Hub(tmp_path_factory.mktemp("audit"))
    hub.start()
    hub.account("nurse", role="county-nurse", scope=("a",))
    hub.account("lead", role="quality-lead")
    publisher = Publisher(hub.settings.broker.port)
    publisher.drain({publisher.numerics(BED, 1, {"hr": 80})})
    publisher.close()
    yield hub
    hub.stop()


def lines(hub, least=1, **equal):
    def found():
        rows = [
            row
            for row in hub.json("audit", "list", "--limit", "2000") or []
            if all(row[key] == value for key, value in equal.items())
        ]
        return rows if len(rows) >= least else None

    return hub.wait(f"{least} line(s) with {equal}", found)


def sql(hub, *statements):
    with psycopg.connect(hub.settings.database_address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def verdict(hub):
    done = hub.run("audit", "verify", "--json")
    said = hub.json("audit", "verify")
    assert done.returncode == (0 if said["ok"] else 1)
    return said


def test_signing_in_seeing_changing_and_being_refused_are_lines(hub):
    with browser(hub.address, "nurse") as nurse:
        hub.wait("the bed is known", lambda: nurse.get(f"/api/beds/{BED}").status_code == 200)
        for _ in range(3):
            with open_socket(nurse, f"/ws/bed/{BED}") as socket:
                socket.recv(timeout=5)
        admitted = nurse.post("/api/care/stays", json={"bed": BED, "name": "张三丰", "age": 71})
        assert admitted.status_code == 201
        assert nurse.get(f"/api/beds/{BED}/patient").json()["name"] == "张三丰"
        assert nurse.get("/api/beds/b/icu/bed-01/patient").status_code == 403
        assert nurse.post("/api/rule-sets/publish", json={"reason": "x" * 9}).status_code in (
            403,
            422,
        )
    with browser(hub.address) as stranger:
        sign_in(stranger, "nurse", "wrong password")
    lines(hub, who="nurse", what="sign-in", outcome="ok")
    lines(hub, who="nurse", what="sign-in", outcome="refused")
    assert len(lines(hub, who="nurse", what="see-bed", object=BED)) == 1  # not one a reload
    lines(hub, who="nurse", what="see-identity", object=BED)
    [admission] = lines(hub, who="nurse", what="POST stays")
    assert '"bed":"a/icu/bed-01"' in admission["detail"]
    lines(hub, who="nurse", what="see-identity", object="b/icu/bed-01", outcome="403")
    assert "张三丰" not in str(hub.json("audit", "list", "--limit", "2000"))


def test_the_identity_is_sealed_where_it_is_stored(hub):
    with psycopg.connect(hub.settings.database_address) as connection:
        [(sealed,)] = connection.execute("SELECT sealed FROM identity.patient").fetchall()
        columns = {
            name
            for (name,) in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'stay'"
            ).fetchall()
        }
    assert "张三丰".encode() not in bytes(sealed)
    assert "name" not in columns
    folder = hub.data / "logs"
    assert not [p for p in folder.iterdir() if "张三丰" in p.read_text("utf-8", "replace")]
    assert hub.run("identity", "rotate").returncode == 0
    with psycopg.connect(hub.settings.database_address) as connection:
        [(again,)] = connection.execute("SELECT sealed FROM identity.patient").fetchall()
    assert bytes(again) != bytes(sealed)


def test_commands_at_a_terminal_are_lines(hub):
    hub.json("credential", "add", "gate", "--hospital", "a")
    [line] = lines(hub, what="credential", object="gate")
    assert line["who"].startswith("terminal:")
    assert hub.run("export", "--bed", BED).returncode == 0
    [line] = lines(hub, what="export", object=BED)
    assert '"kind":"csv"' in line["detail"]


def test_who_may_read_the_audit(hub):
    with browser(hub.address, "nurse") as nurse, browser(hub.address, "lead") as lead:
        assert nurse.get("/api/access/audit").status_code == 403
        assert lead.get("/api/access/audit", params={"object": "a/icu"}).json()
        assert lead.get("/api/access/audit/verdict").json()["ok"]


def test_what_was_done_while_the_database_was_away_is_there_afterwards(hub):
    with browser(hub.address, "nurse") as nurse:
        [pid] = hub.pids("database")
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        command = {"action": "pause_sound", "minutes": 1}
        answer = nurse.post(f"/api/beds/{BED}/commands", json=command)
    assert answer.status_code != 401
    lines(hub, who="nurse", what="POST commands", object=BED)
    assert verdict(hub)["ok"]


SWAP = (
    "UPDATE audit SET number = -number WHERE number IN (2, 3); "
    "UPDATE audit SET number = 5 + number WHERE number IN (-2, -3)"
)
TAKE = "CREATE TABLE kept AS SELECT * FROM audit"
PUT_BACK = "INSERT INTO audit SELECT * FROM kept; DROP TABLE kept"
NEWEST = "number = (SELECT max(number) FROM audit)"


@pytest.mark.parametrize(
    ("spoiled", "restored", "problem"),
    [
        (
            "UPDATE audit SET who = 'somebody' WHERE number = 2",
            "UPDATE audit SET who = {who} WHERE number = 2",
            "line 2: not as it was written",
        ),
        (
            f"{TAKE} WHERE number = 3; DELETE FROM audit WHERE number = 3",
            PUT_BACK,
            "line 3: deleted, up to 3",
        ),
        (SWAP, SWAP, "line 2: not as it was written"),
        (f"{TAKE} WHERE {NEWEST}; DELETE FROM audit WHERE {NEWEST}", PUT_BACK, "the newest"),
        (f"{TAKE}; TRUNCATE audit", PUT_BACK, "deleted"),
    ],
    ids=["edited", "deleted", "swapped", "end cut off", "emptied"],
)
def test_what_was_changed_in_the_table_is_found(hub, spoiled, restored, problem):
    assert verdict(hub)["ok"]
    with psycopg.connect(hub.settings.database_address) as connection:
        row = connection.execute("SELECT who FROM audit WHERE number = 2").fetchone()
    assert row
    sql(hub, *spoiled.split("; "))
    found = verdict(hub)
    assert not found["ok"]
    assert re.search(problem, " ".join(found["problems"])), found
    sql(hub, *restored.format(who=f"'{row[0]}'").split("; "))
    assert verdict(hub)["ok"]


def test_a_line_added_by_hand_is_found(hub):
    sql(
        hub,
        "INSERT INTO audit SELECT number + 1, 'forged', at, who, role, what, object, outcome, "
        "address, detail, seal FROM audit ORDER BY number DESC LIMIT 1",
    )
    found = verdict(hub)
    sql(hub, "DELETE FROM audit WHERE id = 'forged'")
    assert not found["ok"]


def test_our_own_code_cannot_change_a_line(hub):
    options = "-c application_name=vigil"
    with (
        psycopg.connect(hub.settings.database_address, options=options) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="append-only"),
    ):
        connection.execute("UPDATE audit SET who = 'x'")


HOSTILE = {"minutes": 2**70, "reason": "x", "bed": "\x00"}


def test_nothing_that_is_asked_stops_the_audit(hub):
    with browser(hub.address, "nurse") as nurse:
        body = orjson.dumps(HOSTILE | {"minutes": 1}).replace(b"1,", b"1180591620717411303424,")
        for path in (f"/api/beds/{BED}/commands", "/api/care/stays", "/x%00%0a"):
            nurse.post(path, content=body, headers={"content-type": "application/json"})
        nurse.get("/api/units/a/icu%00")
        nurse.post("/api/units/a/icu/sound-check", json={"heard": True})
    lines(hub, who="nurse", what="POST sound-check")
    assert verdict(hub)["ok"]


def test_a_stranger_fills_nothing(hub):
    before = len(hub.json("audit", "list", "--limit", "2000"))
    with httpx.Client(base_url=hub.address) as stranger:
        for number in range(50):
            stranger.post(f"/knock-{number}")
    time.sleep(2)
    assert len(hub.json("audit", "list", "--limit", "2000")) == before
