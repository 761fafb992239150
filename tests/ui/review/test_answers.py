"""What a browser makes of answers that come late, in another order, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.ui import markup
from tests.ui.browser import Server, open_page, wait_place

pytestmark = pytest.mark.browser


def intercept(page: Any, *answers: Callable[[Any], None]) -> None:
    """Answer the next requests that draw the pair; clocks and all later requests go their way."""
    drawing = set(
        page.evaluate(
            """() => {
              const { components, dependencies } = window.gradio_config;
              const { id } = components.find((one) => one.props?.elem_id === "review-showing");
              return dependencies.filter((one) => one.outputs.includes(id)).map((one) => one.id);
            }"""
        )
    )
    left = list(answers)

    def handle(route: Any) -> None:
        if left and route.request.post_data_json["fn_index"] in drawing:
            left.pop(0)(route)
        else:
            route.continue_()

    page.route("**/gradio_api/run/predict*", handle)


def test_a_line_that_is_drawn_after_the_end_of_its_edit_goes(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)

    def late(route: Any) -> None:
        response = route.fetch()
        body = response.json()
        body["data"][-1] = markup.running("0" * 12, "Editing the first.")
        route.fulfill(response=response, json=body)

    intercept(page, late)
    page.click("#go-next")
    page.wait_for_selector("#review-running :text('Editing the first.')")
    page.wait_for_selector("#review-running .di-running", state="detached", timeout=15_000)
    wait_place(page, "2 of")
    page.close()


def test_a_key_that_the_server_does_not_take_is_not_lost_in_silence(
    chromium: Any, server: Server
) -> None:
    page = open_page(chromium, server)
    intercept(page, lambda route: route.fulfill(status=503, body="Busy."))
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#review-message :text('error 503; what you did last may not')")
    page.keyboard.press("ArrowRight")
    wait_place(page, "2 of")
    page.wait_for_selector("#review-message .di-error", state="detached")
    page.close()


def test_a_server_that_is_gone_is_a_sentence(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    intercept(page, lambda route: route.abort())
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#review-message :text('cannot be reached')")
    page.close()


def test_who_is_logged_out_elsewhere_sees_the_page_for_it(chromium: Any, run_copy: Path) -> None:
    with Server(run_copy, {"DIFFINF_LOGIN": "ann:secret one"}) as server:
        page = chromium.new_page()
        page.goto(server.address)
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill("secret one")
        page.keyboard.press("Enter")
        page.wait_for_selector("#review-pair img", timeout=60_000)
        page.context.clear_cookies()
        page.keyboard.press("k")
        page.get_by_label("Password").wait_for(timeout=15_000)
        page.close()
