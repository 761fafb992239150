"""The printed address in a browser: it opens the app, and the token leaves the address bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffinf_core.ui.app import serve

pytestmark = pytest.mark.browser


def test_the_printed_address_opens_the_app_and_hides_its_token(
    chromium: Any, run_copy: Path
) -> None:
    server = serve(run_copy, 0, block=False)
    try:
        page = chromium.new_page()
        page.goto(server.url + server.query)
        page.wait_for_selector("#review-pair img", timeout=60_000)
        assert "token" not in page.url
        other = chromium.new_page()  # another person's browser
        assert other.goto(server.url).status == 401
        assert "terminal printed" in other.content()
    finally:
        server.close()
