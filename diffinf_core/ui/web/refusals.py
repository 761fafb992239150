"""What is refused: one line in the log and a short plain answer."""

from __future__ import annotations

import base64
import hashlib
import logging

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

_log = logging.getLogger("diffinf.guard")
_LONGEST = 200


def plain(text: str) -> str:
    """Text that cannot forge a line of the log or colour a terminal: cut, and nothing invisible."""
    shown = text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    return "".join(c if c.isprintable() else "?" for c in shown)


def policy_hash(text: str) -> str:
    """How a content security policy names a script or a style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def note(scope: Scope, reason: str) -> None:
    """One line: client, method, path and reason. No query, no header and no body, which may be secret."""
    client = scope.get("client") or ("unknown", 0)
    method, path = scope.get("method", scope["type"]), scope.get("path", "")
    _log.warning("refused %s %s %s: %s", *map(plain, (str(client[0]), method, path, reason)))


def refusal(scope: Scope, status: int, reason: str, **headers: str) -> Response:
    """The answer, after its line is in the log; a call with wrong values gets it in Gradio's own form."""
    note(scope, reason)
    said = plain(reason[:1].upper() + reason[1:] + ".")
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    if status != 422:
        return PlainTextResponse(said, status, named)
    wrong = {"__type__": "validate", "is_valid": False, "parameter_name": "call", "message": said}
    return JSONResponse({"detail": [wrong]}, status, named)


def show_refusals() -> None:
    """Write the log to the terminal with its times, where nobody has set up logging."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)
