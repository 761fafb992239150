"""The architecture page shows the stages and the packages that there are."""

from __future__ import annotations

from pathlib import Path

from diffinf_core.engine.pipeline import every_stage
from tests.programs import program

ROOT = Path(__file__).parents[1]


def test_the_graph_is_drawn_from_the_declarations_as_they_are() -> None:
    module = program("make_architecture")
    assert module.PAGE.read_text() == module.page(), "run: make docs"
    drawn = module.graph(every_stage())
    for stage in every_stage():
        solid, dotted = (*stage.inputs, *stage.steps), stage.optional
        for arrow, kind in (("-->", solid), ("-.->", dotted)):
            for above in kind:
                names = [s.name.replace("-", "_") for s in (above, stage)]
                assert f"    {names[0]} {arrow} {names[1]}\n" in drawn


def test_every_package_has_its_row() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "diffinf_core"
    rooms = [p.name for p in package.iterdir() if (p / "__init__.py").is_file()]
    assert rooms and [room for room in rooms if f"`{room}/`" not in page] == []
