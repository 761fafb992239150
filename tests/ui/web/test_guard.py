"""The guard alone, around a small app: what goes through, what is refused, and what the log says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffinf_core.records import DiffInfError
from diffinf_core.ui.web import guard as module
from diffinf_core.ui.web.calls import InvalidCall
from diffinf_core.ui.web.guard import MAX_BODY, USER, Guard, Hosts, host_name
from diffinf_core.ui.web.refusals import plain, policy_hash


def alone(work: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread: in this one, the browser of other tests keeps a loop running."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


@dataclass
class Answer:
    """What came back, and what the app behind the guard saw."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seen: list[Any] = field(default_factory=list)


class Small:
    """An app that takes a body and answers with what the test wants."""

    def __init__(self, status: int = 200, body: bytes = b"fine", **headers: str) -> None:
        self.status, self.body, self.headers = status, body, headers
        self.seen: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            self.seen.append("lifespan")
            return
        taken = await receive() if scope["method"] == "POST" else None
        self.seen.append((scope["path"], taken and taken["body"], scope.get(USER)))
        headers = [(k.replace("_", "-").encode(), v.encode()) for k, v in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class OneUser:
    """A log-in that knows one cookie."""

    def user(self, request: Any) -> str | None:
        return "ann" if request.cookies.get("diffinf-7860") == "token" else None


def ask(
    path: str = "/",
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: Iterable[bytes] = (b"",),
    app: Any = None,
    hosts: Hosts | None = None,
    login: Any = None,
    check: Any = None,
    server: str = "127.0.0.1",
    head: str = "",
) -> Answer:
    """Send one request through a guard."""
    app = app or Small()
    answer = Answer(seen=getattr(app, "seen", []))
    given = {"host": f"{server}:7860"} | (headers or {})
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "scheme": "http",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items() if v is not None],
        "client": ("10.0.0.9", 5), "server": (server, 7860),
    }  # fmt: skip
    parts = iter(body)
    waiting = [next(parts, b"")]

    async def receive() -> Any:
        chunk = waiting.pop()
        following = next(parts, None)
        if following is not None:
            waiting.append(following)
        return {"type": "http.request", "body": chunk, "more_body": following is not None}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message["body"]

    behind = Guard(app, hosts or Hosts("127.0.0.1"), login, check or (lambda *_: None), head)
    alone(behind(scope, receive, send))
    return answer


@pytest.fixture
def refused(caplog: pytest.LogCaptureFixture):
    """Check that a request was refused, never reached the app, and left one clean line."""

    def look(answer: Answer, status: int, reason: str) -> Answer:
        assert (answer.status, answer.seen) == (status, [])
        (record,) = [r for r in caplog.records if r.name == "diffinf.guard"]
        line = record.getMessage()
        assert reason in line and line.isprintable() and line.startswith("refused 10.0.0.9 ")
        assert 0 < len(answer.body) < 300 and answer.headers["x-frame-options"] == "DENY"
        caplog.clear()
        return answer

    return look


# ---------------------------------------------------------------- host


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:7860", "localhost", "LOCALHOST:1", "localhost.", "[::1]:7860", "127.9.9.9",
     "review.example.org", "Review.Example.org:443", "192.168.1.5", "10.1.1.1:7860"],
)  # fmt: skip
def test_loopback_the_bound_host_its_own_address_and_an_allowed_name_are_served(host: str) -> None:
    hosts = Hosts("192.168.1.5", ["review.example.org"])
    assert ask(headers={"host": host}, hosts=hosts, server="10.1.1.1").status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:7860",
     "0.0.0.0", "192.168.1.6", "evil.example@127.0.0.1", "127.0.0.1/evil", "", " ", "a b", "[::1", "x:y",
     "127.0.0.1#", "127.0.0.1\\@evil"],
)  # fmt: skip
def test_a_foreign_or_broken_host_is_refused(host: str, refused) -> None:
    answer = ask(headers={"host": host})
    refused(answer, answer.status, "host" if answer.status == 403 else "Host header")
    assert answer.status in (400, 403) and b"evil" not in answer.body


def test_a_request_without_a_host_or_with_two_is_refused(refused) -> None:
    refused(ask(headers={"host": None}), 400, "Host header")
    app = Small()
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": b"", "client": ("10.0.0.9", 5),
        "headers": [(b"host", b"localhost"), (b"host", b"localhost")], "server": ("127.0.0.1", 7860),
    }  # fmt: skip
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    alone(Guard(app, Hosts("127.0.0.1"), None, lambda *_: None)(scope, send, send))
    assert sent[0]["status"] == 400 and not app.seen


@pytest.mark.parametrize(
    "name", ["", "http://a.example", "a.example:80", "a.example/x", "a b", "*@x"]
)
def test_what_is_no_host_cannot_be_allowed(name: str) -> None:
    with pytest.raises(DiffInfError, match="is not a host"):
        host_name(name)


# ---------------------------------------------------------------- origin


OWN = {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}


@pytest.mark.parametrize(
    "headers",
    [{}, OWN, {"origin": "http://127.0.0.1:7860"}, {"sec-fetch-site": "none"},
     {"origin": "https://review.example.org", "host": "review.example.org"},
     {"origin": "https://review.example.org", "host": "review.example.org:443"}],
)  # fmt: skip
def test_a_script_and_the_own_page_may_post(headers: dict[str, str]) -> None:
    hosts = Hosts("127.0.0.1", ["review.example.org"])
    assert ask("/gradio_api/cancel", "POST", headers, hosts=hosts).status == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""},
     {"origin": "http://127.0.0.1:9999"}, {"origin": "http://localhost:7860"},
     {"origin": "https://127.0.0.1:7860.evil.example"}, {"origin": "file://127.0.0.1:7860"},
     {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "x"},
     {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
     {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "cross-site"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/gradio_api/run/decide", "/login", "/logout"])
def test_another_site_may_not_post(path: str, headers: dict[str, str], refused) -> None:
    refused(ask(path, "POST", headers), 403, "another site")


def test_another_site_may_link_here_and_nothing_else(refused) -> None:
    link = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    assert ask("/", headers=link).status == 200
    refused(ask("/", headers=link | {"sec-fetch-dest": "iframe"}), 403, "another site")
    refused(ask("/logout", headers=link), 403, "another site")
    picture = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "no-cors",
        "sec-fetch-dest": "image",
    }
    refused(ask("/di/picture/original/0123456789ab/-.png", headers=picture), 403, "another site")


def test_no_answer_lets_another_origin_read_it() -> None:
    app = Small(
        access_control_allow_origin="http://localhost:9", access_control_allow_credentials="true"
    )
    assert not [n for n in ask(app=app).headers if n.startswith("access-control")]


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "method,path",
    [("GET", "/config"), ("HEAD", "/"), ("GET", "/assets/index.js"), ("GET", "/gradio_api/heartbeat/ab"),
     ("GET", "/gradio_api/queue/data?session_hash=ab"), ("POST", "/gradio_api/queue/join"),
     ("POST", "/gradio_api/run/decide"), ("GET", "/gradio_api/file=/tmp/gradio/a.png"),
     ("GET", "/theme.css"), ("GET", "/gradio_api/call/decide/0123"), ("POST", "/gradio_api/reset")],
)  # fmt: skip
def test_what_the_pages_need_is_there(method: str, path: str) -> None:
    assert ask(path, method).status == 200


@pytest.mark.parametrize(
    "method,path",
    [("POST", "/gradio_api/upload"), ("GET", "/gradio_api/upload_progress"), ("GET", "/monitoring"),
     ("GET", "/monitoring/summary"), ("GET", "/gradio_api/proxy=http://evil.example"),
     ("GET", "/gradio_api/file=http://169.254.169.254/latest"), ("GET", "/gradio_api/runs"),
     ("GET", "/gradio_api/deep_link"), ("GET", "/gradio_api/startup-events"), ("GET", "/gradio_api/token"),
     ("POST", "/gradio_api/process_recording"), ("POST", "/gradio_api/call/v2/decide"),
     ("GET", "/gradio_api/custom_component/a/client/component/index.js"), ("POST", "/"),
     ("GET", "/gradio_api/stream/a/b/1/playlist.m3u8"), ("GET", "/gradio_api/mcp"), ("PUT", "/config"),
     ("DELETE", "/"), ("OPTIONS", "/gradio_api/run/decide"), ("GET", "/etc/passwd"), ("TRACE", "/")],
)  # fmt: skip
def test_what_gradio_has_besides_stays_closed(method: str, path: str, refused) -> None:
    refused(ask(path, method), 404, "no such page")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../etc/passwd",
        "/di/..",
        "/gradio_api/file=/a/../b",
        "/di/\0",
        "/a\\b",
        "/di/\r\nx",
    ],
)
def test_a_path_that_goes_up_or_cannot_be_printed_is_refused(path: str, refused) -> None:
    refused(ask(path), 404, "path")


@given(st.text(max_size=400))
def test_a_line_of_the_log_is_printable_and_short(text: str) -> None:
    found = plain(text)
    assert found.isprintable() and len(found) <= 203


def test_the_log_holds_no_query_cookie_or_body(refused, caplog: pytest.LogCaptureFixture) -> None:
    headers = {"cookie": "diffinf-7860=hush1", "authorization": "hush2"}
    ask("/gradio_api/upload?token=hush3", "POST", headers, [b"hush4"])
    assert "hush" not in caplog.text and "/gradio_api/upload" in caplog.text


def test_web_sockets_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    app, sent = Small(), []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/x", "headers": [], "client": ("10.0.0.9", 5)}
    alone(Guard(app, Hosts("127.0.0.1"), None, lambda *_: None)(scope, send, send))
    assert sent == [{"type": "websocket.close", "code": 1008}] and not app.seen
    assert "web sockets" in caplog.text


# ---------------------------------------------------------------- log-in


def test_nothing_but_the_log_in_is_there_before_it(refused) -> None:
    for path in ("/config", "/openapi.json", "/docs", "/gradio_api/info", "/di/picture/x", "/assets/a.js",
                 "/gradio_api/heartbeat/a", "/gradio_api/queue/data", "/gradio_api/app_id"):  # fmt: skip
        refused(ask(path, login=OneUser()), 401, "log in")
    for path in (
        "/gradio_api/run/decide",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/gradio_api/upload",
    ):
        refused(ask(path, "POST", login=OneUser()), 401, "log in")
    for path in ("/login", "/logout"):
        assert ask(path, login=OneUser()).status == 200


def test_a_browser_is_led_to_the_log_in_and_back() -> None:
    page = {"accept": "text/html,*/*"}
    assert ask("/", headers=page, login=OneUser()).headers["location"] == "/login"
    there = ask("/?sample=ab&x=//evil", headers=page, login=OneUser())
    assert (there.status, there.seen) == (303, [])
    assert there.headers["location"] == "/login?next=/%3Fsample%3Dab%26x%3D//evil"


def test_the_user_is_named_to_the_app() -> None:
    there = ask("/config", headers={"cookie": "diffinf-7860=token"}, login=OneUser())
    assert there.seen == [("/config", None, "ann")]
    assert ask("/config").seen == [("/config", None, None)]


# ---------------------------------------------------------------- bodies


def test_a_body_of_the_limit_goes_through_whole_in_one_piece() -> None:
    parts = [b"a" * 500_000] * 4
    there = ask("/gradio_api/cancel", "POST", body=parts)
    assert there.status == 200 and there.seen[0][1] == b"a" * MAX_BODY


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "1000000000", "-1", "x", "1e3", "\xb2"])
def test_a_length_that_is_too_long_or_none_is_refused_before_the_body_is_read(
    length: str, refused
) -> None:
    def never() -> Iterable[bytes]:
        yield b""
        raise AssertionError("the body was read")

    headers = {"content-length": length}
    answer = refused(ask("/gradio_api/run/x", "POST", headers, never()), 413, "bytes")
    assert answer.headers["connection"] == "close"


def test_a_body_without_a_length_is_read_up_to_the_limit_only(refused) -> None:
    taken = []

    def endless() -> Iterable[bytes]:
        while True:
            taken.append(1)
            yield b"a" * 100_000

    refused(ask("/gradio_api/run/x", "POST", body=endless()), 413, "bytes")
    assert len(taken) < MAX_BODY / 100_000 + 4


def test_a_body_that_never_ends_and_a_client_that_leaves_are_refused(
    refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BODY_TIME", 0.05)
    guard = Guard(Small(), Hosts("127.0.0.1"), None, lambda *_: None)
    scope = {
        "type": "http", "method": "POST", "path": "/gradio_api/run/x", "query_string": b"",
        "headers": [(b"host", b"localhost")], "client": ("10.0.0.9", 5), "server": ("127.0.0.1", 1),
    }  # fmt: skip

    def once(receive: Any) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        alone(guard(scope, receive, send))
        return sent[0]["status"]

    async def never() -> Any:
        await asyncio.sleep(60)

    async def leaves() -> Any:
        return {"type": "http.disconnect"}

    assert once(never) == 408 and once(leaves) == 400


# ---------------------------------------------------------------- answers


def test_every_answer_has_the_headers_and_only_the_own_scripts_may_run() -> None:
    own = "console.log(1)"
    page = b"<html><script>a</script><script src=x></script><p>&lt;script&gt;</p></html>"
    app = Small(body=page, content_type="text/html")
    there = ask(app=app, head=f"<script>{own}</script>", headers={"accept-encoding": "br"})
    policy = dict(
        part.split(" ", 1) for part in there.headers["content-security-policy"].split("; ")
    )
    nonce = policy["script-src"].split("'nonce-")[1].split("'")[0]
    assert there.body.decode().count(f'<script nonce="{nonce}"') == 2 == there.body.count(b"nonce")
    assert there.headers["content-length"] == str(len(there.body))
    assert (
        f"'{policy_hash(own)}'" in policy["script-src"]
        and "unsafe-inline" not in policy["script-src"]
    )
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert there.headers["referrer-policy"] == "same-origin"
    assert there.headers["x-content-type-options"] == "nosniff"
    assert there.headers["cache-control"] == "no-store"
    again = ask(app=app).headers["content-security-policy"]
    assert nonce not in again


def test_the_policys_hash_is_the_one_of_the_standard() -> None:
    # the example of the CSP specification
    assert policy_hash("doSomething();") == "sha256-RFWPLDbv2BY+rCkDzsE+0fr8ylGr2R2faWMhq4lfEQc="


def test_an_answers_own_caching_and_policy_stay() -> None:
    app = Small(cache_control="private, max-age=9", content_security_policy="default-src 'none'")
    there = ask("/config", app=app)
    assert there.headers["cache-control"] == "private, max-age=9"
    assert there.headers["content-security-policy"] == "default-src 'none'"
    assert "cache-control" not in ask("/assets/a.js").headers


def test_a_failure_is_a_sentence_for_the_page_and_a_trace_for_the_terminal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("hush")

    there = ask("/config", app=broken)
    assert there.status == 500 and b"hush" not in there.body and b"terminal" in there.body
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and record.exc_info


@pytest.mark.parametrize(
    "body,status",
    [
        (b'{"error":"Choose a class."}', 422),
        (b'{"error":null}', 500),
        (b"\x8b\x01\x80compressed", 422),
    ],
)
def test_an_error_of_a_call_is_the_callers_or_ours(body: bytes, status: int) -> None:
    there = ask("/gradio_api/run/decide", "POST", app=Small(500, body))
    assert there.status == status and there.headers["content-length"] == str(len(there.body))
    assert there.body == body or b"terminal" in there.body


def test_the_lifespan_passes() -> None:
    app = Small()
    alone(Guard(app, Hosts("a"), None, lambda *_: None)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert app.seen == ["lifespan"]


def test_an_invalid_call_is_refused_by_the_guard(refused) -> None:
    def check(path: str, body: bytes) -> None:
        assert (path, body) == ("/gradio_api/run/work", b'{"data": [1]}')
        raise InvalidCall("5 arguments are needed, not 1")

    refused(
        ask("/gradio_api/run/work", "POST", body=[b'{"data":', b" [1]}"], check=check), 422, "not 1"
    )
