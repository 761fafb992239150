"""Whether the body of a call fits the function it names, before Gradio unpacks it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from gradio import Blocks

_DIRECT = ("/gradio_api/run/", "/gradio_api/api/")
_SIMPLE = "/gradio_api/call/"
_JOIN, _SERVER = "/gradio_api/queue/join", "/gradio_api/component_server"
#: JSON's types by the names of its schemas
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_WORDS = {
    "string": "text", "number": "a number", "integer": "a whole number",
    "boolean": "true or false", "array": "a list", "object": "an object",
}  # fmt: skip
_MAX_ARGUMENTS = 1000
#: a configuration is the longest text that a page sends, but for what says itself how much it takes
_MAX_TEXT = 50_000


class InvalidCall(ValueError):
    """A call that cannot be one of the page's; ``status`` is the HTTP status for it."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def is_call(path: str) -> bool:
    """Whether the path runs a function, with an error of Gradio's own as its answer."""
    return path.startswith((*_DIRECT, _SIMPLE)) or path == _JOIN


def check_call(blocks: Blocks, path: str, body: bytes) -> None:
    """Raise :class:`InvalidCall` for a call of no function, or with values of another number or type."""
    if not (is_call(path) or path == _SERVER):
        return
    call = _object(body)
    if path == _SERVER:
        _check_server_call(blocks, call)
        return
    index, data = call.get("fn_index"), call.get("data", [])
    if not isinstance(data, list) or len(data) > _MAX_ARGUMENTS:
        raise InvalidCall("'data' must be a list of arguments")
    if index is not None and (not isinstance(index, int) or isinstance(index, bool)):
        raise InvalidCall("'fn_index' must be a whole number")
    name = path.rstrip("/").rpartition("/")[2] if path != _JOIN else None
    found = _function(blocks, index, name)
    if found is None:
        raise InvalidCall("there is no such function", 404)
    _check_data(data, found.inputs, simple=path.startswith(_SIMPLE))


def _object(body: bytes) -> dict[str, Any]:
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidCall("the body is not JSON") from error
    if not isinstance(call, dict):
        raise InvalidCall("the body must be a JSON object")
    return call


def _function(blocks: Blocks, index: int | None, name: str | None) -> Any:
    if index is not None:
        return blocks.fns.get(index)
    return next((fn for fn in blocks.fns.values() if name and fn.api_name == name), None)


def _check_server_call(blocks: Blocks, call: dict[str, Any]) -> None:
    at, name = call.get("component_id"), call.get("fn_name")
    block = blocks.blocks.get(at) if isinstance(at, int) else None
    known = block is not None and isinstance(name, str)
    if not known or not getattr(getattr(block, str(name), None), "_is_server_fn", False):
        raise InvalidCall("there is no such function", 404)
    if not isinstance(call.get("session_hash"), str) or "data" not in call:
        raise InvalidCall("a session and its data are missing")


def _check_data(data: Sequence[Any], inputs: Sequence[Any], simple: bool) -> None:
    # The browser sends a place for every input, a script may leave out what is kept for it here.
    given = [block for block in inputs if not (simple and block.skip_api)]
    if len(data) != len(given) and not (simple and len(data) == len(inputs)):
        raise InvalidCall(f"{len(given)} arguments are needed, not {len(data)}")
    if len(data) == len(inputs):
        given = list(inputs)
    for place, (value, block) in enumerate(zip(data, given, strict=True), start=1):
        most = max(_MAX_TEXT, getattr(block, "max_length", None) or 0)
        if isinstance(value, str) and len(value) > most:
            raise InvalidCall(f"argument {place} has more than {most} characters")
        wanted = _wanted(block)
        if value is not None and wanted and not _fits(value, wanted):
            raise InvalidCall(f"argument {place} must be {' or '.join(_WORDS[w] for w in wanted)}")


def _wanted(block: Any) -> list[str]:
    """The JSON types that a component takes; empty where it says nothing of them."""
    if block.skip_api or block.get_block_name() == "html":  # what a page's own script puts there
        return []
    if hasattr(block, "choices"):  # values of choices are what the program made them
        several = getattr(block, "multiselect", False) or block.get_block_name() == "checkboxgroup"
        return ["array"] if several else ["string", "number", "boolean"]
    schema = block.api_info()
    options = schema.get("anyOf", [schema]) if isinstance(schema, dict) else []
    names = [str(option.get("type")) for option in options if isinstance(option, dict)]
    if not all(name in _TYPES or name == "null" for name in names):
        return []
    return [name for name in names if name != "null"]


def _fits(value: Any, wanted: Sequence[str]) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    for name in wanted:
        # JSON's true is no number, though Python's is
        if isinstance(value, _TYPES[name]) and (name == "boolean") == isinstance(value, bool):
            return True
    return False
