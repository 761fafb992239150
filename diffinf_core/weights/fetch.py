"""Fetch, verify and import pretrained weights; a broken download resumes.

Everything lies in one folder, :func:`diffinf_core.weights.files.added_weights`. A file counts as present
once its SHA-256 has been verified: against the catalogue, or, where no sum is published, against the first
one seen.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.weights.files import added_weights
from diffinf_core.weights.pretrained import PRETRAINED, Pretrained

_BLOCK = 1 << 20
_TRIES = 4
_TIMEOUT = 30.0
#: checked sums and licences agreed to
_RECORD = "record.json"


def _record() -> dict[str, Any]:
    file = added_weights() / _RECORD
    record = read_json(file) if file.exists() else {}
    return {"checked": record.get("checked", {}), "agreed": record.get("agreed", [])}


def _remember(record: dict[str, Any]) -> None:
    write_json(added_weights() / _RECORD, record)


def agreed(item: Pretrained) -> bool:
    """Whether this licence was agreed to before."""
    return item.licence in _record()["agreed"]


def agree(item: Pretrained) -> None:
    """Record that the licence was agreed to."""
    record = _record()
    if item.licence not in record["agreed"]:
        _remember({**record, "agreed": [*record["agreed"], item.licence]})


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def state_of(item: Pretrained) -> str:
    """ "missing", "partial", "ok", or "unchecked" for a file that changed or was put there by hand."""
    if not item.path.is_file():
        return "partial" if _part(item).exists() else "missing"
    checked = _record()["checked"].get(item.name)
    return "ok" if checked and checked["stamp"] == _stamp(item.path) else "unchecked"


def _part(item: Pretrained) -> Path:
    return item.path.with_name(item.path.name + ".partial")


def _sum(path: Path, item: Pretrained) -> Iterator[Progress]:
    """Read a file; the last event's note is its SHA-256."""
    total, done, sha256 = path.stat().st_size, 0, hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            done += len(block)
            if done % (32 * _BLOCK) == 0 and done < total:
                yield Progress(item.name, done >> 20, total >> 20, "checking, MiB")
    yield Progress(item.name, total >> 20, total >> 20, sha256.hexdigest())


def _check(path: Path, item: Pretrained) -> Iterator[Progress]:
    """Compare a file with its known size and SHA-256; the last event's note is the SHA-256."""
    size = path.stat().st_size
    if item.size is not None and size != item.size:
        raise DiffInfError(
            f"{path} has {size:,} bytes instead of {item.size:,}; it is not {item.name} or is cut short."
        )
    for event in _sum(path, item):
        yield event
    known = item.sha256
    if known is None and path == item.path:
        known = _record()["checked"].get(item.name, {}).get("sha256")
    if known is None:
        _readable(path, item)
    if known and event.note != known:
        raise DiffInfError(
            f"{path} has the SHA-256 {event.note[:16]}... instead of {known[:16]}...; "
            "it is damaged or another file. Remove it and fetch it again."
        )


def _readable(path: Path, item: Pretrained) -> None:
    """Without a known sum, check at least that the container is complete."""
    whole = True
    if item.file.endswith(".ckpt"):
        whole = zipfile.is_zipfile(path)
    elif item.file.endswith(".safetensors"):
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError):
            whole = False
    if not whole:
        raise DiffInfError(f"{path} is cut short or no weight file; get {item.name} again.")


def verify(item: Pretrained) -> Iterator[Progress]:
    """Read the file in its place and compare it with its known sum; records the result."""
    if not item.path.is_file():
        raise DiffInfError(f"{item.name} has not been fetched: {item.path} does not exist.")
    for event in _check(item.path, item):
        yield event
    _keep(item, event.note)


def _keep(item: Pretrained, sha256: str) -> None:
    record = _record()
    record["checked"][item.name] = {"sha256": sha256, "stamp": _stamp(item.path)}
    _remember(record)


def _place(part: Path, item: Pretrained) -> Iterator[Progress]:
    """Verify a finished download, move it to its place, record its sum."""
    try:
        for event in _check(part, item):
            yield event
    except DiffInfError:
        part.unlink()
        raise
    part.replace(item.path)
    _keep(item, event.note)
    yield Progress(item.name, event.done, event.total, "ready")


def _only_https(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise DiffInfError(f"{url} is not fetched: only https addresses are.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to an address that could be requested directly."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        _only_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, start: int) -> Any:
    _only_https(url)
    request = urllib.request.Request(url, headers={"User-Agent": "diffinf"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    return urllib.request.build_opener(_Redirects()).open(request, timeout=_TIMEOUT)


def fetch(item: Pretrained) -> Iterator[Progress]:
    """Download a file; progress is in MiB. A broken download resumes, in this call or the next.

    The licence must have been agreed to (:func:`agree`). Raises :class:`DiffInfError` without a
    network, on a full disk, and for a file that is not the expected one.
    """
    if state_of(item) == "ok":
        yield Progress(item.name, 1, 1, "already here")
        return
    if not agreed(item):
        raise DiffInfError(f"{item.name} is under: {item.licence}. Agree to it first (--agree).")
    if item.url is None:
        raise DiffInfError(
            f"{item.name} has no direct link. Download it from {item.page} in a browser, then run "
            "'diffinf weights import FOLDER'."
        )
    part = _part(item)
    part.parent.mkdir(parents=True, exist_ok=True)
    if item.sha256 is None:
        # Without a sum, a new release appended to the start of an old one would go unnoticed.
        part.unlink(missing_ok=True)
    for attempt in range(_TRIES):
        before = part.stat().st_size if part.exists() else 0
        try:
            yield from _download(item, part)
            break
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            code = getattr(error, "code", None)
            gained = (part.stat().st_size if part.exists() else 0) > before
            if code is not None and code < 500 and code != 416:
                raise DiffInfError(
                    f"{item.url} cannot be fetched: the server answers {code}."
                ) from error
            if code == 416:  # the partial file is not a prefix of the remote one
                part.unlink(missing_ok=True)
            if attempt + 1 == _TRIES and not gained:
                kept = "; the partial download is kept" if item.sha256 else ""
                raise DiffInfError(
                    f"{item.name} cannot be fetched ({getattr(error, 'reason', error)}). Without a "
                    f"network, get {item.url} elsewhere and run 'diffinf weights import FOLDER'{kept}."
                ) from error
            time.sleep(0.5 * 2**attempt)
    else:
        raise DiffInfError(
            f"{item.name}: the connection keeps breaking; the partial download is kept. Try again."
        )
    yield from _place(part, item)


def _download(item: Pretrained, part: Path) -> Iterator[Progress]:
    assert item.url is not None
    start = part.stat().st_size if part.exists() else 0
    if item.size is not None and start >= item.size:
        if start > item.size:
            part.unlink()
            start = 0
        else:
            return
    with _open(item.url, start) as answer:
        if start and answer.status != 206:
            start = 0  # the server does not support ranges and sends the whole file
        length = answer.headers.get("Content-Length")
        total = item.size or (start + int(length) if length else 0)
        done = start
        with open(part, "ab" if start else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                done += len(block)
                yield Progress(item.name, done >> 20, max(total, done) >> 20, "MiB")
            file.flush()
            os.fsync(file.fileno())
        if total and done < total:
            raise urllib.error.URLError(f"the connection broke at {done:,} of {total:,} bytes")


def candidates(folder: Path) -> list[tuple[Pretrained, Path]]:
    """Files under a folder that are, by path, name or size, one of :data:`PRETRAINED`.

    A published autoencoder is recognised by its folder's name, as its authors distribute it.
    """
    if not folder.is_dir():
        raise DiffInfError(f"The folder {folder} does not exist.")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".partial")
    matches = []
    for item in PRETRAINED.values():
        tail = Path(item.file)
        for path in files:
            by_path = path.parts[-len(tail.parts) :] == tail.parts
            by_folder = folder.resolve().name == tail.parent.name and path.name == tail.name
            by_size = item.sha256 is not None and path.stat().st_size == item.size
            if by_path or by_folder or by_size:
                matches.append((item, path))
                break
    return matches


def import_file(item: Pretrained, source: Path) -> Iterator[Progress]:
    """Copy a downloaded file to its place and verify it."""
    if item.path.exists() and item.path.samefile(source):
        yield from verify(item)
        return
    part = _part(item)
    part.parent.mkdir(parents=True, exist_ok=True)
    total, done = source.stat().st_size, 0
    with open(source, "rb") as incoming, open(part, "wb") as file:
        while block := incoming.read(_BLOCK):
            file.write(block)
            done += len(block)
            if done % (32 * _BLOCK) == 0:
                yield Progress(item.name, done >> 20, total >> 20, "copying, MiB")
        file.flush()
        os.fsync(file.fileno())
    yield from _place(part, item)
