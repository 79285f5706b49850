"""A browser as the console sees one: of the same origin, with its cookies and its sockets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

PASSWORD = "long enough"


@contextmanager
def browser(
    base: str, name: str | None = None, password: str = PASSWORD, **options: Any
) -> Iterator[httpx.Client]:
    """Open a browser at the console's address, signed in if a person is named."""
    with httpx.Client(base_url=base, headers={"Origin": base}, **options) as client:
        if name is not None:
            answer = sign_in(client, name, password)
            assert answer.status_code == 303, f"{name} cannot sign in: {answer.status_code}"
        yield client


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    """Send the sign-in form, and return what was answered."""
    return client.post("/login", data={"username": name, "password": password})


def cookies(client: httpx.Client) -> str:
    """Return the header with everything that this browser carries."""
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)


def open_socket(client: httpx.Client, path: str, **options: Any) -> ClientConnection:
    """Open a web socket as a page of this browser does, or one of another ``origin``."""
    base = str(client.base_url).rstrip("/")
    headers = {"Cookie": cookies(client)}
    options = {"origin": base, "additional_headers": headers} | options
    return connect(base.replace("http", "ws", 1) + path, **options)
