"""The server over real HTTP: log-in, closed doors, a clean start and a clean end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError
from diffinf_core.ui.app import serve
from diffinf_core.ui.web.accounts import Accounts
from diffinf_core.ui.web.guard import Hosts
from diffinf_core.ui.web.server import Server, certificate, listen, make_app

ROOT = Path(__file__).parents[3]
PASSWORD = "a good password"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No user from outside."""
    for name in ("DIFFINF_LOGIN", "DIFFINF_USERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def app(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The whole app on a copy of a finished run."""
    run = tmp_path_factory.mktemp("served") / "run"
    shutil.copytree(finished_run, run)
    server = serve(run, 0, block=False, token=False)
    server.opened = open_run(run)  # type: ignore[attr-defined]
    yield server
    server.close()


@pytest.fixture(scope="module")
def small(finished_run: Path) -> Iterator[Server]:
    """A page with one function that says who calls it, behind a log-in of two users."""

    def who(text: str, request: gr.Request) -> str:
        return f"{request.username}: {text}"

    with gr.Blocks() as blocks:
        box = gr.Textbox(elem_id="said")
        box.submit(who, box, box, api_name="who")
    blocks.queue()
    engine = open_run(finished_run)
    accounts = Accounts({"ann": PASSWORD, "bob": PASSWORD})
    made = make_app(blocks, lambda: engine, Hosts("127.0.0.1"), accounts)
    server = Server(made, blocks, listen("127.0.0.1", 0), trusted_proxies=["127.0.0.1"])
    server.start()
    server.opened = engine  # type: ignore[attr-defined]
    yield server
    server.close()


@pytest.fixture
def ask(app: Server) -> Iterator[httpx.Client]:
    """A client of the whole app."""
    with httpx.Client(base_url=app.url) as client:
        yield client


# ---------------------------------------------------------------- who may enter


def test_on_loopback_without_a_log_in_only_the_printed_address_opens_the_app(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(run_copy, 0, block=False)
    try:
        printed = re.search(r"http://\S+", capsys.readouterr().out)
        assert printed is not None and "?token=" in printed[0]
        token = printed[0].rpartition("=")[2]
        data = {"data": ["x", "keep", "", "", ""]}
        for path in (
            "",
            "config",
            "?token=",
            "?token=wrong",
            "di/thumb/x",
            "login",
            "gradio_api/info",
        ):
            with httpx.Client(base_url=server.url) as other:
                found = other.get(path)
                assert found.status_code == 401 and "token" in found.text, path
                assert not other.cookies
                assert other.post("gradio_api/run/decide", json=data).status_code == 401
                assert other.post(f"?token={token}", json=data).status_code == 401
        with httpx.Client() as mine:
            found = mine.get(printed[0] + "&sample=a%2F%2Fb")
            assert found.status_code == 303 and found.headers["location"] == "/?sample=a%2F%2Fb"
            assert "HttpOnly" in found.headers["set-cookie"]
            assert "SameSite=strict" in found.headers["set-cookie"]
            assert token not in found.headers["set-cookie"], "what is in no address any more"
            assert mine.get(server.url).status_code == 200
            assert mine.get(server.url + "config").status_code == 200
            away = mine.get(f"{server.url}/evil.example/?token={token}")
            assert not away.headers.get("location", "").startswith("//")
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(server.url + "config", headers=headers).status_code == 200
        from gradio_client import Client

        client = Client(server.url, headers=headers, verbose=False, analytics_enabled=False)
        assert client.predict(api_name="/status")
    finally:
        server.close()


def test_with_a_log_in_there_is_no_token(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIFFINF_LOGIN", f"ann:{PASSWORD}")
    server = serve(run_copy, 0, block=False)
    server.close()
    assert "token" not in capsys.readouterr().out


# ---------------------------------------------------------------- closed doors


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/file={run}/review/journal.sqlite",
     "/gradio_api/file={run}/config.yaml", "/gradio_api/file=diffinf_core/cli/app.py", "/file=/etc/passwd",
     "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd", "/gradio_api/file=http://169.254.169.254/x",
     "/static/..%2f..%2froutes.py", "/assets/%2e%2e/%2e%2e/routes.py", "/svelte/..%2f..%2f..%2froutes.py",
     "/docs", "/redoc", "/monitoring", "/monitoring/summary", "/gradio_api/runs", "/gradio_api/token"],
)  # fmt: skip
def test_no_file_and_no_side_door_is_open(app: Any, ask: httpx.Client, path: str) -> None:
    found = ask.get(path.format(run=app.opened.folder.root))
    assert found.status_code in (400, 403, 404), path
    assert b"root:" not in found.content and b"import" not in found.content


def test_the_page_says_nothing_of_sharing_history_or_monitoring(ask: httpx.Client) -> None:
    config = ask.get("/config").json()
    assert not config.get("footer_links") and not config.get("run_history")
    assert not config.get("is_space") and not config.get("share_url")
    assert ask.post("/gradio_api/upload", files={"files": b"x"}).status_code == 404


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path, run_copy: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DiffInfError, match=f"Port {port} on 127.0.0.1 cannot be used"):
            serve(run_copy, port, block=False)
    with pytest.raises(DiffInfError, match="cannot be used"):
        listen("no.such.host.invalid", 0)


def test_only_loopback_without_a_log_in_and_a_warning_over_plain_http(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DiffInfError, match="without a log-in"):
        serve(run_copy, 0, host="0.0.0.0", block=False)
    with pytest.raises(DiffInfError, match=r"--allow-host.*through a proxy"):
        serve(run_copy, 0, block=False, allow_hosts=["review.example.org"])
    monkeypatch.setenv("DIFFINF_LOGIN", f"ann:{PASSWORD}")
    server = serve(run_copy, 0, host="0.0.0.0", block=False)
    try:
        assert "passwords and pictures readable" in capsys.readouterr().err
        assert httpx.get(server.url + "config").status_code == 401
    finally:
        server.close()


def test_a_closed_server_frees_its_port(small: Server, finished_run: Path) -> None:
    with gr.Blocks() as blocks:
        gr.Textbox()
    engine = open_run(finished_run)
    server = Server(
        make_app(blocks, lambda: engine, Hosts("127.0.0.1")), blocks, listen("localhost", 0)
    )
    server.start()
    assert httpx.get(server.url).status_code == 200
    server.close()
    listen("127.0.0.1", server.port).close()


def test_ctrl_c_ends_it_cleanly_though_a_page_is_open(run_copy: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "app.py", "--run", str(run_copy), "--port", str(port), "--no-token"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    begun = process.stdout.readline()  # said once it listens
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"GET /gradio_api/heartbeat/ab HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(1000).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in out and "rror" not in out
    assert begun.startswith("DiffInf on http://127.0.0.1:")


# ---------------------------------------------------------------- log-in


def test_gradios_own_client_logs_in_and_the_function_knows_who(small: Server) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AuthenticationError

    client = Client(small.url, auth=("ann", PASSWORD), verbose=False, analytics_enabled=False)
    try:
        assert client.predict("hello", api_name="/who") == "ann: hello"
    finally:
        client.close()
    with pytest.raises(AuthenticationError):
        Client(small.url, auth=("ann", "wrong"), verbose=False, analytics_enabled=False)
    with pytest.raises(AuthenticationError):
        Client(small.url, verbose=False, analytics_enabled=False)


@contextmanager
def entered(server: Server) -> Iterator[httpx.Client]:
    """A browser's client after a log-in by form."""
    with httpx.Client(base_url=server.url, headers={"Accept": "text/html"}) as client:
        form = {"username": "bob", "password": PASSWORD, "next": "/?a=1"}
        answer = client.post("/login", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/?a=1")
        yield client


def test_the_cookie_is_for_this_site_and_for_http_only(small: Server) -> None:
    answer = httpx.post(small.url + "login", data={"username": "ann", "password": PASSWORD})
    assert answer.json() == {"success": True}
    parts = [part.strip().lower() for part in answer.headers["set-cookie"].split(";")]
    assert {"httponly", "samesite=strict", "path=/"} <= set(parts) and "secure" not in parts
    assert parts[0].startswith(f"diffinf-{small.port}=") and "ann" not in parts[0]
    behind = httpx.post(
        small.url + "login",
        data={"username": "ann", "password": PASSWORD},
        headers={"X-Forwarded-Proto": "https"},
    )
    assert "; secure" in behind.headers["set-cookie"].lower()


def test_log_in_stay_and_log_out(small: Server) -> None:
    with entered(small) as client:
        assert client.get("/gradio_api/user").json() == "bob"
        data = {"data": ["hello"]}
        assert client.post("/gradio_api/run/who", json=data).json()["data"] == ["bob: hello"]
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/login").headers["location"] == "/"
        token = dict(client.cookies)
        assert client.post("/logout").headers["location"] == "/login"
        assert client.get("/").headers["location"] == "/login"
        again = client.get("/gradio_api/user", cookies=token, headers={"Accept": "*/*"})
        assert again.status_code == 401, "the token must be worth nothing after the log-out"


def test_without_a_log_in_there_is_the_log_in_page_and_nothing_else(small: Any) -> None:
    sample = str(small.opened.queue["id"].iloc[0])
    version = small.opened.pictures.versions(sample)[0]
    picture = f"/di/picture/edit/{sample}/{version}.png"
    with httpx.Client(base_url=small.url) as client:
        for path in (
            "/config",
            "/openapi.json",
            "/gradio_api/info",
            picture,
            "/di/thumb/x",
            "/theme.css",
        ):
            assert client.get(path).status_code == 401, path
        for path in ("run/who", "queue/join", "cancel", "reset", "upload"):
            assert client.post(f"/gradio_api/{path}", json={"data": ["x"]}).status_code == 401, path
        page = client.get("/", headers={"Accept": "text/html"}, follow_redirects=True)
    assert page.status_code == 200 and 'action="login"' in page.text
    assert "http" not in page.text and "src=" not in page.text and "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    with entered(small) as client:
        assert client.get(picture).status_code == 200


def test_a_wrong_log_in_is_said_in_the_page_and_echoes_nothing_raw(small: Server) -> None:
    page = httpx.post(
        small.url + "login",
        data={
            "username": '"><script>alert(1)</script>',
            "password": "hush",
            "next": "//evil.example",
        },
        headers={"Accept": "text/html"},
    )
    assert page.status_code == 401 and "set-cookie" not in page.headers
    assert '<p class="bad" role="alert" id="error">Name or password is wrong.</p>' in page.text
    assert "<script" not in page.text and "hush" not in page.text and "evil" not in page.text


def test_secure_over_https_and_files_that_do_not_fit_are_named(tmp_path: Path, small: Any) -> None:
    openssl = shutil.which("openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for given, said in [
        ((cert, None), "both"),
        ((None, key), "both"),
        ((cert, key), "cannot be used"),
    ]:
        with pytest.raises(DiffInfError, match=said):
            certificate(*given)
    assert certificate(None, None) == {}
    cert.write_text("no certificate")
    key.write_text("no key")
    with pytest.raises(DiffInfError, match=r"cert\.pem"):
        certificate(cert, key)
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert), "-days", "2"],
        check=True, capture_output=True,
    )  # fmt: skip
    with gr.Blocks() as blocks:
        gr.Textbox()
    made = make_app(blocks, lambda: small.opened, Hosts("127.0.0.1"), Accounts({"ann": PASSWORD}))
    server = Server(made, blocks, listen("127.0.0.1", 0), certificate(cert, key))
    server.start()
    try:
        trusted = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(base_url=server.url, verify=trusted) as client:
            answer = client.post("/login", data={"username": "ann", "password": PASSWORD})
            assert answer.status_code == 200 and "; secure" in answer.headers["set-cookie"].lower()
            assert client.get("/config").status_code == 200
    finally:
        server.close()


def test_many_guesses_at_once_gain_nothing(finished_run: Path) -> None:
    with gr.Blocks() as blocks:
        gr.Textbox()
    engine = open_run(finished_run)
    made = make_app(blocks, lambda: engine, Hosts("127.0.0.1"), Accounts({"ann": PASSWORD}))
    server = Server(made, blocks, listen("127.0.0.1", 0))
    server.start()
    found: list[httpx.Response] = []

    def guess(i: int) -> None:
        data = {"username": "ann", "password": f"guess number {i}"}
        found.append(httpx.post(server.url + "login", data=data, timeout=60))

    try:
        guesses = [threading.Thread(target=guess, args=(i,)) for i in range(12)]
        for thread in guesses:
            thread.start()
        for thread in guesses:
            thread.join()
        statuses = sorted(answer.status_code for answer in found)
        assert statuses == [401] * 5 + [429] * 7
        waits = [int(a.headers["retry-after"]) for a in found if a.status_code == 429]
        assert all(0 < wait <= 300 for wait in waits)
        right = httpx.post(server.url + "login", data={"username": "ann", "password": PASSWORD})
        assert right.status_code == 429
    finally:
        server.close()


# ---------------------------------------------------------------- a real browser


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_logs_in_by_keyboard_and_the_page_works_under_its_policy(
    chromium: Any, small: Server, scheme: str
) -> None:
    page = chromium.new_page(color_scheme=scheme, viewport={"width": 1024, "height": 700})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(small.url)
    assert page.url.endswith("/login")
    assert page.get_by_label("Name").evaluate("e => e === document.activeElement")
    page.keyboard.type("bob")
    page.keyboard.press("Tab")
    page.keyboard.type("a wrong password")
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "Name or password is wrong."
    assert page.get_by_label("Name").input_value() == "bob"
    assert page.get_by_label("Password").evaluate("e => e === document.activeElement")
    shots = ROOT / "test-output"
    shots.mkdir(exist_ok=True)
    page.screenshot(path=shots / f"login-{scheme}.png")
    colours = page.evaluate("[document.body, document.querySelector('main')].map("
                            "e => getComputedStyle(e).backgroundColor)")  # fmt: skip
    assert (colours[1] == "rgb(255, 255, 255)") == (scheme == "light")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    box = page.locator("#said textarea, #said input")
    box.wait_for(timeout=60_000)
    box.fill("hello")
    box.press("Enter")
    page.wait_for_function(
        "document.querySelector('#said textarea, #said input')?.value === 'bob: hello'"
    )
    assert not [line for line in said if "Content Security Policy" in line or ("rror" in line[:40]
                and "401" not in line)], said  # fmt: skip
    # What came in from data or a person cannot run, even where a page forgot to escape it.
    page.evaluate(
        """() => new Promise((failed) => {
          document.body.insertAdjacentHTML("beforeend", '<img src=x onerror="window.ran=1">');
          document.body.lastElementChild.addEventListener("error", failed);  // after its own handler
        })"""
    )
    assert page.evaluate("window.ran") is None
    page.goto(small.url + "logout")
    assert page.url.endswith("/login")
    page.close()
