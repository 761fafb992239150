"""The architecture page shows the stages and the packages that there are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from diffinf_core.engine.pipeline import every_stage

ROOT = Path(__file__).parents[1]


def make_architecture() -> Any:
    """The module docs/make_architecture.py, which is a program and in no package."""
    file = ROOT / "docs" / "make_architecture.py"
    spec = importlib.util.spec_from_file_location("make_architecture", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_graph_is_drawn_from_the_declarations_as_they_are() -> None:
    module = make_architecture()
    assert module.PAGE.read_text() == module.page(), "run: make docs"
    drawn = module.graph(every_stage())
    for stage in every_stage():
        for above in stage.inputs:
            arrow = f"{above.name.replace('-', '_')} --> {stage.name.replace('-', '_')}"
            assert arrow in drawn


def test_every_package_has_its_row() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "diffinf_core"
    rooms = [p.name for p in package.iterdir() if (p / "__init__.py").is_file()]
    assert rooms and [room for room in rooms if f"`{room}/`" not in page] == []
