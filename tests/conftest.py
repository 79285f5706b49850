"""Fixtures for every layer. What tests share as functions is in ``tests/support``."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; the test is skipped where it is absent."""
    folder = SHARED / "recordings"
    if not folder.is_dir():
        pytest.skip("../shared/recordings is not here: real recordings are used in place")
    return folder
