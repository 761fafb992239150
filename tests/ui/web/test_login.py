"""Who guesses is slowed down; who knows the password gets in."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from diffinf_core.ui.web import login as module
from diffinf_core.ui.web.accounts import Accounts
from diffinf_core.ui.web.login import LONGEST_PAUSE, Login, login_routes
from tests.ui.web.loops import finished

PASSWORD = "a good password"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that log-ins were held up by, without waiting for them."""
    out: list[float] = []

    async def sleep(seconds: float) -> None:
        out.append(seconds)

    monkeypatch.setattr(module.anyio, "sleep", sleep)
    return out


@pytest.fixture
def app() -> FastAPI:
    """The log-in alone."""
    app = FastAPI()
    app.include_router(login_routes(Login(Accounts({"ann": PASSWORD, "bob": PASSWORD}))))
    return app


def enter(app: FastAPI, address: str, password: str, name: str = "ann", **headers: str) -> int:
    """The status of one log-in from an address."""

    async def post() -> int:
        transport = httpx.ASGITransport(app, client=(address, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            data = {"username": name, "password": password}
            return (await client.post("/login", data=data, headers=headers)).status_code

    return finished(post())


def test_an_address_that_guesses_is_refused_and_cannot_lock_anybody_out(
    app: FastAPI, pauses: list[float]
) -> None:
    guesses = [enter(app, "10.0.0.66", f"guess {i}") for i in range(8)]
    assert guesses == [401] * 5 + [429] * 3
    assert enter(app, "10.0.0.66", PASSWORD) == 429
    assert enter(app, "10.0.0.1", PASSWORD) == 200


def test_guesses_from_many_addresses_hold_a_name_up_but_never_refuse_its_owner(
    app: FastAPI, pauses: list[float]
) -> None:
    assert enter(app, "10.0.0.1", PASSWORD) == 200
    for i in range(40):
        assert enter(app, f"10.0.1.{i}", f"guess {i}") == 401
    assert max(pauses) == LONGEST_PAUSE and pauses[0] == 0
    before = len(pauses)
    assert enter(app, "10.0.0.1", PASSWORD) == 200  # logged in from there before: no pause
    assert len(pauses) == before
    for i in range(40):
        enter(app, f"10.0.2.{i}", f"guess {i}")
    assert enter(app, "10.0.0.2", PASSWORD) == 200  # elsewhere: a pause, and in
    assert 0 < pauses[-1] <= LONGEST_PAUSE
    assert enter(app, "10.0.0.3", PASSWORD, "bob") == 200 and pauses[-1] == 0


def test_an_address_that_a_client_claims_for_itself_is_not_believed(
    app: FastAPI, pauses: list[float]
) -> None:
    forged = [
        enter(app, "10.0.0.66", f"guess {i}", **{"X-Forwarded-For": f"10.0.3.{i}"})
        for i in range(8)
    ]
    assert forged == [401] * 5 + [429] * 3
