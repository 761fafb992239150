"""Draw the stages of docs/architecture.md from their declarations: ``make docs``.

Run from the repository root: ``python docs/make_architecture.py``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from diffinf_core.engine.pipeline import PIPELINE, every_stage  # noqa: E402
from diffinf_core.runs.stages import Stage  # noqa: E402

PAGE = ROOT / "docs" / "architecture.md"
_MARKED = re.compile(r"(<!-- stages: begin -->\n).*?(<!-- stages: end -->)", re.DOTALL)


def _node(stage: Stage) -> str:
    return re.sub(r"\W", "_", stage.name)


def graph(stages: tuple[Stage, ...]) -> str:
    """A Mermaid graph of the stages, the pipeline in bold.

    A solid arrow leads to a stage from one that it reads or computes on its way, a dotted one from one that
    the configuration may ask for.
    """
    lines, seen = ["```mermaid", "flowchart LR"], set[str]()
    for stage in stages:
        name = _node(stage)
        if name in seen:
            continue
        seen.add(name)
        label = f"**{stage.name}**" if stage in PIPELINE else stage.name
        lines.append(f'    {name}["{label}"]')
    arrows = dict.fromkeys(
        f"    {_node(above)} {arrow} {_node(stage)}"
        for stage in stages
        for arrow, kind in (("-->", (*stage.inputs, *stage.steps)), ("-.->", stage.optional))
        for above in kind
    )
    return "\n".join([*lines, *arrows, "```"])


def page() -> str:
    """The whole page, with the graph as it is declared now."""
    drawn = graph(every_stage())
    return _MARKED.sub(lambda m: f"{m[1]}{drawn}\n{m[2]}", PAGE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
