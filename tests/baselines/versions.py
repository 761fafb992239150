"""Which code is behind the training of each method: hashes of its modules, recorded for each version.

``python -m tests.baselines.versions`` records the present ones. Where code changed and the version did not it
refuses, unless ``--same-results`` says that trainings come out bit for bit as before.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from diffinf_core.baselines import CONTROLS, METHODS, Method
from tests.runs.sources import ROOT, hash_of, reached

RECORD = Path(__file__).with_name("versions.json")
#: rooms whose code a training runs; the sets that controls are trained on have keys of their own
_ROOMS = ("baselines", "classifier")
#: in those rooms: what names methods, and what a run's own classifier is trained with
_APART = ("registry.py", "controls.py", "__init__.py", "stage.py")


def sources(kind: type[Method]) -> dict[str, str]:
    """The hash of each module that a method's training reaches."""
    own = ROOT / Path(*kind.__module__.split(".")).with_suffix(".py")
    shared = ("diffinf_core.baselines.training", "diffinf_core.baselines.views")
    files = {own, *reached(kind.__module__), *(f for name in shared for f in reached(name))}
    named = {file: file.relative_to(ROOT / "diffinf_core").parts for file in files}
    return {
        file.relative_to(ROOT).as_posix(): hash_of(file)
        for file, parts in sorted(named.items())
        if parts[0] in _ROOMS and (file == own or parts[-1] not in _APART)
    }


def present() -> dict[str, dict[str, object]]:
    """Version and sources of every method and control, as the record holds them."""
    kinds = {**METHODS, **CONTROLS}
    return {n: {"version": k.version, "sources": sources(k)} for n, k in kinds.items()}


def main() -> None:
    """Record."""
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    stale = [n for n, now in present().items() if n in before and before[n] != now
             and before[n]["version"] == now["version"]]  # fmt: skip
    if stale and "--same-results" not in sys.argv[1:]:
        sys.exit(f"raise the version of {', '.join(stale)}, or give --same-results")
    RECORD.write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
