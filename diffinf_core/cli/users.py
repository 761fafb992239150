"""The command line's verbs on who may log in to the review app."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from diffinf_core.cli.console import console
from diffinf_core.records import DiffInfError

users = typer.Typer(help="Who may log in to the review app.", no_args_is_help=True)

File = Annotated[
    Path | None, typer.Option("--file", help="File of users; default: $DIFFINF_USERS.")
]
OfRun = Annotated[
    Path | None, typer.Option("--run", help="Folder of a run, for its own users.json.")
]
Name = Annotated[str, typer.Argument(help="Name of the user.")]


def _file(file: Path | None, run: Path | None) -> Path:
    from diffinf_core.runs.run import CONFIG_FILE
    from diffinf_core.ui.web.accounts import USERS_FILE, USERS_VARIABLE

    if file is not None and run is not None:
        raise DiffInfError("Give --file or --run, not both.")
    if run is not None:
        if not (run / CONFIG_FILE).is_file():
            raise DiffInfError(f"{run} is not a run folder: it has no {CONFIG_FILE}.")
        return run / USERS_FILE
    named = file or (os.environ.get(USERS_VARIABLE) and Path(os.environ[USERS_VARIABLE]))
    if not named:
        raise DiffInfError(f"Say which file of users: --run RUN, --file FILE or ${USERS_VARIABLE}.")
    return named


def _asked() -> str:
    first = typer.prompt("Password", hide_input=True, err=True)
    if typer.prompt("Again", hide_input=True, err=True) != first:
        raise DiffInfError("The two passwords differ; nothing was changed.")
    return str(first)


@users.command()
def add(
    name: Name,
    file: File = None,
    run: OfRun = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> None:
    """Add a user, or give one a new password, which ends what is open under the old one."""
    from diffinf_core.ui.web import accounts

    path, kept = _file(file, run), accounts.checked_name(name)
    known = accounts.read_users(path) if path.exists() else {}
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else _asked()
    secret = accounts.Secret.of(accounts.checked_password(password))
    accounts.write_users(path, known | {kept: secret})
    done = "has a new password" if kept in known else "may log in"
    console.print(f"{kept} {done}: {path}", markup=False, highlight=False)


@users.command("list")
def list_users(file: File = None, run: OfRun = None) -> None:
    """Print the names, one per line."""
    from diffinf_core.ui.web import accounts

    path = _file(file, run)
    for name in sorted(accounts.read_users(path)) if path.exists() else []:
        print(name)


@users.command()
def remove(name: Name, file: File = None, run: OfRun = None) -> None:
    """Remove a user; a running app shows them the log-in page at their next click."""
    from diffinf_core.ui.web import accounts

    path, kept = _file(file, run), accounts.checked_name(name)
    known = accounts.read_users(path) if path.exists() else {}
    if kept not in known:
        raise DiffInfError(f"{path} has no user {kept!r}.")
    accounts.write_users(path, {n: s for n, s in known.items() if n != kept})
    console.print(f"{kept} may not log in any more.", markup=False, highlight=False)
