"""Slow, half-open and forged connections beside a person who wants in."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
import uvicorn

from diffinf_core.records import DiffInfError
from diffinf_core.ui.web.connections import Connections, allowed_connections
from diffinf_core.ui.web.server import private_folder, proxy_address
from tests.ui.web.loops import finished

HEAD = b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n"


class Bench:
    """uvicorn in this test's own loop, with a small application and small limits."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(128)
        self.port: int = self.socket.getsockname()[1]
        config = uvicorn.Config(
            _echo, http=connections.protocol, log_config=None, ws="none", lifespan="off"
        )  # type: ignore[arg-type]
        self.server = uvicorn.Server(config)
        self.server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]

    async def __aenter__(self) -> Bench:
        self.task = asyncio.create_task(self.server.serve(sockets=[self.socket]))
        while not self.server.started:
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.should_exit = True
        await self.task

    async def open(self, *data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection that has sent some bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for part in data:
            writer.write(part)
            await writer.drain()
        return reader, writer


async def _echo(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if message["type"] == "http.disconnect":
            return
    if scope["path"] == "/hold":
        await _release.wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


_release = asyncio.Event()


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """A fresh gate for requests to /hold."""
    global _release
    _release = asyncio.Event()
    yield


async def _closed(reader: asyncio.StreamReader) -> bytes:
    """What a connection still sends until the server closes it."""
    try:
        return await asyncio.wait_for(reader.read(), 30)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    "sent",
    [(), (b"GET / HT",), (b"GET / HTTP/1.1\r\nHost: a\r\n",), (HEAD, b"123")],
    ids=["nothing", "half a line", "no end of the head", "half a body"],
)
def test_a_request_that_never_arrives_is_given_up(sent: tuple[bytes, ...]) -> None:
    async def run() -> None:
        async with Bench(Connections(8, head_time=0.2, request_time=0.2)) as bench:
            reader, writer = await bench.open(*sent)
            assert await _closed(reader) == b""
            writer.close()
            assert len(bench.connections) == 0

    finished(run())


def test_bytes_that_trickle_in_do_not_buy_time() -> None:
    async def run() -> None:
        async with Bench(Connections(8, head_time=0.3)) as bench:
            reader, writer = await bench.open(b"GET / HTTP/1.1\r\n")
            ended = asyncio.create_task(_closed(reader))
            sent = 0
            while not ended.done() and sent < 10_000:
                try:
                    writer.write(b"A: b\r\n")
                    await writer.drain()
                except ConnectionError:
                    break
                sent += 1
                await asyncio.sleep(0.01)
            assert await ended == b"" and 0 < sent < 10_000

    finished(run())


def test_the_one_that_waited_longest_gives_way_and_whoever_asks_is_answered() -> None:
    async def run() -> None:
        async with Bench(Connections(8)) as bench:
            held = await bench.open(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            idle = [await bench.open() for _ in range(50)]
            assert len(bench.connections) <= 8
            reader, writer = await bench.open(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            # whose answer is under way never gives way
            _release.set()
            assert (await held[0].readline()).startswith(b"HTTP/1.1 200")
            assert await _closed(idle[0][0]) == b""
            for _, w in (*idle, held, (reader, writer)):
                w.close()

    finished(run())


class Caller:
    """A connection from an address, as far as the bounds see it."""

    def __init__(self, address: str) -> None:
        self.address, self.transport, self.open = address, self, True

    def abort(self) -> None:
        self.open = False


def test_one_address_takes_neither_all_connections_nor_those_of_others() -> None:
    connections = Connections(10, of_one=6)
    few = [Caller("ann"), Caller("bob")]
    many = [Caller("scanner") for _ in range(40)]
    for caller in (*few, *many):
        connections.opened(caller)  # type: ignore[arg-type]
        assert len(connections) <= 8
    assert all(c.open for c in few) and [c.open for c in many] == [False] * 34 + [True] * 6
    late = [Caller(f"reviewer {i}") for i in range(4)]
    for caller in late:
        connections.opened(caller)  # type: ignore[arg-type]
    assert len(connections) == 10 and all(c.open for c in (*few, *late))
    assert sum(c.open for c in many) == 4, "who has most gives way"
    for caller in (*few, *late, *many):
        connections.closed(caller)  # type: ignore[arg-type]
    assert len(connections) == 0 and not connections._by_address


def test_a_flood_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with Bench(Connections(4)) as bench:
            opened = [await bench.open() for _ in range(100)]
            for _, writer in opened:
                writer.close()

    with caplog.at_level(logging.WARNING):
        finished(run())
    assert len([r for r in caplog.records if "connection" in r.getMessage()]) == 1


def test_a_connection_that_is_kept_for_another_request_is_served_again() -> None:
    async def run() -> None:
        async with Bench(Connections(4)) as bench:
            reader, writer = await bench.open()
            for _ in range(3):
                writer.write(HEAD + b"0123456789")
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                # chunked: length, body, end
                assert b"0123456789" in await reader.readuntil(b"0\r\n\r\n")
            writer.close()

    finished(run())


def test_the_limit_leaves_room_for_the_files_of_the_process() -> None:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 16 <= allowed_connections() <= 512
    if soft != resource.RLIM_INFINITY:
        assert allowed_connections() <= max(16, soft // 2)


# ---------------------------------------------------------------- proxies and folders


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/24", "::1"])
def test_a_proxy_is_an_address_or_a_network(text: str) -> None:
    assert proxy_address(text).split("/")[0] == text.split("/")[0]


@pytest.mark.parametrize("text", ["", "*", "proxy.example.org", "10.0.0.0/99"])
def test_what_is_no_address_cannot_be_trusted(text: str) -> None:
    with pytest.raises(DiffInfError, match="no address of a proxy"):
        proxy_address(text)


def test_each_server_has_a_private_folder_for_what_gradio_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/nowhere")
    folder = private_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with gr.Blocks() as blocks:
        gr.Textbox()
    assert Path(blocks.GRADIO_CACHE) == folder and os.environ["GRADIO_TEMP_DIR"] == str(folder)
    assert private_folder() != folder
