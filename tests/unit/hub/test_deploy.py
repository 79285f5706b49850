"""The files for production say what the program does: checked by the tools that read them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dashboard.metrics import name_of
from hub import cli
from hub.environment import check_names

DEPLOY = Path(__file__).parents[3] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
COMMANDS = {c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback}


def test_the_settings_are_settings():
    names = dict(
        line.split("=", 1)
        for line in (DEPLOY / "vigil.env").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    )
    check_names(names)
    for service in COMPOSE["services"].values():
        check_names(service.get("environment", {}))


def test_every_command_that_is_started_is_one():
    for service in COMPOSE["services"].values():
        if service.get("image") == "vigil:local":
            assert service["command"][0] in COMMANDS
    for unit in (DEPLOY / "systemd").glob("*.service"):
        for command in re.findall(r"bin/vigil (\S+)", unit.read_text("utf-8")):
            assert command == "%i" or command in COMMANDS, unit.name


def test_compose_refers_to_what_it_defines():
    services, volumes = COMPOSE["services"], COMPOSE["volumes"]
    for name, service in services.items():
        assert "image" in service, name
        for other in service.get("depends_on", {}):
            assert other in services
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in volumes or source.startswith("./"), mount
            if source.startswith("./") and "secrets" not in source and source != "./tls":
                assert (DEPLOY / source).exists() or source == "./sites.toml", mount
        for network in service.get("networks", []):
            assert network in COMPOSE["networks"]
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"]
        assert "privileged" not in service
        secret = [
            k for k in service.get("environment", {}) if re.search(r"(PASSWORD|TOKEN|URL)$", k)
        ]
        assert secret == [], "secrets are files, never values"


def test_systemd_reads_the_units(tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not on this machine")
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text("utf-8").replace("/opt/vigil/current/bin/vigil", "/bin/true")
        name = unit.name.replace("@.", "@intake.")
        (tmp_path / name).write_text(text, "utf-8")
    units = sorted(str(p) for p in tmp_path.iterdir())
    done = subprocess.run([tool, "verify", *units], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert said == []


def test_the_broker_reads_its_file(tmp_path):
    from hub.credentials import Known, authorization
    from schemas.access import Service

    known = Known(services=dict.fromkeys(Service, "x"))
    text = (DEPLOY / "nats" / "nats.conf").read_text("utf-8")
    text = re.sub(r"  tls \{.*?  \}\n", "", text, flags=re.DOTALL)  # its files are not here
    (tmp_path / "nats.conf").write_text(text, "utf-8")
    (tmp_path / "authorization.conf").write_text(authorization(known, anonymous=False), "utf-8")
    server = Path(sys.executable).parent / "nats-server"
    done = subprocess.run(
        [str(server), "-t", "-c", str(tmp_path / "nats.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["vigil.conf", "compose.conf"])
def test_nginx_reads_its_file(tmp_path, name):
    import crossplane

    outer = tmp_path / "nginx.conf"
    outer.write_text(
        f"events {{}}\nhttp {{ include {DEPLOY / 'nginx' / name}; }}\n", encoding="utf-8"
    )
    found = crossplane.parse(str(outer), strict=True)
    assert found["status"] == "ok", found["errors"]


def test_grafana_asks_for_figures_that_there_are():
    board = json.loads((DEPLOY / "grafana" / "vigil.json").read_text("utf-8"))
    asked = set(re.findall(r"vigil_\w+", json.dumps(board["panels"])))
    source = "".join(
        p.read_text("utf-8")
        for folder in ("ingest", "care", "dashboard", "hub")
        for p in (DEPLOY.parent / folder).glob("*.py")
    )
    services = ("intake", "recorder", "dashboard", "notifier", "broker", "console")
    counters = set(re.findall(r'"([a-z0-9_]+)":', source))
    counters |= set(re.findall(r'counters\["([a-z0-9_]+)"\]', source))
    known = set(re.findall(r'"(vigil_\w+)"', source))
    for service in services:
        for counter in counters:
            name, _, grows = name_of(service, counter)
            known |= {f"{name}_total" if grows else name}
    assert asked <= known
    assert len({tuple(p["gridPos"].values()) for p in board["panels"]}) == len(board["panels"])
