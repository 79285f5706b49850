"""A short run of the fault matrix; `make chaos` is the long one."""

import json
import subprocess
import sys

import pytest

FAULTS = ("kill_all", "line_half_open")


@pytest.mark.timeout(600)
def test_faults_under_load_lose_and_double_nothing():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.chaos", "--rate", "600", "--beds", "75"),
            *("--seconds", "4", "--after", "18", *FAULTS),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert [fault["fault"] for fault in found["faults"]] == list(FAULTS)
    for fault in found["faults"]:
        assert fault["published"] > 10_000, fault
        assert fault["episodes"] >= 3, fault
        assert fault["recovered_s"] is not None, fault
    wrong = ("lost", "doubled", "unacknowledged", "alerts_lost", "alerts_doubled")
    assert {key: found["total"][key] for key in wrong} == dict.fromkeys(wrong, 0), found
    assert done.returncode == 0
