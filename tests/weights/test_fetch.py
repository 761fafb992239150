"""Published weights: fetched with resume, verified, imported from a folder; a local server plays the web."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffinf_core.cli.app import app
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json
from diffinf_core.weights import download
from diffinf_core.weights import fetch as fetching
from diffinf_core.weights.pretrained import PRETRAINED, Pretrained

DATA = bytes(range(256)) * 20_000
SUM = hashlib.sha256(DATA).hexdigest()


@dataclass
class Web:
    """What the server does: breaks off after so many bytes, n times; what it was asked."""

    url: str = ""
    break_after: int | None = None
    breaks: int = 0
    ranges: bool = True
    status: int | None = None
    redirect: str | None = None
    nonsense: bool = False
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append(wanted)
            if state.nonsense:
                self.wfile.write(b"certainly not HTTP\r\n\r\n")
                return
            if state.redirect:
                self.send_response(302)
                self.send_header("Location", state.redirect)
                self.end_headers()
                return
            if state.status:
                self.send_error(state.status)
                return
            start = int(wanted[6:-1]) if wanted and state.ranges else 0
            body = DATA[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.breaks:
                state.breaks -= 1
                body = body[: state.break_after]
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/weights.pth"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def item(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretrained:
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(download.time, "sleep", lambda s: None)
    found = Pretrained(
        "net", "sub/weights.pth", "tests", "MIT", "http://x", web.url, len(DATA), SUM
    )
    monkeypatch.setitem(PRETRAINED, "net", found)
    return found


def drain(events: Iterator[object]) -> list[object]:
    return list(events)


def test_fetch_asks_for_the_licence_once(item: Pretrained) -> None:
    with pytest.raises(DiffInfError, match="Agree to it first"):
        drain(fetching.fetch(item))
    fetching.agree(item)
    events = drain(fetching.fetch(item))
    assert item.path.read_bytes() == DATA
    assert fetching.state_of(item) == "ok"
    assert events[-1].note == "ready"  # type: ignore[attr-defined]
    assert drain(fetching.fetch(item))[0].note == "already here"  # type: ignore[attr-defined]


def test_a_broken_download_goes_on_where_it_was(item: Pretrained, web: Web) -> None:
    fetching.agree(item)
    web.break_after, web.breaks = 2_000_000, 2
    drain(fetching.fetch(item))
    assert item.path.read_bytes() == DATA
    assert web.asked == ["", "bytes=2000000-", "bytes=4000000-"]


def test_a_killed_download_goes_on_in_the_next_call(item: Pretrained, web: Web) -> None:
    fetching.agree(item)
    for n, _ in enumerate(fetching.fetch(item)):
        if n == 2:
            break
    assert fetching.state_of(item) == "partial"
    drain(fetching.fetch(item))
    assert item.path.read_bytes() == DATA
    assert web.asked[1].startswith("bytes=") and web.asked[1] != "bytes=0-"


def test_a_server_without_ranges_begins_again(item: Pretrained, web: Web) -> None:
    fetching.agree(item)
    web.ranges, web.break_after, web.breaks = False, 1_000_000, 1
    drain(fetching.fetch(item))
    assert item.path.read_bytes() == DATA


def test_another_file_is_refused_and_leaves_nothing(
    item: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching.agree(item)
    with pytest.raises(DiffInfError, match="SHA-256"):
        drain(fetching.fetch(replace(item, sha256="0" * 64)))
    with pytest.raises(DiffInfError, match="bytes instead of"):
        drain(fetching.fetch(replace(item, size=len(DATA) - 7)))
    assert fetching.state_of(item) == "missing"


@pytest.mark.parametrize(("status", "reason"), [(404, "answers 404"), (503, "Without a network")])
def test_what_the_server_refuses_is_one_sentence(
    item: Pretrained, web: Web, status: int, reason: str
) -> None:
    fetching.agree(item)
    web.status = status
    with pytest.raises(DiffInfError, match=reason):
        drain(fetching.fetch(item))
    assert len(web.asked) == (1 if status == 404 else 4)


def test_only_https_is_fetched(item: Pretrained) -> None:
    fetching.agree(item)
    with pytest.raises(DiffInfError, match="only https"):
        drain(fetching.fetch(replace(item, url="http://example.org/x")))


def test_a_file_without_a_direct_link_names_its_page(item: Pretrained) -> None:
    fetching.agree(item)
    with pytest.raises(DiffInfError, match=r"Download it from http://x"):
        drain(fetching.fetch(replace(item, url=None)))


def test_a_redirect_leads_only_where_a_request_may_go(
    item: Pretrained, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching.agree(item)
    web.redirect = "http://127.0.0.2/evil"
    with pytest.raises(DiffInfError, match=r"evil is not fetched: only https"):
        drain(fetching.fetch(item))


def test_a_server_that_speaks_nonsense_is_one_sentence(item: Pretrained, web: Web) -> None:
    fetching.agree(item)
    web.nonsense = True
    with pytest.raises(DiffInfError, match="cannot be fetched"):
        drain(fetching.fetch(item))


def test_a_bad_first_file_does_not_keep_the_good_one_out(item: Pretrained, tmp_path: Path) -> None:
    unknown = replace(item, sha256=None, size=None, file="sub/last.ckpt")
    source = tmp_path / "brought.ckpt"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("x", DATA)
    whole = source.read_bytes()
    source.write_bytes(whole[:-100])
    with pytest.raises(DiffInfError, match="cut short or no weight file"):
        drain(fetching.import_file(unknown, source))
    source.write_bytes(whole)
    drain(fetching.import_file(unknown, source))
    with zipfile.ZipFile(source, "w") as archive:  # a new release
        archive.writestr("x", DATA[::-1])
    drain(fetching.import_file(unknown, source))
    assert unknown.path.read_bytes() == source.read_bytes()


def test_verify_sees_a_changed_file(item: Pretrained) -> None:
    fetching.agree(item)
    drain(fetching.fetch(item))
    changed = bytearray(DATA)
    changed[12345] ^= 1
    item.path.write_bytes(changed)
    assert fetching.state_of(item) == "unchecked"
    with pytest.raises(DiffInfError, match="damaged or another file"):
        drain(fetching.verify(item))
    item.path.write_bytes(DATA)
    drain(fetching.verify(item))
    assert fetching.state_of(item) == "ok"


def test_where_no_sum_is_known_the_first_one_counts(item: Pretrained, tmp_path: Path) -> None:
    unknown = replace(item, sha256=None, size=None)
    folder = tmp_path / "brought" / "sub"
    folder.mkdir(parents=True)
    (folder / "weights.pth").write_bytes(DATA)
    drain(fetching.import_file(unknown, folder / "weights.pth"))
    assert read_json(tmp_path / "weights" / "record.json")["checked"]["net"]["sha256"] == SUM
    item.path.write_bytes(DATA[::-1])
    with pytest.raises(DiffInfError, match="damaged or another file"):
        drain(fetching.verify(unknown))


@pytest.mark.parametrize("place", ["sub/weights.pth", "renamed.bin"])
def test_import_finds_files_by_place_and_by_size(
    item: Pretrained, tmp_path: Path, place: str
) -> None:
    brought = tmp_path / "brought" / place
    brought.parent.mkdir(parents=True)
    brought.write_bytes(DATA)
    (tmp_path / "brought" / "readme.txt").write_text("nothing")
    result = CliRunner().invoke(app, ["weights", "import", str(tmp_path / "brought")])
    assert result.exit_code == 0, result.output
    assert item.path.read_bytes() == DATA and fetching.state_of(item) == "ok"
    assert "net: " in result.output
    assert CliRunner().invoke(app, ["weights", "verify"]).stdout == "ok: net\n"


def test_a_damaged_import_leaves_nothing(item: Pretrained, tmp_path: Path) -> None:
    brought = tmp_path / "brought" / "sub" / "weights.pth"
    brought.parent.mkdir(parents=True)
    brought.write_bytes(DATA[:-1])
    result = CliRunner().invoke(app, ["weights", "import", str(tmp_path / "brought")])
    assert isinstance(result.exception, DiffInfError) and "net" in str(result.exception)
    assert "cut short" in result.output
    assert fetching.state_of(item) == "missing"


def test_list_and_refusals_of_the_command_line(item: Pretrained, tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["weights", "list"], env={"COLUMNS": "160"}).output
    assert "ffhq256_autoenc" in listed and "by hand from" in listed and "net" in listed
    refused = CliRunner().invoke(app, ["weights", "fetch", "net"])
    assert "was not fetched" in str(refused.exception)
    done = CliRunner().invoke(app, ["weights", "fetch", "net", "--agree"])
    assert done.exit_code == 0 and fetching.agreed(item)
    unknown = CliRunner().invoke(app, ["weights", "fetch", "nothing", "--agree"])
    assert "Unknown weights" in str(unknown.exception)
    empty = tmp_path / "empty"
    empty.mkdir()
    none = CliRunner().invoke(app, ["weights", "import", str(empty)])
    assert "holds no weights" in str(none.exception)
    item.path.write_bytes(b"short")
    bad = CliRunner().invoke(app, ["weights", "verify"])
    assert "bad: " in bad.output and "1 file(s) failed" in str(bad.exception)
