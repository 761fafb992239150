"""Bounds on open connections: how many there may be, and how long a request may take to arrive.

A client that opens connections and never finishes a request (a slow-loris attack, or a scanner) must
not keep a reviewer out. Where there are too many connections, the one that has waited longest for its
request gives way; one whose answer is under way never does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # Windows has no such limit to read
    resource = None  # type: ignore[assignment]

#: connections at once; a browser opens about six per window
MOST = 512
#: of these, for one address
MOST_OF_ONE = 256
#: seconds that the head of a request may take
HEAD_TIME = 10.0
#: seconds that a whole request may take, its body included
REQUEST_TIME = 40.0
#: seconds between two lines of the log
_QUIET = 60.0

_log = logging.getLogger("diffinf.guard")


def allowed_connections() -> int:
    """How many connections fit beside the files that a process needs open anyway."""
    if resource is None:
        return MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(16, min(MOST, soft // 2))


class Connections:
    """The open connections of one server; ``protocol`` goes to uvicorn as ``http``.

    ``of_one`` is how many one address may have; None behind a proxy, whose address is everybody's.
    """

    def __init__(
        self,
        most: int | None = None,
        of_one: int | None = MOST_OF_ONE,
        head_time: float = HEAD_TIME,
        request_time: float = REQUEST_TIME,
    ) -> None:
        self._most = allowed_connections() if most is None else most
        self._of_one = self._most if of_one is None else min(of_one, self._most)
        self._by_address: Counter[str] = Counter()
        self.head_time, self.request_time = head_time, request_time
        self._open: set[_Bounded] = set()
        self._waiting: OrderedDict[_Bounded, None] = OrderedDict()
        self._closed, self._noted = 0, float("-inf")

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self, **arguments: Any) -> asyncio.Protocol:
        """A connection as uvicorn makes it."""
        return _Bounded(self, **arguments)

    def opened(self, connection: _Bounded) -> None:
        """Count a connection in; another one, or itself, gives way where there are too many."""
        self._open.add(connection)
        self._waiting[connection] = None
        address = connection.address
        self._by_address[address] += 1
        if self._by_address[address] > self._of_one:
            self.drop(next(c for c in self._waiting if c.address == address))
        elif len(self._open) > self._most:
            # never empty: the new one waits for its request, too; who has most gives way first
            busiest = max(self._by_address, key=self._by_address.__getitem__)
            own = (c for c in self._waiting if c.address == busiest)
            self.drop(next(own, next(iter(self._waiting))))

    def closed(self, connection: _Bounded) -> None:
        """Count a connection out."""
        if connection in self._open:
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: _Bounded, for_request: bool) -> None:
        """Whether a connection waits for the rest of a request, or is being answered."""
        if not for_request:
            self._waiting.pop(connection, None)
        elif connection in self._open:
            self._waiting.setdefault(connection, None)

    def drop(self, connection: _Bounded) -> None:
        """Close a connection whose request does not arrive."""
        self.closed(connection)
        connection.transport.abort()
        self._closed += 1
        now = time.monotonic()
        if now - self._noted > _QUIET:  # a flood of connections must not become a flood of lines
            _log.warning(
                "closed %d connection(s) that did not complete a request in time", self._closed
            )
            self._closed, self._noted = 0, now


class _Bounded(H11Protocol):
    """A connection that is closed where the head or the body of a request takes too long."""

    def __init__(self, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connections = connections
        self._deadline: asyncio.TimerHandle | None = None
        self._stage = ""
        self.address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._connections.opened(self)
        self._update()

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter("")
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update()

    def _update(self) -> None:
        if self.transport.is_closing():
            self._enter("")
        elif self.cycle is None or self.cycle.response_complete:
            self._enter("head")
        else:
            self._enter("body" if self.cycle.more_body else "answer")

    def _enter(self, stage: str) -> None:
        """Start the time that a stage may take; it is not started anew by each byte that trickles in."""
        if stage == self._stage:
            return
        self._stage = stage
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        waiting = stage in ("head", "body")
        self._connections.waits(self, waiting)
        if waiting:
            limits = {"head": self._connections.head_time, "body": self._connections.request_time}
            self._deadline = self.loop.call_later(limits[stage], self._connections.drop, self)
