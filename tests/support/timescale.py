"""TimescaleDB for tests: a server named by VIGIL_TEST_TIMESCALE_URL, else its code in WebAssembly.

The npm package is PostgreSQL 17 with TimescaleDB 2.23 compiled to WebAssembly. It serves one
client at a time, has no background workers and knows no COPY FROM STDIN: enough to run every
migration and every query of ours on real TimescaleDB code, never enough for production.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.support.hub import free_port

SOURCE = Path(__file__).parent / "timescale_wasm"
INSTALLED = Path(sys.prefix) / "timescale"
NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
URL = "VIGIL_TEST_TIMESCALE_URL"


def prepare() -> str | None:
    """Install the npm package if it can be; return why not, if it cannot."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "no node and npm here: install them, or name a server in " + URL
    lock = (SOURCE / "package-lock.json").read_text("utf-8")
    there = INSTALLED / "package-lock.json"
    if there.exists() and there.read_text("utf-8") == lock and (INSTALLED / "done").exists():
        return None
    INSTALLED.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, INSTALLED / name)
    done = subprocess.run(NPM, cwd=INSTALLED, check=False, capture_output=True, text=True)
    if done.returncode:
        return f"npm could not install TimescaleDB in WebAssembly: {done.stderr.strip()[-300:]}"
    (INSTALLED / "done").touch()
    return None


@contextmanager
def serve() -> Iterator[str]:
    """Yield the URL of an empty TimescaleDB; where there is none, skip and say why."""
    named = os.environ.get(URL)
    if named:
        with psycopg.connect(named, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS vigil_test")
            connection.execute("CREATE DATABASE vigil_test")
        yield psycopg.conninfo.make_conninfo(named, dbname="vigil_test")
        return
    missing = prepare()
    if missing:
        pytest.skip(missing)
    port = free_port()
    shutil.copy(SOURCE / "tsdb.mjs", INSTALLED / "tsdb.mjs")
    server = subprocess.Popen(
        ["node", "tsdb.mjs", str(port)],
        cwd=INSTALLED,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield f"postgresql://postgres:x@127.0.0.1:{port}/template1"
    finally:
        server.kill()
        server.communicate()


if __name__ == "__main__":
    sys.stdout.write((prepare() or "") + "\n" * bool(prepare()))
