"""The command line's verb that opens the review app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffinf_core.records import DiffInfError
from diffinf_core.runs.extras import optional_imports


def serve_run(run: Path, port: int) -> None:
    """Open the app for this machine alone, until Ctrl+C."""
    with optional_imports():
        from diffinf_core.ui.app import serve

    serve(run, port)


def check_run(run: Path, new: bool = False) -> None:
    """Refuse a folder that is no run, with the runs beside it, unless a ``new`` one is wanted there."""
    from diffinf_core.runs.run import CONFIG_FILE

    if new or (run / CONFIG_FILE).is_file():
        return
    folder = run.absolute().parent
    try:
        runs = sorted(p.name for p in folder.iterdir() if (p / CONFIG_FILE).is_file())
    except OSError:
        runs = []
    there = f"{folder} holds {', '.join(runs)}" if runs else f"There is no run in {folder}"
    raise DiffInfError(
        f"{run} is no run. {there}. To set up a new run there in the app, add --new."
    )


def review(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", metavar="RUN")],
    new: Annotated[
        bool, typer.Option("--new", help="Set up a new run in this folder, in the app.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the app.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to serve on; any other than loopback needs a log-in.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name under which browsers may ask for the app. Repeatable."),
    ] = None,
    ssl_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM), for https.")] = None,
    ssl_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a proxy whose X-Forwarded-For is believed. Repeatable."
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(help="Path below which a proxy shows the app, as in /diffinf."),
    ] = "",
    token: Annotated[
        bool,
        typer.Option(
            "--token/--no-token",
            help="Without a log-in, let in only who has the address that is printed, with its token.",
        ),
    ] = True,
) -> None:
    """Open the review app on a run; 'diffinf users' says who may log in."""
    check_run(run, new)
    with optional_imports():
        from diffinf_core.ui.app import serve

    serve(
        run,
        port,
        host,
        allow_hosts=allow_host or [],
        ssl_cert=ssl_cert,
        ssl_key=ssl_key,
        trusted_proxies=trusted_proxy or [],
        token=token,
        root_path=root_path,
    )
