"""Packages that not every installation needs: one sentence says which extra brings a missing one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffinf_core.records import DiffInfError

#: importable packages by the extra of pyproject.toml that installs them
EXTRAS = {
    "app": ("gradio", "fastapi", "starlette", "uvicorn"),
    "postgres": ("psycopg",),
    "heic": ("pillow_heif",),
    "latent": ("diffusers",),
    "map": ("umap", "numba", "pynndescent"),
    "cluster": ("ray",),
    "faces": ("facenet_pytorch", "h5py", "lpips", "transformers"),
}


@contextmanager
def optional_imports() -> Iterator[None]:
    """Around imports of an extra's packages: :class:`DiffInfError` that names the extra if one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        for extra, packages in EXTRAS.items():
            if package in packages:
                raise DiffInfError(
                    f"The package {package} is not installed; run: pip install 'diffinf-core[{extra}]'"
                ) from error
        raise
