"""A reverse proxy that shows an app below /diffinf/, and nothing else."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import Any

ROOT = "/diffinf"


class Proxy:
    """Passes requests below /diffinf on to ``port``; ``cut``: without that path, as nginx does with a slash.

    Everything else is answered with 404 and kept in ``strays``. One request per connection, streams included.
    """

    def __init__(self, port: int, cut: bool = True) -> None:
        self._to, self.cut = port, cut
        self.strays: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where the app is for a browser."""
        return f"http://127.0.0.1:{self.port}{ROOT}/"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                browser, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(browser,), daemon=True).start()

    def _pass(self, browser: socket.socket) -> None:
        with browser, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                more = browser.recv(65536)
                if not more:
                    return
                head += more
            line, _, rest = head.partition(b"\r\n")
            method, target, version = line.decode("latin-1").split(" ")
            if not re.match(rf"{ROOT}(/|\?|$)", target):
                self.strays.append(target)
                browser.sendall(
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            if self.cut:
                target = "/" + target.removeprefix(ROOT).removeprefix("/")
            rest = re.sub(rb"(?im)^connection: .*?\r\n", b"", rest)
            with socket.create_connection(("127.0.0.1", self._to)) as app:
                app.sendall(f"{method} {target} {version}\r\nConnection: close\r\n".encode() + rest)
                threading.Thread(target=_pump, args=(browser, app), daemon=True).start()
                _pump(app, browser)


def _pump(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
