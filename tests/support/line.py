"""A line between two servers that can be cut, choked and made to swallow everything."""

import socket
import threading
import time
from contextlib import suppress


class Line:
    """A TCP relay on a port of its own. Every connection passes through; all can be cut."""

    def __init__(self, to_port: int, port: int) -> None:
        self.port = port
        self._to = to_port
        self._open = True
        self._hung = False
        self._rate: float | None = None
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._running = True

    def start(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(0.2)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        self._open = False
        self._drop()

    def hang(self) -> None:
        """Swallow what is sent, both ways, without a word: a line that is half open."""
        self._hung = True

    def mend(self, bytes_per_s: float | None = None) -> None:
        """Let through again, at most so many bytes a second; what hung is closed."""
        if self._hung:
            self._hung = False
            self._drop()
        self._rate = bytes_per_s
        self._open = True

    def stop(self) -> None:
        """Close everything."""
        self._running = False
        self._drop()
        if self._listener is not None:
            self._listener.close()

    def _drop(self) -> None:
        with self._lock:
            gone, self._sockets = self._sockets, set()
        for one in gone:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        assert self._listener is not None
        while self._running:
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if not self._open:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._to), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            near.settimeout(None)
            with self._lock:
                self._sockets |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(16_384):
                while self._hung:
                    time.sleep(0.05)
                if self._rate:
                    with self._lock:  # one line for all connections
                        time.sleep(len(data) / self._rate)
                other.sendall(data)
        except OSError:
            pass
        with self._lock:
            self._sockets -= {one, other}
        for end in (one, other):
            end.close()
