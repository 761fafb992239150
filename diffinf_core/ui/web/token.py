"""On a machine that others use, too: without a log-in, the address that the terminal prints carries a token.

Whoever opens it gets a cookie in its place; programs send it as ``Authorization: Bearer TOKEN``. Jupyter does
the same, for the same reason: every user of a machine can reach its loopback ports.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from diffinf_core.ui.web.login import cookie_of


class Token:
    """The token of one server; ``text`` is drawn anew unless it is given."""

    def __init__(self, text: str = "") -> None:
        self.text = text or secrets.token_urlsafe(24)
        self._cookie = secrets.token_urlsafe(24)

    @staticmethod
    def _same(given: str, kept: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), kept.encode())

    def admits(self, request: Request) -> bool:
        """Whether a request brings the cookie, or the token in its header."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._same(given.strip(), self.text):
            return True
        return self._same(request.cookies.get(cookie_of(request), ""), self._cookie)

    def entered(self, request: Request) -> Response | None:
        """The way to the same page without the token, and with the cookie; None without a right token."""
        given = request.query_params.get("token")
        if request.method != "GET" or given is None or not self._same(given, self.text):
            return None
        left = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
        path = "/" + request.url.path.lstrip("/")  # two slashes would name another host
        answer = RedirectResponse(path + (f"?{urlencode(left)}" if left else ""), 303)
        answer.set_cookie(
            cookie_of(request),
            self._cookie,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer
