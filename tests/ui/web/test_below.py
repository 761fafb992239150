"""The app below a path of a proxy: pages, pictures, decisions, log-in and cookies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError
from diffinf_core.ui.app import serve
from diffinf_core.ui.web.below import checked_root
from tests.ui.browser import Server, eventually, settled, showing
from tests.ui.web.proxy import ROOT, Proxy


@pytest.mark.parametrize("text,path", [("", ""), ("/", ""), ("/a", "/a"), ("/a/b-1/", "/a/b-1")])
def test_a_path_is_taken_without_its_last_slash(text: str, path: str) -> None:
    assert checked_root(text) == path


@pytest.mark.parametrize("text", ["a", "https://x/a", "/a b", "//a", "/../a", "/a?b", "/a/./b"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(DiffInfError, match="--root-path"):
        checked_root(text)


@pytest.fixture(params=[True, False], ids=["cut", "passed on"])
def proxy(
    request: pytest.FixtureRequest, run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """A proxy before an app with a log-in."""
    monkeypatch.setenv("DIFFINF_LOGIN", "ann:a good password")
    server = serve(run_copy, 0, block=False, root_path=f"{ROOT}/")
    with Proxy(server.port, request.param) as made:
        yield made
    server.close()


def test_the_log_in_and_every_address_stay_below_the_path(proxy: Proxy) -> None:
    host = proxy.address.removesuffix(f"{ROOT}/")
    with httpx.Client(base_url=host, timeout=60) as client:
        if not proxy.cut:  # else the proxy has to lead there
            assert client.get(ROOT).headers["location"] == f"{ROOT}/"
        asked = client.get(f"{ROOT}/?a=1", headers={"accept": "text/html"})
        assert asked.headers["location"] == f"{ROOT}/login?next=/%3Fa%3D1"
        assert 'action="login"' in client.get(f"{ROOT}/login").text
        given = {"username": "ann", "password": "a good password"}
        html = {"accept": "text/html"}
        entered = client.post(f"{ROOT}/login", data=given, headers=html)
        assert entered.headers["location"] == f"{ROOT}/"
        assert f"Path={ROOT}/;" in entered.headers["set-cookie"]
        config = client.get(f"{ROOT}/config").json()
        assert config["root"] == f"{host}{ROOT}"
        left = client.post(f"{ROOT}/logout")
        assert left.headers["location"] == f"{ROOT}/login"
        assert client.get(f"{ROOT}/config").status_code == 401
    assert set(proxy.strays) <= {"/favicon.ico"}  # which browsers look for by themselves


def test_the_token_leads_to_the_page_below_the_path(run_copy: Path) -> None:
    server = serve(run_copy, 0, block=False, root_path=ROOT)
    try:
        with Proxy(server.port) as proxy, httpx.Client(timeout=60) as client:
            entered = client.get(proxy.address + server.query)
            assert entered.headers["location"] == f"{ROOT}/"
            assert client.get(proxy.address).status_code == 200
    finally:
        server.close()


@pytest.mark.browser
def test_a_page_a_picture_and_a_decision_below_the_path(chromium: Any, run_copy: Path) -> None:
    with Server(run_copy, more=("--root-path", ROOT)) as server, Proxy(server.port) as proxy:
        page = chromium.new_page(viewport={"width": 1440, "height": 950})
        page.on("pageerror", lambda error: pytest.fail(f"page error: {error}"))
        page.goto(proxy.address)
        page.wait_for_selector("#review-pair img", timeout=60_000)
        page.wait_for_function(
            "[...document.querySelectorAll('#review-pair img')].every(i => i.complete && i.naturalWidth)"
        )
        sample = showing(page)
        settled(page)  # a key is ignored while the pictures are not those of the pair
        page.keyboard.press("k")
        eventually(lambda: sample in open_run(run_copy).review.decisions())
        assert open_run(run_copy).review.decisions()[sample].action == "keep"
        page.get_by_role("tab", name="Explore", exact=True).click()
        page.wait_for_function("window.Plotly !== undefined")
        assert set(proxy.strays) <= {"/favicon.ico"}  # which browsers look for by themselves
        page.close()
