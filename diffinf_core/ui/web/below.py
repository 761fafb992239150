"""The app below a path of a proxy, as in https://example.org/diffinf/: every address has that path.

The proxy may pass the path on or take it away; it has to pass the Host header on as it came.
"""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffinf_core.records import DiffInfError

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def checked_root(text: str) -> str:
    """A path for ``--root-path``, without a slash at its end; empty for "/" or nothing.

    Raises :class:`DiffInfError` for what is no path.
    """
    path = text.rstrip("/")
    if path and (not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/"))):
        raise DiffInfError(
            f"--root-path {text!r} is no path; give that of the proxy alone, as in /diffinf."
        )
    return path


class Below:
    """An ASGI application at ``root``; requests without that path are taken for ones that the proxy cut."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == self._root:  # addresses in a page are relative to the slash
            query = scope.get("query_string", b"").decode("latin-1")
            target = f"{self._root}/" + (f"?{query}" if query else "")
            await RedirectResponse(target, 307)(scope, receive, send)
            return
        if scope["path"].startswith(f"{self._root}/"):
            scope = {**scope, "path": scope["path"][len(self._root) :]}
            raw = scope.get("raw_path")
            if raw and raw.startswith(self._root.encode()):
                scope["raw_path"] = raw[len(self._root) :]

        async def outward(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._mend(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, outward)

    def _mend(self, headers: MutableHeaders) -> None:
        """Put the path before addresses of this app, and keep its cookies to it."""
        location = headers.get("location", "")
        if location.startswith("/") and not location.startswith("//"):
            headers["location"] = self._root + location
        cookies = headers.getlist("set-cookie")
        if cookies:
            del headers["set-cookie"]
            for cookie in cookies:
                kept = re.sub(r"(?i)(;\s*path=)/(?=;|$)", rf"\g<1>{self._root}/", cookie)
                headers.append("set-cookie", kept)
