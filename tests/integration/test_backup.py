"""A backup is whole or it is none, and what was restored is what there was."""

import json
import shutil
import threading
import time

import pytest

from tests.support.browser import browser
from tests.support.hub import Hub
from tests.support.publisher import Publisher

BED = "b/icu/bed-01"


def readings(hub):
    export = hub.run("export", "--bed", BED, "--from", "-1h", "--to", "now")
    return sorted(export.stdout.splitlines()[1:])


def register_beds(hub, busy):
    """Have new beds all the time: a backup is of one moment."""
    publisher, number = Publisher(hub.settings.broker.port, "new-beds"), 0
    while not busy.is_set():
        number += 1
        publisher.drain({publisher.numerics(f"b/new/bed-{number:05}", 1, {"hr": 80})})
        time.sleep(0.02)
    publisher.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A hub with readings, an account, a named patient, a credential; its backup, made running."""
    hub = Hub(tmp_path_factory.mktemp("origin"))
    hub.start()
    hub.account("nurse", role="county-nurse")
    credential = hub.json("credential", "add", "gate", "--hospital", "b")
    publisher = Publisher(hub.settings.broker.port)
    publisher.drain({publisher.numerics(BED, n, {"hr": 80 + n % 9}) for n in range(50)})
    with browser(hub.address, "nurse") as nurse:
        hub.wait("known", lambda: nurse.get(f"/api/beds/{BED}").status_code == 200)
        nurse.post("/api/care/stays", json={"bed": BED, "name": "张三丰", "age": 70})
    hub.wait("stored", lambda: len(readings(hub)) == 50)
    hub.wait("audited", lambda: len(hub.json("audit", "list") or []) >= 3)
    into = tmp_path_factory.mktemp("backups")
    busy = threading.Event()
    changing = threading.Thread(target=register_beds, args=(hub, busy))
    changing.start()
    done = hub.json("backup", str(into))
    busy.set()
    changing.join()
    publisher.drain({publisher.numerics(BED, n, {"hr": 60}) for n in range(50, 60)})
    publisher.close()
    hub.wait("it went on meanwhile", lambda: len(readings(hub)) == 60)
    hub.stop()
    return done, credential


def test_a_restored_hub_has_everything_and_goes_on(made, tmp_path):
    done, credential = made
    hub = Hub(tmp_path / "restored")
    restored = hub.run("restore", done["backup"], timeout=120)
    assert restored.returncode == 0, restored.stderr
    hub.start()
    try:
        assert len(readings(hub)) == 50
        with browser(hub.address, "nurse") as nurse:
            assert nurse.get(f"/api/beds/{BED}/patient").json()["name"] == "张三丰"
        assert hub.json("audit", "verify")["ok"]
        hub.wait("the restore is a line", lambda: "restore" in str(hub.json("audit", "list")))
        gate = Publisher(
            hub.settings.broker.port, "gate", (credential["user"], credential["password"])
        )
        gate.drain({gate.numerics(BED, 100, {"hr": 99})})
        gate.close()
        hub.wait("it stores", lambda: len(readings(hub)) == 51)
        refused = hub.run("restore", done["backup"])
        assert refused.returncode == 1
        assert "empty folder" in refused.stderr
    finally:
        hub.stop()


@pytest.mark.parametrize("spoil", ["dump", "state", "manifest", "missing"])
def test_a_damaged_backup_is_refused_before_anything_is_written(made, tmp_path, spoil):
    done, _ = made
    copy = tmp_path / "copy"
    shutil.copytree(done["backup"], copy)
    if spoil == "missing":
        (copy / "database.dump").unlink()
    elif spoil == "manifest":
        (copy / "manifest.json").write_text(json.dumps({"vigil": "1"}), "utf-8")
    else:
        file = copy / ("database.dump" if spoil == "dump" else "state.tar.gz")
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    hub = Hub(tmp_path / "data")
    refused = hub.run("restore", str(copy))
    assert refused.returncode == 1
    assert refused.stderr.startswith("vigil:")
    assert not (tmp_path / "data" / "database").exists()
    assert hub.run("restore", str(copy), "--check").returncode == 1


def test_old_backups_are_taken_away(made, tmp_path):
    done, _ = made
    origin = Hub(tmp_path / "data")
    assert origin.run("restore", done["backup"], timeout=120).returncode == 0
    into = tmp_path / "kept"
    for _ in range(3):
        assert origin.run("backup", str(into), "--keep", "2", timeout=120).returncode == 0
        time.sleep(1.1)
    assert len(list(into.iterdir())) == 2
