"""Bodies of calls: what fits goes on, what does not is named, and nothing reaches Gradio in between."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from diffinf_core.ui.web.calls import InvalidCall, check_call


@pytest.fixture(scope="module")
def blocks() -> gr.Blocks:
    """A function of one of each: text, number, choice, state, yes or no."""

    def work(text: str, number: float, choice: str, kept: Any, yes: bool) -> str:
        return "done"

    with gr.Blocks() as made:
        inputs = [gr.Textbox(), gr.Number(), gr.Dropdown(["a", "b"]), gr.State(), gr.Checkbox()]
        gr.Button().click(work, inputs, gr.Textbox(), api_name="work")
    return made


GOOD = '["a", 1.5, "b", null, true]'


@pytest.mark.parametrize(
    "path,body",
    [("run/work", f'{{"data": {GOOD}}}'), ("queue/join", f'{{"fn_index": 0, "data": {GOOD}}}'),
     ("run/predict", f'{{"fn_index": 0, "data": {GOOD}}}'), ("call/work", '{"data": ["a", 1, "b", false]}'),
     ("call/work", f'{{"data": {GOOD}}}'), ("run/work", '{"data": [null, null, null, {"x": 1}, null]}'),
     ("cancel", "whatever"), ("reset", "")],
)  # fmt: skip
def test_a_call_that_fits_goes_on(blocks: gr.Blocks, path: str, body: str) -> None:
    check_call(blocks, f"/gradio_api/{path}", body.encode())


@pytest.mark.parametrize(
    "body,reason",
    [("", "not JSON"), ("{", "not JSON"), ("[]", "JSON object"), ("3", "JSON object"), ("\x80", "not JSON"),
     ("[" * 100_000, "not JSON"), ('{"data": {}}', "list"), ('{"data": null}', "list"),
     ('{"data": "abcde"}', "list"), ("{}", "5 arguments are needed, not 0"), ('{"data": [1]}', "not 1"),
     ('{"data": [1, 1, "b", null, true]}', "argument 1 must be text"),
     ('{"data": ["a", "1", "b", null, true]}', "argument 2 must be a number"),
     ('{"data": ["a", true, "b", null, true]}', "argument 2 must be a number"),
     ('{"data": ["a", NaN, "b", null, true]}', "argument 2 must be a number"),
     ('{"data": ["a", -Infinity, "b", null, true]}', "argument 2 must be a number"),
     (f'{{"data": ["{"a" * 50_001}", 1, "b", null, true]}}', "argument 1 has more than 50000"),
     ('{"data": ["a", 1, ["b"], null, true]}', "argument 3 must be text"),
     ('{"data": ["a", 1, {"b": 1}, null, true]}', "argument 3 must be text"),
     ('{"data": ["a", 1, "b", null, 1]}', "argument 5 must be true or false"),
     (f'{{"data": {GOOD}, "fn_index": "0"}}', "fn_index"),
     (f'{{"data": {GOOD}, "fn_index": true}}', "fn_index"),
     (f'{{"data": {GOOD}, "fn_index": -1}}', "no such function"),
     (f'{{"data": {GOOD}, "fn_index": 99}}', "no such function")],
)  # fmt: skip
def test_a_call_that_does_not_fit_is_named(blocks: gr.Blocks, body: str, reason: str) -> None:
    with pytest.raises(InvalidCall, match=reason):
        check_call(blocks, "/gradio_api/run/work", body.encode("latin-1"))


@pytest.mark.parametrize("path", ["run/other", "call/other", "queue/join", "run/", "api/lambda"])
def test_a_call_of_no_function_is_not_found(blocks: gr.Blocks, path: str) -> None:
    with pytest.raises(InvalidCall, match="no such function") as caught:
        check_call(blocks, f"/gradio_api/{path}", b'{"data": []}')
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "body",
    ["{}", '{"component_id": 1}', '{"component_id": "x", "fn_name": "y"}',
     '{"component_id": 1, "fn_name": "__init__", "session_hash": "a", "data": 1}',
     '{"component_id": [], "fn_name": {}, "session_hash": 1, "data": 1}'],
)  # fmt: skip
def test_a_components_function_is_called_only_if_it_is_offered(
    blocks: gr.Blocks, body: str
) -> None:
    with pytest.raises(InvalidCall, match="no such function"):
        check_call(blocks, "/gradio_api/component_server", body.encode())


def test_a_component_may_take_more_text_where_it_says_so() -> None:
    with gr.Blocks() as made:
        ids = gr.Textbox(max_length=100_000)
        gr.Button().click(lambda text: text, [ids], gr.Textbox(), api_name="pick")
    for n, fits in ((90_000, True), (100_001, False)):
        body = f'{{"data": ["{"a" * n}"]}}'.encode()
        if fits:
            check_call(made, "/gradio_api/run/pick", body)
        else:
            with pytest.raises(InvalidCall, match="more than 100000"):
                check_call(made, "/gradio_api/run/pick", body)
