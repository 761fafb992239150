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
SHARED = {"records", "config", "runs", "weights"}


@lru_cache
def _reached(module: str) -> frozenset[Path]:
    """A module's file and those of all that it imports, however far, but for the shared rooms."""
    todo, seen = [module], set()
    while todo:
        name = todo.pop()
        parts, file = name.split("."), file_of(name)
        if parts[0] != "diffinf_core" or len(parts) < 2 or parts[1] in SHARED:
            continue
        if file is not None and file not in seen:
            seen.add(file)
            todo += _imports(ast.parse(file.read_text()))
    return frozenset(seen)


def _above(stage: Stage) -> Iterator[Stage]:
    """The stages whose version is part of a stage's key, through its inputs and the steps of these."""
    for other in stage.inputs:
        yield other
        yield from other.steps
        yield from _above(other)


def files_of(stage: Stage) -> list[Path]:
    """The modules that a stage's version stands for: all that its work reaches and its inputs' do not."""
    above = frozenset().union(
        *(_reached(module_of(s).__name__) for s in (*stage.steps, *_above(stage)))
    )
    own = _reached(module_of(stage).__name__)
    return sorted(own - above) or [Path(str(module_of(stage).__file__))]


def without_words(tree: ast.Module) -> str:
    """The code of a module without its docstrings; comments are not part of the tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
    return ast.dump(tree)


def source_hash(stage: Stage) -> str:
    """Changes with the code behind a stage, not with its docstrings, comments or layout."""
    h = hashlib.sha256()
    for file in files_of(stage):
        h.update(file.relative_to(ROOT).as_posix().encode())
        h.update(without_words(ast.parse(file.read_text())).encode())
    return h.hexdigest()[:16]


def present() -> dict[str, dict[str, object]]:
    """Version and hash of every stage, as the record holds them."""
    out: dict[str, dict[str, object]] = {}
    for stage in every_stage():
        out[stage.name] = {"version": stage.version, "source": source_hash(stage)}
    return out


if __name__ == "__main__":
    importlib.invalidate_caches()
    RECORD.write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n")
