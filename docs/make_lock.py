"""Write requirements.lock: every package that the pinned ones bring with them, at its installed version.

    python docs/make_lock.py

``make`` gives it to pip as constraints. Packages of another platform or Python are no part of it.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
_HEAD = "# every package that requirements.txt brings with it; written by docs/make_lock.py\n"


def pinned(file: Path) -> list[Requirement]:
    """The requirements in a file."""
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def closure(first: list[Requirement]) -> dict[str, str]:
    """Name to installed version of these packages and of all that they need here."""
    out: dict[str, str] = {}
    waiting = [(r.name, frozenset(r.extras)) for r in first]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        key = (canonicalize_name(name), extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # of another platform, or an extra of nobody
        out[key[0]] = re.sub(r"\+.*", "", found.version)
        for text in found.requires or []:
            wanted = Requirement(text)
            here = wanted.marker is None or any(
                wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            )
            if here:
                waiting.append((wanted.name, frozenset(wanted.extras)))
    return dict(sorted(out.items()))


def lock() -> str:
    """The text of the lock file for what is installed."""
    found = closure(pinned(ROOT / "requirements.txt"))
    return _HEAD + "".join(f"{name}=={version}\n" for name, version in found.items())


if __name__ == "__main__":
    LOCK.write_text(lock())
    print(f"wrote {LOCK.relative_to(ROOT)}")
