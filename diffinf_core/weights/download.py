"""Downloads over https that resume where they broke."""

from __future__ import annotations

import base64
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffinf_core.records import DiffInfError, Progress

BLOCK = 1 << 20
_TRIES = 4
_TIMEOUT = 30.0


def without_user(url: str) -> str:
    """An address without the user and password that it may hold."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _only_https(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise DiffInfError(f"{without_user(url)} is not fetched: only https addresses are.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to an address that could be requested directly."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        _only_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(url: str, headers: Mapping[str, str]) -> Any:
    """The open answer to a GET; a user and password in the address are sent to its host alone.

    Raises :class:`DiffInfError` for an address that is not https, ``OSError`` without a network.
    """
    _only_https(url)
    user = urllib.parse.urlsplit(url).netloc.rpartition("@")[0]
    request = urllib.request.Request(
        without_user(url), headers={"User-Agent": "diffinf", **headers}
    )
    if user:
        secret = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    return urllib.request.build_opener(_Redirects()).open(request, timeout=_TIMEOUT)


def download(
    name: str, url: str, part: Path, size: int | None, resumes: bool
) -> Iterator[Progress]:
    """Download into ``part``, progress in MiB; with ``resumes`` a broken download goes on in a later call.

    ``size`` is in bytes, None where it is unknown. Raises :class:`DiffInfError` without a network.
    """
    shown = without_user(url)
    part.parent.mkdir(parents=True, exist_ok=True)
    if not resumes:
        # Without a sum, a new release appended to the start of an old one would go unnoticed.
        part.unlink(missing_ok=True)
    for attempt in range(_TRIES):
        before = part.stat().st_size if part.exists() else 0
        try:
            yield from _attempt(name, url, part, size)
            return
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            code = getattr(error, "code", None)
            gained = (part.stat().st_size if part.exists() else 0) > before
            if code is not None and code < 500 and code != 416:
                raise DiffInfError(
                    f"{shown} cannot be fetched: the server answers {code}."
                ) from error
            if code == 416:  # the partial file is not a prefix of the remote one
                part.unlink(missing_ok=True)
            if attempt + 1 == _TRIES and not gained:
                kept = "; the partial download is kept" if resumes else ""
                raise DiffInfError(
                    f"{name} cannot be fetched ({getattr(error, 'reason', error)}). Without a "
                    f"network, get {shown} elsewhere and run 'diffinf weights import FOLDER'{kept}."
                ) from error
            time.sleep(0.5 * 2**attempt)
    raise DiffInfError(
        f"{name}: the connection keeps breaking; the partial download is kept. Try again."
    )


def _attempt(name: str, url: str, part: Path, size: int | None) -> Iterator[Progress]:
    start = part.stat().st_size if part.exists() else 0
    if size is not None and start >= size:
        if start > size:
            part.unlink()
            start = 0
        else:
            return
    with open_url(url, {"Range": f"bytes={start}-"} if start else {}) as answer:
        if start and answer.status != 206:
            start = 0  # the server does not support ranges and sends the whole file
        length = answer.headers.get("Content-Length")
        total = size or (start + int(length) if length else 0)
        done = start
        with open(part, "ab" if start else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                done += len(block)
                yield Progress(name, done >> 20, max(total, done) >> 20, "MiB")
            file.flush()
            os.fsync(file.fileno())
        if total and done < total:
            raise urllib.error.URLError(f"the connection broke at {done:,} of {total:,} bytes")
