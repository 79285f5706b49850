"""One running hub for the whole layer; tests use beds of their own."""

import pytest

from tests.support.hub import Hub


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """`vigil up` with everything embedded, on free ports."""
    hub = Hub(tmp_path_factory.mktemp("hub"), {"VIGIL_BROKER__ACK_WAIT_S": "3"})
    hub.start()
    yield hub
    hub.stop()
