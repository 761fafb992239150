"""What stands before everything else: host, origin, path, log-in and size of each request.

An ASGI application around the app. A request that is refused here is one line in the log and never
reaches Gradio. Answers get headers that let a page run nothing but this app's own scripts.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffinf_core.records import DiffInfError
from diffinf_core.ui.web.calls import InvalidCall, is_call
from diffinf_core.ui.web.login import Login
from diffinf_core.ui.web.refusals import policy_hash, refusal
from diffinf_core.ui.web.token import Token

#: where the name of the user stands in a request's scope
USER = "diffinf.user"
MAX_BODY = 2_000_000
#: seconds that a body may take to arrive
BODY_TIME = 30.0

_log = logging.getLogger("diffinf.guard")
#: what the pages need of the app; everything else that Gradio has stays closed
_READ = re.compile(
    r"/|/config/?|/theme\.css|/robots\.txt|/favicon\.ico|/manifest\.json|/openapi\.json|/docs|"
    r"/(?:assets|static|svelte)/.+|/di/.+|/login|/logout|"
    r"/gradio_api/(?:theme\.css|info/?|openapi\.json|user/?|login_check/?|app_id/?|queue/data|"
    r"queue/status|heartbeat/[^/]+|call/(?!v2)[^/]+/[^/]+|file=.+)"
)
_WRITE = re.compile(
    r"/login|/logout|/di/.+|"
    r"/gradio_api/(?:queue/join|(?:run|api|call)/[^/]+/?|cancel|reset/?|component_server/?)"
)
_OPEN = {"/login", "/logout"}
_LOADED_ONCE = ("/assets/", "/static/", "/svelte/")
_POLICY = (
    "default-src 'self'; script-src {script} 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def _split_host(text: str) -> tuple[str, int | None]:
    """Name and port of a Host header; ``ValueError`` for one that is none."""
    if re.search(r"[\s/@?#\\]", text):
        raise ValueError(text)
    parts = urlsplit(f"//{text}")
    return (parts.hostname or "").rstrip("."), parts.port


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(text: str) -> str:
    """A name for ``--allow-host``, as it is compared; :class:`DiffInfError` for what is no host."""
    try:
        name, port = _split_host(text)
    except ValueError:
        name, port = "", None
    if not name or port is not None:
        raise DiffInfError(
            f"{text!r} is not a host; give a name or an address alone, as in review.example.org."
        )
    return name


class Hosts:
    """The names that this server answers to. A foreign name on one's own address is DNS rebinding."""

    def __init__(self, bound: str, allowed: Sequence[str] = ()) -> None:
        self._names = {bound.lower(), *map(host_name, allowed)}

    def serves(self, name: str, scope: Scope) -> bool:
        """Whether a request may name this host.

        Always loopback, and the very address that the connection came in on: no name can be
        rebound to that.
        """
        own = (scope.get("server") or ("", 0))[0]
        return _is_loopback(name) or name in self._names or (bool(name) and name == own)


class Guard:
    """The app behind its checks; ``check`` raises :class:`InvalidCall` for a call that is none.

    With ``token``, which is for a server without a log-in, every request has to bring it.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Hosts,
        login: Login | None,
        check: Callable[[str, bytes], None],
        head: str = "",
        token: Token | None = None,
    ) -> None:
        self._token = token
        self._app, self._hosts, self._login, self._check = app, hosts, login, check
        # Gradio's page puts these in again by itself, where no nonce is left.
        own = re.findall(r"<script>(.*?)</script>", head, re.DOTALL)
        self._script = " ".join(["'self'", *(f"'{policy_hash(text)}'" for text in own)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the app has no web sockets
            refusal(scope, 403, "web sockets are not served")
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(scope, send, self._script)
        try:
            early = self._admitted(scope)
            if early is None:
                receive = await self._body(scope, receive)
        except _Refused as refused:
            early = refusal(scope, refused.status, refused.reason, Connection="close")
        if early is not None:
            await early(scope, receive, answer.send)
            return
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:  # a person gets a sentence, the terminal the trace
            _log.error("%s failed", scope["path"], exc_info=error)
            if not answer.begun:
                said = JSONResponse({"error": "This failed; the terminal shows why."}, 500)
                await said(scope, receive, answer.send)

    def _admitted(self, scope: Scope) -> Response | None:
        """None for a request that may go on; else the answer, or :class:`_Refused`."""
        headers = Headers(scope=scope)
        self._check_origin(scope, headers)
        method, path = scope["method"], scope["path"]
        user = None
        if self._login is not None and path not in _OPEN:
            user = self._login.user(Request(scope))
            if user is None:
                return self._ask(scope, headers)
        if self._token is not None:
            request = Request(scope)
            if (entered := self._token.entered(request)) is not None:
                return entered
            if not self._token.admits(request):
                raise _Refused(401, "open the address that the terminal printed, with its token")
        scope[USER] = user
        self._check_path(method, path)
        return None

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.getlist("host")
        try:
            name, port = _split_host(hosts[0] if len(hosts) == 1 else " ")
        except ValueError as error:
            raise _Refused(400, "the Host header is missing or broken") from error
        if not self._hosts.serves(name, scope):
            raise _Refused(403, "this host name is not served here; --allow-host adds one")
        origin = headers.get("origin")
        if origin is not None and not _same_origin(origin, name, port):
            raise _Refused(403, "the request comes from another site")
        # A page elsewhere may link here and nothing else: no picture, frame, script or form of it.
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            linked = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
            framed = headers.get("sec-fetch-dest", "document") != "document"
            if not linked or framed or scope["path"] == "/logout":
                raise _Refused(403, "the request comes from another site")

    def _check_path(self, method: str, path: str) -> None:
        if "\\" in path or not path.isprintable() or ".." in path.split("/"):
            raise _Refused(404, "the path is not one of this app's")
        # Gradio would fetch what such a path names.
        fetches = re.match(r"/gradio_api/file=\w+:/", path)
        offered = {"GET": _READ, "HEAD": _READ, "POST": _WRITE}.get(method)
        if offered is None or fetches or not offered.fullmatch(path):
            raise _Refused(404, "there is no such page")

    def _ask(self, scope: Scope, headers: Headers) -> Response:
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            query = scope.get("query_string", b"").decode("latin-1")
            here = scope["path"] + (f"?{query}" if query else "")
            asked = "/login" if here == "/" else f"/login?next={quote(here, safe='/')}"
            return RedirectResponse(asked, 303)
        raise _Refused(401, "log in first")

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        """Read the body up to the limit, check it, and hand it on."""
        if scope["method"] in ("GET", "HEAD"):
            return receive
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY:
            raise _Refused(413, f"a body may have at most {MAX_BODY} bytes")
        body = bytearray()
        with anyio.move_on_after(BODY_TIME) as clock:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Refused(400, "the client left before its body ended")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MAX_BODY:
                    raise _Refused(413, f"a body may have at most {MAX_BODY} bytes")
        if clock.cancelled_caught:
            raise _Refused(408, "the body took too long")
        try:
            self._check(scope["path"], bytes(body))
        except InvalidCall as invalid:
            raise _Refused(invalid.status, str(invalid)) from invalid
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        return replay


def _same_origin(origin: str, name: str, port: int | None) -> bool:
    try:
        parts = urlsplit(origin)
        usual = {"http": 80, "https": 443}[parts.scheme]
        theirs = (parts.hostname or "").rstrip("."), parts.port or usual
    except (KeyError, ValueError):  # "null" is a page from a file or a sandbox
        return False
    return theirs == (name, port or usual)


class _Answer:
    """One answer on its way out: gets the headers; a page, and an error of a call, are held back."""

    def __init__(self, scope: Scope, send: Send, script: str) -> None:
        self._scope, self._send, self._script = scope, send, script
        self.begun = False
        self._held: Message | None = None
        self._body = bytearray()
        self._page = scope["method"] == "GET" and scope["path"] == "/"
        if self._page:  # it is changed on its way, so it must not be compressed
            kept = [(k, v) for k, v in scope["headers"] if k != b"accept-encoding"]
            scope["headers"] = kept

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.begun = True
            failed = message["status"] == 500 and is_call(self._scope["path"])
            if failed or (self._page and message["status"] == 200):
                self._held = message
                return
            self._dress(message)
        elif self._held is not None:
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            start, body = self._held, bytes(self._body)
            start["status"], body = self._changed(start["status"], body)
            self._dress(start)
            MutableHeaders(scope=start)["Content-Length"] = str(len(body))
            await self._send(start)
            message = {"type": "http.response.body", "body": body, "more_body": False}
        await self._send(message)

    def _changed(self, status: int, body: bytes) -> tuple[int, bytes]:
        if status == 200:
            # Only the scripts that Gradio wrote into its page get the nonce; what came from data
            # is inside them with < written as \u003c.
            nonce = secrets.token_urlsafe(16)
            self._script += f" 'nonce-{nonce}'"
            return status, re.sub(rb"<script(?=[\s>])", f'<script nonce="{nonce}"'.encode(), body)
        # A sentence that a handler meant for the person, or one of Gradio's checks; a long one comes
        # compressed, what has none is short.
        if not body.startswith(b"{") or json.loads(body).get("error"):
            return 422, body
        return 500, b'{"error":"This failed; the terminal shows why.","visible":true}'

    def _dress(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        # Gradio lets pages of other ports read; this app has no reader elsewhere.
        for name in [n for n in headers if n.startswith("access-control-")]:
            del headers[name]
        for name, value in _HEADERS.items():
            headers[name] = value
        headers.setdefault("Content-Security-Policy", _POLICY.format(script=self._script))
        if not self._scope["path"].startswith(_LOADED_ONCE):
            headers.setdefault("Cache-Control", "no-store")
