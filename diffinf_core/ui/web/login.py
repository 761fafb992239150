"""Log in, stay logged in, log out: the routes and the tokens behind the cookie."""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from diffinf_core.ui.web.accounts import MAX_NAME, MAX_PASSWORD, Accounts, kept_name
from diffinf_core.ui.web.login_page import POLICY, login_page
from diffinf_core.ui.web.refusals import note
from diffinf_core.ui.web.throttle import Throttle

#: seconds without a request after which one has to log in again
IDLE = 12 * 3600.0
MOST_TOKENS = 4096
#: seconds that a log-in may be held up by what others guessed at the same name
LONGEST_PAUSE = 5.0
#: log-ins that are checked at the same time; each takes 32 MiB and a core
_AT_ONCE = 2

_log = logging.getLogger("diffinf.guard")


@dataclass
class _Visit:
    name: str
    stamp: str
    last: float


class Tokens:
    """Opaque random tokens, each for one log-in, kept as hashes and in memory only."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts, self._clock = accounts, clock
        self._visits: OrderedDict[str, _Visit] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._visits)

    @staticmethod
    def _key(token: str) -> str:
        return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

    def open(self, name: str) -> str:
        """A new token for a user."""
        token = secrets.token_urlsafe(32)
        stamp = self._accounts.stamp(name) or ""
        with self._lock:
            self._visits[self._key(token)] = _Visit(name, stamp, self._clock())
            while len(self._visits) > MOST_TOKENS:  # the one that was idle for longest
                self._visits.popitem(last=False)
        return token

    def name(self, token: str | None) -> str | None:
        """Whose token it is; None for a token that is unknown, was idle for too long, or whose
        user is gone or has another password by now."""
        if not token:
            return None
        key = self._key(token)
        with self._lock:
            visit, now = self._visits.get(key), self._clock()
            if visit is None:
                return None
            if now - visit.last > IDLE or self._accounts.stamp(visit.name) != visit.stamp:
                del self._visits[key]
                return None
            visit.last = now
            self._visits.move_to_end(key)
            return visit.name

    def close(self, token: str | None) -> None:
        """Forget a token."""
        with self._lock:
            self._visits.pop(self._key(token or ""), None)


def onward(target: str) -> str:
    """Where to go after the log-in: a path of this app, whatever was asked for."""
    inside = target.startswith("/") and not target.startswith(("//", "/login", "/logout"))
    return target if inside and target.isprintable() and "\\" not in target else "/"


def cookie_of(request: Request) -> str:
    """The cookie's name: browsers share cookies among the ports of a host, and runs have one each."""
    _, port = request.scope.get("server") or ("", 0)
    return f"diffinf-{port}"


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


class Login:
    """The log-in of one server."""

    def __init__(self, accounts: Accounts, throttle: Throttle | None = None) -> None:
        self._accounts = accounts
        self.tokens = Tokens(accounts)
        self._throttle = throttle or Throttle()
        # Guesses at one name from many addresses slow each other down. They must not lock its owner out,
        # so they cause a pause and no refusal, and none where this user has logged in before.
        self._by_name = Throttle()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._limiter: anyio.CapacityLimiter | None = None

    def user(self, request: Request) -> str | None:
        """Who asks, or None."""
        return self.tokens.name(request.cookies.get(cookie_of(request)))

    def page(self, target: str, status: int = 200, name: str = "", error: str = "") -> Response:
        """The log-in page."""
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
        return HTMLResponse(login_page(onward(target), name, error), status, headers)

    async def enter(self, request: Request) -> Response:
        """Check name and password; a cookie, or a refusal."""
        async with request.form(max_files=0, max_fields=8) as form:
            name, password = (str(form.get(k, "")) for k in ("username", "password"))
            target = onward(str(form.get("next", "/")))
        name, address = name.strip()[:MAX_NAME], request.client.host if request.client else ""
        folded = kept_name(name)
        keys = (f"name {folded} from {address}", f"address {address}")
        wait = self._throttle.begin(keys)
        if wait > 0:
            return self._refused(request, 429, target, name, wait)
        pause = self._by_name.begin([folded])
        if (folded, address) not in self._known:
            await anyio.sleep(min(pause, LONGEST_PAUSE))
        if self._limiter is None:  # it belongs to the running loop
            self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        kept = await anyio.to_thread.run_sync(
            self._accounts.check, name, password[: MAX_PASSWORD + 1], limiter=self._limiter
        )
        if kept is None:
            return self._refused(request, 401, target, name)
        self._throttle.succeed(*keys)
        self._by_name.succeed(folded)
        self._known[folded, address] = None
        while len(self._known) > MOST_TOKENS:
            self._known.popitem(last=False)
        _log.info("%s logged in from %s", kept, address)
        return self._entered(request, kept, target)

    def _refused(
        self, request: Request, status: int, target: str, name: str, wait: float = 0
    ) -> Response:
        if status == 429:
            seconds = math.ceil(wait)
            said = f"Too many attempts that failed; try again in {seconds} s."
            reason, headers = f"log-in slowed for {seconds} s", {"Retry-After": str(seconds)}
        else:
            said = "Name or password is wrong."
            reason, headers = "log-in failed", {}
        # Of an unknown name nothing is said: it may be a password in the wrong field.
        known = self._accounts.stamp(name) is not None
        note(request.scope, f"{reason}, {f'name {name!r}' if known else 'unknown name'}")
        if not _wants_page(request):
            return JSONResponse({"detail": said}, status, headers)
        page = self.page(target, status, name, said)
        page.headers.update(headers)
        return page

    def _entered(self, request: Request, name: str, target: str) -> Response:
        answer: Response = JSONResponse({"success": True})
        if _wants_page(request):
            answer = RedirectResponse(target, 303)
        self.tokens.close(request.cookies.get(cookie_of(request)))
        answer.set_cookie(
            cookie_of(request),
            self.tokens.open(name),
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def leave(self, request: Request) -> Response:
        """Log out: the token is worth nothing from now on."""
        self.tokens.close(request.cookies.get(cookie_of(request)))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(cookie_of(request), path="/", httponly=True, samesite="strict")
        return answer


def login_routes(login: Login | None) -> APIRouter:
    """``/login`` and ``/logout``; without users both lead to the app."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    def ask(request: Request) -> Response:
        target = request.query_params.get("next", "/")
        if login is None or login.user(request) is not None:
            return RedirectResponse(onward(target), 303)
        return login.page(target)

    @routes.post("/login")
    async def enter(request: Request) -> Response:
        return RedirectResponse("/", 303) if login is None else await login.enter(request)

    @routes.api_route("/logout", methods=["GET", "POST"])
    def leave(request: Request) -> Response:
        return RedirectResponse("/", 303) if login is None else login.leave(request)

    return routes
