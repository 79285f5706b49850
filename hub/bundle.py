"""``vigil bundle``: everything that a hospital without internet needs, in one folder and archive.

Wheels of this machine's kind with their hashes, Vigil's own wheel, checksums, an installer with
roll back, the deploy files, the docs, a CycloneDX bill of materials and the licences.
"""

import csv
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from hub.backup import checksum
from hub.health import VERSION
from schemas.errors import HubError

ROOT = Path(__file__).parents[1]
COPIED = ("deploy", "docs", "LICENSE", "README.md", "CHANGELOG.md")
Say = Callable[[str], None]


def make_bundle(into: Path, say: Say) -> Path:
    """Make the bundle in ``into``; return its archive. HubError when a part cannot be had."""
    if not (ROOT / "requirements" / "runtime.txt").exists():
        raise HubError("vigil bundle runs from a checkout, after `make env`")
    name = f"vigil-{VERSION}-{platform.system().lower()}-{platform.machine()}"
    folder = into / name
    if folder.exists():
        raise HubError(f"{folder}: is there already")
    folder.mkdir(parents=True)
    runtime = folder / "runtime.txt"
    shutil.copy(ROOT / "requirements" / "runtime.txt", runtime)
    say("wheels …")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    only = ("--only-binary", ":all:", "--require-hashes", "-r", str(runtime))
    _run(*pip, "download", *only, "-d", str(folder / "wheels"))
    say("Vigil's own wheel …")
    own = ("--no-deps", "--no-build-isolation", "-w", str(folder / "vigil-wheel"), str(ROOT))
    _run(*pip, "wheel", *own)
    for one in COPIED:
        source = ROOT / one
        if source.is_dir():
            shutil.copytree(source, folder / one)
        else:
            shutil.copy(source, folder / one)
    shutil.move(folder / "deploy" / "install.sh", folder / "install.sh")
    (folder / "VERSION").write_text(f"{VERSION}\n", "utf-8")
    say("bill of materials and licences …")
    write_materials(folder)
    _write_sums(folder)
    archive = into / f"{name}.tar.gz"
    say("archive …")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, name)
    return archive


def write_materials(folder: Path) -> None:
    """Write ``sbom.cdx.json`` and ``licences.csv`` of what the runtime consists of."""
    tool = Path(sys.executable).parent / "cyclonedx-py"
    if not tool.exists():
        raise HubError("cyclonedx-py not found: run `make env`")
    _run(
        str(tool),
        *("requirements", str(ROOT / "requirements" / "runtime.txt")),
        *("--output-format", "JSON", "--output-file", str(folder / "sbom.cdx.json")),
        "--output-reproducible",
    )
    with (folder / "licences.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["package", "version", "licence", "home"])
        for package in packages(ROOT / "requirements" / "runtime.txt"):
            about = metadata.metadata(package)
            table.writerow([about["Name"], about["Version"], licence_of(about), home_of(about)])


def packages(requirements: Path) -> list[str]:
    """Return the names that a requirements file pins."""
    text = requirements.read_text("utf-8")
    return re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==", text, re.MULTILINE)


def _one(about: metadata.PackageMetadata, field: str) -> str:
    return str(about[field]) if field in about else ""


def licence_of(about: metadata.PackageMetadata) -> str:
    """Return a package's licence as it declares it: expression, classifiers, or its first line."""
    expression = _one(about, "License-Expression")
    if expression:
        return expression
    found = [c.split(" :: ")[-1] for c in about.get_all("Classifier") or [] if "License ::" in c]
    text = _one(about, "License").strip().splitlines()
    return ", ".join(found) or (text[0][:80] if text else "not declared")


def home_of(about: metadata.PackageMetadata) -> str:
    """Return where a package is developed, as it says."""
    urls = about.get_all("Project-URL") or []
    named = [u.partition(", ")[2] for u in urls if re.match(r"(?i)(source|repo|home|code)", u)]
    return _one(about, "Home-page") or (named[0] if named else "")


def _write_sums(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    lines = [f"{checksum(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines), "utf-8")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-3:])
        raise HubError(f"{Path(command[0]).name} {command[1]} …: {last}")
