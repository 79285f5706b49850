"""A bundle installs without the internet, refuses damage, and goes back to the release before."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hub.bundle import packages

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    into = tmp_path_factory.mktemp("bundle")
    done = subprocess.run(
        [sys.executable, "-m", "hub", "bundle", str(into)],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(".tar.gz")
    [folder] = [p for p in into.iterdir() if p.is_dir()]
    return folder


def install(bundle, prefix, *arguments):
    offline = {"PIP_NO_INDEX": "1", "PIP_INDEX_URL": "http://127.0.0.1:9/", "PREFIX": str(prefix)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")} | offline
    return subprocess.run(
        [str(bundle / "install.sh"), *arguments],
        env=environment | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def test_it_installs_offline_and_goes_back(bundle, tmp_path):
    prefix = tmp_path / "opt"
    done = install(bundle, prefix)
    assert done.returncode == 0, done.stderr
    vigil = prefix / "current" / "bin" / "vigil"
    said = subprocess.run(
        [str(vigil), "vitals", "--json"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert len(json.loads(said.stdout)) > 10
    first = str((prefix / "current").readlink())
    assert install(bundle, prefix, "--rollback").returncode == 1  # there is nothing before it
    (bundle / "VERSION").write_text("9.9.9\n", "utf-8")
    sums = (bundle / "SHA256SUMS").read_text("utf-8").splitlines()
    kept = [line for line in sums if not line.endswith("  VERSION")]
    (bundle / "SHA256SUMS").write_text("\n".join(kept) + "\n", "utf-8")
    assert install(bundle, prefix).returncode == 0
    assert str((prefix / "current").readlink()) == "releases/9.9.9"
    assert install(bundle, prefix, "--rollback").returncode == 0
    assert str((prefix / "current").readlink()) == first
    assert str((prefix / "previous").readlink()) == "releases/9.9.9"
    [wheel] = [p for p in (bundle / "wheels").iterdir() if p.name.startswith("typer-")]
    wheel.write_bytes(wheel.read_bytes()[:-1])
    refused = install(bundle, prefix)
    assert refused.returncode == 1
    assert "damaged" in refused.stderr


def canonical(name):
    """A project's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_materials_and_licences_are_listed(bundle):
    pinned = {canonical(name) for name in packages(ROOT / "requirements/runtime.txt")}
    bill = json.loads((bundle / "sbom.cdx.json").read_text("utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert {canonical(c["name"]) for c in bill["components"]} == pinned
    assert all(c.get("version") for c in bill["components"])
    with (bundle / "licences.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {canonical(row["package"]) for row in rows} == pinned
    assert [row["package"] for row in rows if row["licence"] == "not declared"] == []
