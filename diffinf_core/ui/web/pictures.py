"""Pictures by id: the one way by which a page gets pictures, and no file name in it.

``/di/picture/{kind}/{sample}/{version}.png`` and ``/di/thumb/{sample}.webp?side=96``. What a version
names never changes, so a browser keeps it. An original is named by its sample alone, and another run
on the same port can have another picture under that name: it is kept for good only where the address
says which data set it means (:func:`address` does), and else asked for again with its tag.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable

from fastapi import APIRouter
from plotly.offline import get_plotlyjs
from starlette.requests import Request
from starlette.responses import Response

from diffinf_core.engine import OpenRun, Pictures
from diffinf_core.records import DiffInfError
from diffinf_core.ui.web.refusals import refusal

#: where the pages find the drawing library
LIBRARY = "di/plotly.min.js"
SIDES = (64, 96, 128, 256)
_KINDS = ("original", "edit", "reconstruction", "heat")
_SAMPLE, _VERSION = re.compile(r"[0-9a-f]{12}"), re.compile(r"[0-9a-f]{16}")
_KEPT = "private, max-age=31536000, immutable"
_ASKED = "private, no-cache"
_CACHE_BYTES = 64_000_000


def address(kind: str, sample: str, version: str = "-", of: str = "") -> str:
    """Where a picture is; ``kind`` is original, edit, reconstruction or heat.

    ``of`` is the data set's key (``Pictures.data_key``), with which a browser may keep an original for good.
    """
    known = f"?of={of}" if of and version == "-" else ""
    return f"di/picture/{kind}/{sample}/{version}.png{known}"


def file_address(sample: str) -> str:
    """Where the original file of a sample can be opened; only for an app without log-in."""
    return f"di/file/{sample}"


def thumb_url(run: OpenRun, sample: str, side: int = 96) -> str:
    """The address of a small original; ``side`` is one of :data:`SIDES`."""
    return f"di/thumb/{sample}.webp?side={side}&of={run.pictures.data_key}"


class ByteCache:
    """Keeps what was asked for last, up to a number of bytes; shared by threads."""

    def __init__(self, limit: int = _CACHE_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def get(self, key: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
        """The bytes of a key, made where they are not kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = make()
        with self._lock:
            if key not in self._kept and len(made) <= self._limit:
                self._kept[key] = made
                self._size += len(made)
                while self._size > self._limit:
                    self._size -= len(self._kept.popitem(last=False)[1])
        return made


def picture_routes(opened: Callable[[], OpenRun], files: bool = False) -> APIRouter:
    """The routes; ``opened`` gives the opened run at each request.

    ``files``: whether the original files may be opened too, as on the machine that holds them.
    """
    routes = APIRouter(prefix="/di")
    cache = ByteCache()

    def answer(
        request: Request, key: tuple[str, ...], media: str, make: Callable[[Pictures], bytes]
    ) -> Response:
        try:
            pictures = opened().pictures
            data_key = pictures.data_key
            content = cache.get((data_key, *key), lambda: make(pictures))
        except DiffInfError as error:
            return refusal(request.scope, 404, str(error).rstrip("."))
        fixed = key[0] == "version" or request.query_params.get("of") == data_key
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {
            "Cache-Control": _KEPT if fixed else _ASKED,
            "ETag": tag,
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media, headers=headers)

    @routes.get("/picture/{kind}/{sample}/{version}.png", response_class=Response)
    def picture(request: Request, kind: str, sample: str, version: str) -> Response:
        """A picture of a training sample as PNG."""
        original = kind == "original"
        fits = version == "-" if original else _VERSION.fullmatch(version)
        if kind not in _KINDS or not _SAMPLE.fullmatch(sample) or not fits:
            return refusal(request.scope, 404, "there is no such picture")
        named = "original" if original else "version"
        return answer(
            request,
            (named, kind, sample, version),
            "image/png",
            lambda pictures: pictures.png(kind, sample, version),
        )

    @routes.get("/thumb/{sample}.webp", response_class=Response)
    def thumb(request: Request, sample: str, side: str = "96") -> Response:
        """A small original of a training sample as WebP."""
        if not _SAMPLE.fullmatch(sample) or side not in map(str, SIDES):
            return refusal(request.scope, 404, "there is no such picture")
        return answer(
            request,
            ("thumb", sample, side),
            "image/webp",
            lambda pictures: pictures.thumbnail(sample, int(side)),
        )

    @routes.get("/file/{sample}", response_class=Response)
    def file(request: Request, sample: str) -> Response:
        """The original file of a training sample."""
        if not files or not _SAMPLE.fullmatch(sample):
            return refusal(request.scope, 404, "there is no such file")
        try:
            content, media = opened().pictures.file(sample)
        except DiffInfError as error:
            return refusal(request.scope, 404, str(error).rstrip("."))
        headers = {
            "Cache-Control": _ASKED,
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(content, media_type=media, headers=headers)

    @routes.get("/plotly.min.js", response_class=Response)
    def library() -> Response:
        """The drawing library, as the plotly package ships it."""
        script = get_plotlyjs().encode()
        headers = {"Cache-Control": "private, max-age=86400"}
        return Response(script, media_type="text/javascript", headers=headers)

    return routes
