"""What is installed, pinned and promised: no known fault can come back by an older version."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.programs import ROOT, program

#: the first versions without a fault that is known, and what it was
MENDED = {
    "pillow": ("12.2", "memory outside of buffers"),
    "torch": ("2.10", "weights_only unpickling"),
    "transformers": (
        "5.3",
        "CVE-2025-5197 and its like, CVE-2026-4372; unpickling of training states",
    ),
    "diffusers": ("0.38", "CVE-2026-44513, CVE-2026-44827, CVE-2026-45804"),
    "starlette": ("0.49.1", "CVE-2025-54121, CVE-2025-62727"),
    "python-multipart": ("0.0.27", "CVE-2026-40347"),
    "gradio": ("6.20", "requests forged by the server, path traversal"),
    "h11": ("0.16", "CVE-2025-43859"),
    "pillow-heif": ("1.3", "CVE-2026-28231"),
    "diskcache": ("5.6.3", "none mends CVE-2025-69872; see correction/cache.py"),
}
#: whose internals are used
INSIDE = ("gradio", "uvicorn", "diskcache")


def promised() -> dict[str, Requirement]:
    """Every requirement of pyproject.toml by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return {canonicalize_name(r.name): r for r in map(Requirement, texts)}


@pytest.mark.parametrize("name", MENDED)
def test_a_version_with_a_known_fault_is_not_accepted(name: str) -> None:
    first, _ = MENDED[name]
    wanted = promised()[name].specifier
    bounds = [Version(s.version) for s in wanted if s.operator in (">=", "==")]
    assert bounds and max(bounds) >= Version(first)
    assert wanted.contains(version(name))


@pytest.mark.parametrize("name", INSIDE)
def test_what_is_used_from_inside_has_an_upper_bound(name: str) -> None:
    assert any(s.operator == "<" for s in promised()[name].specifier)


def locked() -> dict[str, str]:
    """Name to version of requirements.lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_lock_holds_every_pin_and_what_it_brings() -> None:
    kept = locked()
    for pin in program("make_lock").pinned(ROOT / "requirements.txt"):
        (pinned,) = pin.specifier
        assert kept.get(canonicalize_name(pin.name), pinned.version) == pinned.version, pin
    for name in ("starlette", "python-multipart", "h11", "jinja2", "gradio", "pillow"):
        assert name in kept, "what a page or a picture passes through"


@pytest.mark.parametrize("name", locked())
def test_what_is_installed_is_what_is_locked(name: str) -> None:
    try:
        found = version(name).partition("+")[0]
    except PackageNotFoundError:
        pytest.skip("of another platform")
    assert found == locked()[name], "install with -c requirements.lock, or python docs/make_lock.py"


def test_make_installs_by_the_lock() -> None:
    assert "-r requirements.txt -c requirements.lock" in (ROOT / "Makefile").read_text()
