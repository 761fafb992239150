"""Which code made a stage's results: a hash of its modules, recorded for each version.

``python -m tests.runs.sources`` records the present sources; see test_sources.py for when to do so.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType

from diffinf_core.engine.pipeline import every_stage
from diffinf_core.runs.stages import Stage

RECORD = Path(__file__).with_name("sources.json")
ROOT = Path(__file__).parents[2]


def module_of(stage: Stage) -> ModuleType:
    """The module that holds the work of a stage."""
    work = stage.work.func if isinstance(stage.work, partial) else stage.work
    module = inspect.getmodule(work)
    assert module is not None
    return module


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def file_of(module: str) -> Path | None:
    """The file of a module of the package, or None."""
    path = ROOT / Path(*module.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


#: rooms that every stage uses and no result depends on
SHARED = {"config", "runs"}


@lru_cache
def reached(module: str, cut: frozenset[str] = frozenset()) -> frozenset[Path]:
    """A module's file and those of all that it imports, however far, but for the shared rooms.

    What a module in ``cut`` imports does not count, nor does that module.
    """
    todo, seen = [module], set()
    while todo:
        name = todo.pop()
        parts, file = name.split("."), file_of(name)
        if parts[0] != "diffinf_core" or len(parts) < 2 or parts[1] in SHARED:
            continue
        if file is not None and file not in seen and (name not in cut or name == module):
            seen.add(file)
            todo += _imports(ast.parse(file.read_text()))
    return frozenset(seen)


def _in_key(stage: Stage) -> Iterator[Stage]:
    """The stages whose versions are part of a stage's key, whatever the configuration."""
    for other in (*stage.steps, *stage.inputs):
        yield other
        yield from _in_key(other)


def _optional(stage: Stage) -> Iterator[Stage]:
    for other in stage.optional:
        yield from (other, *other.steps)
        yield from _optional(other)


def files_of(stage: Stage) -> list[Path]:
    """The modules that a stage's version stands for: all that its work reaches, less what others stand for.

    These are the stages whose versions are in its key. Optional ones may not be: what is reached by another
    way than through them counts.
    """
    inside = [stage, *_in_key(stage)]
    optional = [other for part in inside for other in _optional(part)]
    cut = frozenset(module_of(other).__name__ for other in optional)
    own = reached(module_of(stage).__name__, cut)
    others = [reached(module_of(other).__name__, cut) for other in inside[1:]]
    return sorted({*own.difference(*others), Path(str(module_of(stage).__file__))})


def without_words(tree: ast.Module) -> str:
    """The code of a module without its docstrings; comments are not part of the tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
    return ast.dump(tree)


@lru_cache
def hash_of(file: Path) -> str:
    """Changes with the code of a module, not with its docstrings, comments or layout."""
    return hashlib.sha256(without_words(ast.parse(file.read_text())).encode()).hexdigest()[:16]


def sources(stage: Stage) -> dict[str, str]:
    """The hash of each module that a stage's version stands for."""
    return {file.relative_to(ROOT).as_posix(): hash_of(file) for file in files_of(stage)}


def present() -> dict[str, dict[str, object]]:
    """Version and sources of every stage, as the record holds them."""
    return {s.name: {"version": s.version, "sources": sources(s)} for s in every_stage()}


if __name__ == "__main__":
    importlib.invalidate_caches()
    RECORD.write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n")
