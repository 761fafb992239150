"""``--executor`` and ``--address`` for the verbs that compute a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, get_type_hints

import typer

from diffinf_core.runs.executor import ADDRESS, EXECUTOR, EXECUTORS, choose

_OPTIONS = {
    "executor": typer.Option(
        help=f"Where stages are computed: {' or '.join(EXECUTORS)}, a cluster of machines.",
        envvar=EXECUTOR,
    ),
    "address": typer.Option(
        help="HOST:PORT of the Ray cluster's head; default: Ray on this machine.", envvar=ADDRESS
    ),
}


def distributed(verb: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a verb; what it computes does not depend on them."""

    @wraps(verb)
    def call(*args: Any, executor: str | None, address: str | None, **options: Any) -> None:
        if executor or address:
            choose(executor or "local", address)
        verb(*args, **options)

    # Typer reads a verb's options from its signature.
    hints, own = get_type_hints(verb, include_extras=True), signature(verb)
    parameters = [p.replace(annotation=hints[name]) for name, p in own.parameters.items()]
    for name, option in _OPTIONS.items():
        kind = Annotated[str | None, option]
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind))
    call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return call
