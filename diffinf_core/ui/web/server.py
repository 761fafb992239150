"""One server for one run: Gradio's pages, pictures by id and the log-in, behind the guard."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ipaddress
import logging
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from gradio.routes import App
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import ASGIApp

from diffinf_core.engine import OpenRun
from diffinf_core.records import DiffInfError
from diffinf_core.runs.scratch import scratch_folder
from diffinf_core.ui.web.accounts import Accounts
from diffinf_core.ui.web.below import Below
from diffinf_core.ui.web.calls import check_call
from diffinf_core.ui.web.connections import MOST_OF_ONE, Connections
from diffinf_core.ui.web.guard import USER, Guard, Hosts
from diffinf_core.ui.web.login import Login, login_routes
from diffinf_core.ui.web.pictures import picture_routes
from diffinf_core.ui.web.token import Token

#: seconds that open streams get to end when the server stops
_GRACE = 1
_START = 60.0


def make_app(
    blocks: gr.Blocks,
    opened: Callable[[], OpenRun],
    hosts: Hosts,
    accounts: Accounts | None = None,
    look: Mapping[str, Any] | None = None,
    token: Token | None = None,
    root_path: str = "",
) -> ASGIApp:
    """The whole server as an ASGI application, below ``root_path`` of a proxy.

    ``look`` goes to Gradio as it is: theme, css_paths, head. Nothing that Gradio can serve from a
    disk, fetch from elsewhere or keep of a visit is on.
    """
    app = FastAPI(title="DiffInf", docs_url=None, redoc_url=None)
    login = None if accounts is None else Login(accounts)
    app.include_router(login_routes(login))
    app.include_router(picture_routes(opened, files=accounts is None))

    def user(request: Request) -> str | None:
        name: str | None = request.scope.get(USER)
        return name

    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        show_error=False,
        max_file_size="1mb",
        i18n=gr.I18n(en=_UNTRANSLATED),
        auth_dependency=user if login else None,
        root_path=root_path or None,
        **(look or {}),
    )
    # Otherwise the queue learns of its app with the first event, and cannot end streams before.
    blocks._queue.set_server_app(_mounted(app))
    head = str((look or {}).get("head", ""))
    guard = Guard(app, hosts, login, lambda path, body: check_call(blocks, path, body), head, token)
    return Below(guard, root_path) if root_path else guard


#: what Gradio reads to screen readers when an event ends and has no words for
_UNTRANSLATED = {"common.complete": "Done.", "common.error": "Failed."}


def _mounted(app: FastAPI) -> App:
    found = [r.app for r in app.routes if isinstance(r, Mount) and isinstance(r.app, App)]
    return found[0]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; :class:`DiffInfError` for a port that is taken or an unknown address."""
    name = "127.0.0.1" if host == "localhost" else host.strip("[]")
    made = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, proto)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        if made is not None:
            made.close()
        raise DiffInfError(
            f"Port {port} on {host} cannot be used ({error.strerror or error}); choose another --port."
        ) from error
    return made


def certificate(cert: Path | None, key: Path | None) -> dict[str, str]:
    """What uvicorn needs for https, or nothing; :class:`DiffInfError` for files that do not fit."""
    if cert is None and key is None:
        return {}
    if cert is None or key is None:
        raise DiffInfError("https needs both --ssl-cert and --ssl-key.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = error.strerror or error.args[-1] if isinstance(error, OSError) else error
        raise DiffInfError(
            f"{cert} and {key} cannot be used as certificate and key ({reason}); both are PEM files, "
            "the key without a password."
        ) from error
    return {"ssl_certfile": str(cert), "ssl_keyfile": str(key)}


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, blocks: gr.Blocks) -> None:
        super().__init__(config)
        self._blocks = blocks

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Pages keep streams open; once the queue has stopped, they end by themselves.
        self._blocks._queue.stopped = True
        self._blocks.is_running = False
        served = self._blocks._queue.server_app
        if served is not None:
            served.stop_event.set()
        await super().shutdown(sockets)


def proxy_address(text: str) -> str:
    """An address or network for ``--trusted-proxy``; :class:`DiffInfError` for what is neither."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise DiffInfError(
            f"{text!r} is no address of a proxy; give an address or a network, as in 127.0.0.1 or "
            "10.0.0.0/24."
        ) from error


def private_folder() -> Path:
    """A fresh folder for what Gradio stores, readable by this user alone.

    Gradio serves its whole cache, which by default all its programs on a machine share.
    """
    scratch = scratch_folder()
    atexit.register(scratch.cleanup)
    os.environ["GRADIO_TEMP_DIR"] = scratch.name  # read when the pages are built
    return Path(scratch.name)


class Server:
    """A server that listens; :meth:`run` until Ctrl+C, or :meth:`start` and :meth:`close`.

    ``trusted_proxies`` are the addresses whose ``X-Forwarded-For`` and ``-Proto`` are believed, ``private``
    the folder of :func:`private_folder`, which goes with the server.
    """

    def __init__(
        self,
        app: ASGIApp,
        blocks: gr.Blocks,
        listener: socket.socket,
        tls: Mapping[str, str] | None = None,
        trusted_proxies: Sequence[str] = (),
        private: Path | None = None,
        token: Token | None = None,
    ) -> None:
        self._token = token
        self.blocks, self._listener, self._private = blocks, listener, private
        #: the port it listens on
        self.port: int = listener.getsockname()[1]
        self._tls = bool(tls)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level=logging.CRITICAL,
            access_log=False,
            server_header=False,
            ws="none",
            # behind a proxy all come from one address
            http=Connections(of_one=None if trusted_proxies else MOST_OF_ONE).protocol,  # type: ignore[arg-type]
            # uvicorn would believe any program on this machine who it speaks for
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=_GRACE,
            **dict(tls or {}),  # type: ignore[arg-type]
        )
        self._server = _Uvicorn(config, blocks)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where this machine's own browser finds it."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/"

    @property
    def query(self) -> str:
        """What belongs behind the address for who may enter; empty where there is no token."""
        return "" if self._token is None else f"?token={self._token.text}"

    def run(self) -> None:
        """Serve until Ctrl+C, which ends it without a trace."""
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            self._server.run(sockets=[self._listener])

    def start(self) -> None:
        """Serve in a thread; returns when requests are answered."""
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        end = time.monotonic() + _START
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise DiffInfError("The server did not start; the terminal shows why.")
            time.sleep(0.01)

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=10 * _GRACE)
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
