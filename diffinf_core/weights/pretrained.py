"""Weights published by others: what they are, fetching, checking, taking in.

Everything lies in one folder, :func:`diffinf_core.weights.added_weights`. A file counts as present when
its SHA-256 has been checked; sums that the publisher or a third party made known are written here, for
the others the sum at first sight is recorded and compared from then on.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.weights.files import added_weights

_BLOCK = 1 << 20
_TRIES = 4
_TIMEOUT = 30.0
#: checked sums and licences agreed to
_RECORD = "record.json"

_IMAGENET = "BSD-3-Clause (torchvision); trained on ImageNet, whose pictures are for non-commercial research"
_DIFFAE = (
    "MIT (Preechakul et al.); trained on {data}; the weights come without a licence of their own"
)


@dataclass(frozen=True)
class Official:
    """A published weight file.

    ``url`` is None where the publisher's page has no plain link: then a person fetches it from
    ``page``. ``size`` is in bytes; ``size`` and ``sha256`` are None where nobody made them known.
    """

    name: str
    file: str
    use: str
    licence: str
    page: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where it lies, or will lie."""
        return added_weights() / self.file


_TORCH = "https://download.pytorch.org/models/"
_DRIVE = "https://drive.google.com/drive/folders/"


def _torchvision(name: str, file: str, use: str, size: int, sha256: str) -> Official:
    page = "https://docs.pytorch.org/vision/stable/models.html"
    return Official(name, file, use, _IMAGENET, page, _TORCH + file, size, sha256)


def _diffae(
    name: str, folder: str, data: str, size: int | None = None, sha256: str | None = None
) -> Official:
    use = f"generator, published diffusion autoencoder ({data})"
    licence = _DIFFAE.format(data=data)
    return Official(name, f"{name}/last.ckpt", use, licence, _DRIVE + folder, None, size, sha256)


_FFHQ = "FFHQ, CC BY-NC-SA 4.0"

#: every published file that DiffInf can use
OFFICIAL: dict[str, Official] = {
    item.name: item
    for item in (
        _torchvision(
            "resnet18", "resnet18-f37072fd.pth", "start of the resnet18 classifier", 46_830_571,
            "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        ),
        _torchvision(
            "lpips-alex", "alexnet-owt-7be5be79.pth", "trunk of LPIPS (AlexNet)", 244_408_911,
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        ),
        _torchvision(
            "lpips-vgg", "vgg16-397923af.pth", "trunk of LPIPS (VGG-16)", 553_433_881,
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        ),
        _torchvision(
            "lpips-squeeze", "squeezenet1_1-b8a52dc0.pth", "trunk of LPIPS (SqueezeNet 1.1)",
            4_958_839, "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        ),
        Official(
            "facenet", "20180402-114759-vggface2.pt", "identity of real faces",
            "MIT (facenet-pytorch); trained on VGGFace2, for research",
            "https://github.com/timesler/facenet-pytorch",
            "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
            "20180402-114759-vggface2.pt",
            111_898_327,
            "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        ),
        Official(
            "face-parsing", "face-parsing/model.safetensors", "parsing of real faces (SegFormer)",
            "non-commercial (NVIDIA SegFormer licence; trained on CelebAMask-HQ, for research)",
            "https://huggingface.co/jonathandinu/face-parsing",
            "https://huggingface.co/jonathandinu/face-parsing/resolve/main/model.safetensors",
        ),
        _diffae(
            "ffhq256_autoenc", "1-5zfxT6Gl-GjxM7z9ZO2AHlB70tfmF6V", _FFHQ, 2_722_085_968,
            "9bd2ba9e4c22afde8f18958026a4e8e625ef67d2c3ee76bb3aa72f3e67d3b9ca",
        ),
        _diffae("ffhq128_autoenc_130M", "10UNtFNfxbHBPkoIh003JkSPto5s-VbeN", _FFHQ),
        _diffae("ffhq128_autoenc_72M", "10bmB6WhLkgxybkhso5g3JmIFPAnmZMQO", _FFHQ),
        _diffae("bedroom128_autoenc", "12EdjbIKnvP5RngKsR0UU-4kgpPAaYtlp", "LSUN bedrooms"),
        _diffae("horse128_autoenc", "12EtTRXzQc5uPHscpjIcci-Rg-OGa_N30", "LSUN horses"),
        Official(
            "ffhq256_autoenc_cls", "ffhq256_autoenc_cls/last.ckpt", "attribute directions for ffhq256",
            _DIFFAE.format(data="CelebA-HQ, for non-commercial research"),
            _DRIVE + "117Wv7RZs_gumgrCOIhDEWgsNy6BRJorg", None, 339_862,
            "a83381098ec856ee07acfc0fed2d99f5d039c532b48ba43aef800eaca3731134",
        ),
        Official(
            "ffhq128_autoenc_cls", "ffhq128_autoenc_cls/last.ckpt", "attribute directions for ffhq128",
            _DIFFAE.format(data="CelebA-HQ, for non-commercial research"),
            _DRIVE + "11EYIyuK6IX44C8MqreUyMgPCNiEnwhmI",
        ),
    )
}  # fmt: skip


def official(name: str) -> Official:
    """A published file by name; :class:`DiffInfError` for an unknown one."""
    if name not in OFFICIAL:
        raise DiffInfError(f"Unknown weights {name!r}; choose one of {', '.join(OFFICIAL)}.")
    return OFFICIAL[name]


def _record() -> dict[str, Any]:
    file = added_weights() / _RECORD
    found = read_json(file) if file.exists() else {}
    return {"checked": found.get("checked", {}), "agreed": found.get("agreed", [])}


def _remember(record: dict[str, Any]) -> None:
    write_json(added_weights() / _RECORD, record)


def agreed(item: Official) -> bool:
    """Whether somebody agreed to this licence here before."""
    return item.licence in _record()["agreed"]


def agree(item: Official) -> None:
    """Remember that the licence was agreed to."""
    record = _record()
    if item.licence not in record["agreed"]:
        _remember({**record, "agreed": [*record["agreed"], item.licence]})


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def state_of(item: Official) -> str:
    """ "missing", "partial", "ok", or "unchecked" for a file that changed or was put there by hand."""
    if not item.path.is_file():
        return "partial" if _part(item).exists() else "missing"
    checked = _record()["checked"].get(item.name)
    return "ok" if checked and checked["stamp"] == _stamp(item.path) else "unchecked"


def _part(item: Official) -> Path:
    return item.path.with_name(item.path.name + ".partial")


def _sum(path: Path, item: Official) -> Iterator[Progress]:
    """Read a file; the last event's note is its SHA-256."""
    total, done, found = path.stat().st_size, 0, hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
            done += len(block)
            if done % (32 * _BLOCK) == 0 and done < total:
                yield Progress(item.name, done >> 20, total >> 20, "checking, MiB")
    yield Progress(item.name, total >> 20, total >> 20, found.hexdigest())


def _check(path: Path, item: Official) -> Iterator[Progress]:
    """Compare a file with what is known; the last event's note is its SHA-256."""
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


def _readable(path: Path, item: Official) -> None:
    """Of a file without a known sum at least the structure must be whole."""
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


def verify(item: Official) -> Iterator[Progress]:
    """Read the file in its place and compare; remembers the result."""
    if not item.path.is_file():
        raise DiffInfError(f"{item.name} is not here: {item.path} does not exist.")
    for event in _check(item.path, item):
        yield event
    _keep(item, event.note)


def _keep(item: Official, sha256: str) -> None:
    record = _record()
    record["checked"][item.name] = {"sha256": sha256, "stamp": _stamp(item.path)}
    _remember(record)


def _place(part: Path, item: Official) -> Iterator[Progress]:
    """Check a finished part, give it its name, remember its sum."""
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
        raise DiffInfError(f"{url} is not fetched: only https is.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to where a first request may go."""

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


def fetch(item: Official) -> Iterator[Progress]:
    """Download a file, in MiB; a broken download goes on where it was, now or in the next call.

    The licence must have been agreed to (:func:`agree`). Raises :class:`DiffInfError` without a
    network, on a full disk, and for a file that is not the one expected.
    """
    if state_of(item) == "ok":
        yield Progress(item.name, 1, 1, "here already")
        return
    if not agreed(item):
        raise DiffInfError(f"{item.name} is under: {item.licence}. Agree to it first (--agree).")
    if item.url is None:
        raise DiffInfError(
            f"{item.name} has no plain link. Fetch it by hand from {item.page}, then run "
            "'diffinf weights import FOLDER'."
        )
    part = _part(item)
    part.parent.mkdir(parents=True, exist_ok=True)
    if item.sha256 is None:
        # Without a sum nobody would see that a new version was put behind the start of an old one.
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
                    f"{item.url} cannot be fetched: the server says {code}."
                ) from error
            if code == 416:  # what is here is no beginning of that file
                part.unlink(missing_ok=True)
            if attempt + 1 == _TRIES and not gained:
                kept = "; what was fetched is kept" if item.sha256 else ""
                raise DiffInfError(
                    f"{item.name} cannot be fetched ({getattr(error, 'reason', error)}). Without a "
                    f"network, get {item.url} elsewhere and run 'diffinf weights import FOLDER'{kept}."
                ) from error
            time.sleep(0.5 * 2**attempt)
    else:
        raise DiffInfError(f"{item.name} keeps breaking off; what was fetched is kept, try again.")
    yield from _place(part, item)


def _download(item: Official, part: Path) -> Iterator[Progress]:
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
            start = 0  # the server begins again, and so do we
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


def candidates(folder: Path) -> list[tuple[Official, Path]]:
    """Files under a folder that are, by path, name or size, one of :data:`OFFICIAL`.

    A published autoencoder is known by the folder it lies in, as its authors give it out.
    """
    if not folder.is_dir():
        raise DiffInfError(f"The folder {folder} does not exist.")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".partial")
    found = []
    for item in OFFICIAL.values():
        tail = Path(item.file)
        for path in files:
            by_path = path.parts[-len(tail.parts) :] == tail.parts
            by_folder = folder.resolve().name == tail.parent.name and path.name == tail.name
            by_size = item.sha256 is not None and path.stat().st_size == item.size
            if by_path or by_folder or by_size:
                found.append((item, path))
                break
    return found


def take_in(item: Official, source: Path) -> Iterator[Progress]:
    """Copy a file that somebody brought to its place, checked."""
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
