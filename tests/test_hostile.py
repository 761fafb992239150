"""Hostile input from end to end: each ends in a refusal with a line in the log, or in one sentence."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffinf_core.config import DataConfig, make_config
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError
from diffinf_core.runs.inventory import FILES, inventory
from diffinf_core.ui.app import serve
from diffinf_core.ui.web.server import Server
from tests.checked import problems_of

PASSWORD = "a good password"
HTML = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
SQL = "x'; DROP TABLE journal; --"


def hostile_names(run: Path) -> None:
    """Give a finished run classes and file names that are HTML, as its data set could have had."""
    data = next((run / "stages").glob("data-*"))
    names = {name: HTML + name for name in json.loads((data / "classes.json").read_text())}
    for file in (data / "samples.csv", data / "truth" / "truth.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False).replace(names)
        if "file" in table:
            table["file"] = [f"{HTML}{name}" for name in table["file"]]
        table.to_csv(file, index=False)
    for file in (data / "classes.json", *run.glob("edits/*/*/edit.json")):
        text = file.read_text()
        for name, hostile in names.items():
            text = text.replace(json.dumps(name), json.dumps(hostile))
        file.write_text(text)
    mark = json.loads((data / "done.json").read_text())  # as if it had been written so
    (data / "done.json").write_text(json.dumps({**mark, FILES: inventory(data)}))


@pytest.fixture(scope="module")
def server(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app with a log-in, on a run whose labels and file names are HTML."""
    root = tmp_path_factory.mktemp("hostile")
    run = root / "run"
    shutil.copytree(finished_run, run)
    hostile_names(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # nothing may be written where the process happens to stand
        patch.setenv("DIFFINF_LOGIN", f"ann:{PASSWORD}")
        made = serve(run, 0, block=False)
        made.run_folder = run  # type: ignore[attr-defined]
        yield made
        made.close()


@pytest.fixture(scope="module")
def ann(server: Server) -> Iterator[httpx.Client]:
    """A client of somebody who is logged in."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        login = client.post("/login", data={"username": "ann", "password": PASSWORD})
        assert login.status_code == 200
        yield client


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The guard's lines of this test."""

    class Lines(list):  # read when it is looked at: the server logs in threads of its own
        def __contains__(self, words: object) -> bool:
            said = [r.getMessage() for r in caplog.records if r.name == "diffinf.guard"]
            assert all(line.isprintable() for line in said)
            return any(str(words) in line for line in said)

    caplog.set_level(logging.INFO)
    return Lines()


def folder(root: Path, table: str) -> DataConfig:
    """A data set of two good pictures with this table."""
    root.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(root / name)
    (root / "labels.csv").write_text(table)
    return DataConfig(source="folder", path=root)


def refusal(config: DataConfig) -> str:
    """What a person is told who makes a run of the data set."""
    target = config.path.parent / "run"  # type: ignore[union-attr]
    over = {"data": config.model_dump(mode="json"), "noise": {"rate": 0.0}}
    with pytest.raises(DiffInfError) as caught:
        for _ in open_run(target, make_config("demo", over)).compute("data"):
            pass
    text = str(caught.value)
    assert text.isprintable() and len(text) < 600, "one clean sentence"
    return text


# ---------------------------------------------------------------- 1 path traversal


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a.png/../../secret.png"])
def test_a_table_cannot_name_a_file_outside(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "secret.png")
    config = folder(tmp_path / "data", f"file,label\na.png,x\nb.png,y\n{name},x\n")
    assert "row 4" in refusal(config) and not (tmp_path / "run").exists()
    assert any(
        "outside the data folder" in str(p) or "no such" in str(p) for p in problems_of(config)[1]
    )


@pytest.mark.parametrize(
    "path",
    ["/di/picture/edit/../../../config.yaml", "/../../etc/passwd", "/gradio_api/file=../../etc/passwd",
     "/assets/../../../../etc/passwd", "/di/%2e%2e/%2e%2e/etc/passwd", "/static/..%2f..%2f..%2fetc%2fpasswd",
     "/di/picture/edit/0123456789ab/..%2f..%2f..%2fconfig.yaml", "/gradio_api/file=/etc/passwd"],
)  # fmt: skip
def test_an_address_cannot_name_a_file(server: Server, ann: httpx.Client, path: str, lines) -> None:
    token = "; ".join(f"{k}={v}" for k, v in ann.cookies.items())
    with socket.create_connection(
        ("127.0.0.1", server.port)
    ) as raw:  # a client that does not tidy up
        raw.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\nCookie: {token}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    status = int(answer.split()[1])
    assert status in (400, 403, 404) and b"root:" not in answer and b"estimator:" not in answer
    assert "refused 127.0.0.1" in lines or status in (403, 404)


# ---------------------------------------------------------------- 2 links out


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("file,label\nhush,hush\n")
    Image.new("RGB", (40, 40)).save(tmp_path / "secret.png")
    config = folder(tmp_path / "data", "file,label\na.png,x\nb.png,y\nlink.png,x\n")
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    assert "link.png: lies outside the data folder" in refusal(config)
    (tmp_path / "data" / "labels.csv").unlink()
    (tmp_path / "data" / "labels.csv").symlink_to(tmp_path / "secret.csv")
    said = refusal(config)
    assert "lies outside the data folder" in said and "hush" not in said


# ---------------------------------------------------------------- 3 HTML in labels and names


def texts(value: Any) -> Iterator[str]:
    """Every text in an answer, and the name of the component's kind where it is known."""
    if isinstance(value, str):
        yield value
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from texts(part)


def test_html_of_the_data_is_shown_as_text(server: Any, ann: httpx.Client) -> None:
    config = ann.get("/config").json()
    kinds = {c["id"]: c["type"] for c in config["components"]}
    shown = 0
    for call in config["dependencies"]:
        if call["queue"] or any(kinds[i] != "state" for i in call["inputs"]) or not call["targets"]:
            continue
        if not any(event == "load" for _, event in call["targets"]):
            continue
        data = {"data": [None] * len(call["inputs"]), "fn_index": call["id"], "session_hash": "ab"}
        answer = ann.post("/gradio_api/run/predict", json=data)
        assert answer.status_code == 200
        for place, value in zip(call["outputs"], answer.json()["data"], strict=True):
            if kinds[place] in ("html", "markdown"):
                shown += any("&lt;img src=x" in text for text in texts(value))
                assert not any(
                    "<img src=x" in text or "<script>alert" in text for text in texts(value)
                )
    assert shown, "no page showed a label, so nothing was tried"
    page = ann.get("/").text
    assert "<script>alert(2)" not in page and "<img src=x" not in page


# ---------------------------------------------------------------- 4, 7 SQL and wrong types


GARBAGE: list[Any] = [
    None, True, -1, 10**30, 1e308, "", SQL, HTML, "../../etc/passwd", "\x00\x1b[2J", "\u202e" * 50,
    "a" * 40_000, "a" * 100_000, [], [[]], {}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"__type__": "update", "value": 1}, [None] * 50,
]  # fmt: skip


def test_garbage_to_every_function_is_answered_and_the_server_lives(
    server: Any, ann: httpx.Client, lines
) -> None:
    engine = open_run(server.run_folder)
    sample = str(engine.queue["id"].iloc[0])
    engine.review.decide(sample, "keep", "eve")
    calls = ann.get("/config").json()["dependencies"]
    assert len(calls) > 20
    statuses: set[int] = set()
    for call in calls:
        path = f"/gradio_api/run/{call['api_name'] or 'predict'}"
        bodies: list[Any] = [None, [], "x", {"data": "x"}, {"data": None}, {"data": [0] * 99}]
        if call["inputs"]:  # one without is a button that starts something
            bodies += [{"data": [value] * len(call["inputs"])} for value in GARBAGE]
        for body in bodies:
            if isinstance(body, dict):
                body |= {"fn_index": call["id"], "session_hash": "cd"}
            answer = ann.post(path, json=body)
            statuses.add(answer.status_code)
            if answer.status_code == 500:
                assert answer.json()["error"] == "This failed; the terminal shows why."
            assert len(answer.content) < 2_000_000
            assert b"Traceback" not in answer.content and b'File "' not in answer.content, path
    assert statuses <= {200, 404, 413, 422, 500} and {404, 422} <= statuses
    assert "must be text" in lines and "arguments are needed" in lines
    for raw in (b"", b"{", b"\x80", b"[" * 500_000, b'{"data": NaN}'):
        answer = ann.post("/gradio_api/run/predict", content=raw)
        assert answer.status_code == 422, raw[:9]
    assert ann.get("/").status_code == 200
    assert engine.review.decisions()[sample].action == "keep", "the journal stands"


@pytest.mark.parametrize("field", ["sample", "action", "version", "new_label"])
def test_sql_in_a_decision_is_refused_in_a_sentence(server: Any, field: str) -> None:
    engine = open_run(server.run_folder)
    given = {"sample": str(engine.queue["id"].iloc[1]), "action": "relabel"}
    given["new_label"] = engine.training.classes[0]
    if field == "version":
        given["action"] = "accept"
    before = engine.review.decisions()
    with pytest.raises(DiffInfError):
        engine.review.decide(**{**given, "reviewer": SQL, field: SQL})
    engine.review.decide(given["sample"], "keep", SQL, comment=SQL)
    assert engine.review.decisions()[given["sample"]].comment == SQL
    assert engine.review.undo(SQL) == [given["sample"]] and engine.review.decisions() == before


# ---------------------------------------------------------------- 5 a body of a gigabyte


def test_a_body_of_a_gigabyte_is_refused_while_it_comes(
    server: Server, ann: httpx.Client, lines
) -> None:
    token = "; ".join(f"{k}={v}" for k, v in ann.cookies.items())
    head = f"POST /gradio_api/run/predict HTTP/1.1\r\nHost: localhost\r\nCookie: {token}\r\n"
    piece = b'{"data":["' + b"a" * 1_000_000
    for framing in ("Content-Length: 1000000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"):
        sent = 0
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall((head + framing).encode())
            while sent < 1_000_000_000:
                size = b"%x\r\n%s\r\n" % (len(piece), piece) if "chunked" in framing else piece
                try:
                    raw.sendall(size)
                except OSError:  # the server hung up
                    break
                sent += len(piece)
            assert raw.recv(100).startswith(b"HTTP/1.1 413")
        assert sent < 50_000_000, "the server went on reading"
    assert "at most 2000000 bytes" in lines
    assert ann.get("/").status_code == 200


# ---------------------------------------------------------------- 6 a picture that unpacks to gigabytes


def bomb(file: Path, side: int) -> None:
    """A PNG of side x side black pixels, a thousand times smaller than its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    row = b"\0" * (side // 8 + 1)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_a_bomb_of_a_picture_is_named_and_not_unpacked(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(100)]
    rows = "".join(f"{name},{'xy'[i % 2]}\n" for i, name in enumerate(names))
    config = folder(tmp_path / "data", "file,label\n" + rows)
    for name in names:
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "data" / name)
    bomb(tmp_path / "data" / "7.png", 60_000)
    assert (tmp_path / "data" / "7.png").stat().st_size < 1_000_000
    said = refusal(config)
    assert str(tmp_path / "data" / "7.png") in said and "pixels" in said
    done = subprocess.run(
        [sys.executable, "-m", "diffinf_core.cli", "check", str(tmp_path / "data")],
        capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 2 and "bad: 7.png: too large" in done.stdout
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- 8 guessing


def test_guessing_a_password_is_slowed(server: Server, lines) -> None:
    answers = [
        httpx.post(
            server.url + "login", data={"username": "ann", "password": f"guess {i}"}, timeout=60
        )
        for i in range(8)
    ]
    assert [a.status_code for a in answers] == [401] * 5 + [429] * 3
    assert 0 < int(answers[-1].headers["retry-after"]) <= 300
    assert "log-in failed, name 'ann'" in lines and "log-in slowed" in lines
    assert "guess" not in lines
    other = httpx.post(server.url + "login", data={"username": "hush", "password": "x"})
    assert other.status_code == 429, "another name from the same address is no way around it"
    assert "hush" not in lines


# ---------------------------------------------------------------- 9, 10 another site, another name


def test_another_site_cannot_act_for_who_is_logged_in(
    server: Any, ann: httpx.Client, lines
) -> None:
    body = {"data": [], "fn_index": 0}
    before = open_run(server.run_folder).review.decisions()
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        for path in ("/gradio_api/run/predict", "/gradio_api/queue/join", "/login", "/logout"):
            assert ann.post(path, json=body, headers=headers).status_code == 403
    assert "POST /gradio_api/run/predict: the request comes from another site" in lines
    assert open_run(server.run_folder).review.decisions() == before
    assert ann.get("/config").status_code == 200, "still logged in"


def test_a_foreign_name_for_this_machine_is_refused(ann: httpx.Client, lines) -> None:
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example"):
        for path in ("/", "/config", "/login"):
            answer = ann.get(path, headers={"Host": host})
            assert answer.status_code == 403 and "evil" not in answer.text
    assert "this host name is not served here" in lines
