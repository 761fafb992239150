"""The data card of an export: README.md with counts, decisions, models, licences and limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from diffinf_core.correction.edits import read_record
from diffinf_core.export.formats import format_named
from diffinf_core.export.manifest import counts, pseudonyms
from diffinf_core.export.plan import Plan

_EDITS = {
    "full": "The change of each edit was put onto the original at its own size, losslessly.",
    "like-original": "The change of each edit was put onto the original at its own size and encoded again as "
    "the original was.",
    "working": "Edits are PNG files at the run's working size.",
}
_UNDECIDED = {
    "original": "the original was kept",
    "repaired": "the edit was taken",
    "unflagged": "the edit was taken where it has no flag",
}


def data_card(plan: Plan, table: pd.DataFrame, audit: Mapping[str, Any] | None) -> str:
    """The text of README.md; ``audit`` as :func:`diffinf_core.export.audit.run_audit` returns it."""
    form = format_named(plan.options.format)
    head = form.head(plan, table)
    front = f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n" if head else ""
    parts = [f"{front}# Refined data set", _opening(plan), *_counts(plan), *_models(plan)]
    parts += _audit(audit)
    parts += [
        "## Licences\n\nThe pictures keep the licence of the data set that they come from; the edits are "
        "derived from them. Research weights used for the repair keep their own licences.",
        "## Limits\n\n- Edited pictures are synthetic and show nobody as they were photographed. Each "
        "says so in its metadata (IPTC digital source type *composite with trained algorithmic media*) where "
        "its format holds any, and in `manifest.json`.\n"
        "- Labels that were wrong and not ranked as suspicious are still wrong.\n"
        "- A classifier of such labels judges appearance, not people.",
        "## Open and verify\n\n```python\n"
        f"{form.usage}\n```\n\n`diffinf verify FOLDER` recomputes every hash and the size equation.",
    ]
    return "\n\n".join(parts) + "\n"


def _opening(plan: Plan) -> str:
    written = "All splits." if plan.options.splits == "all" else "The training split."
    own = [f"`{name}`" for name in plan.columns.columns]
    more = f" The data set's own columns are kept: {', '.join(own)}." if own else ""
    return (
        f"Made by DiffInf: {format_named(plan.options.format).title}. {written} "
        f"{_EDITS[plan.options.edits]} Originals are byte for byte as they came.{more}"
    )


def _rows(title: str, values: Mapping[str, Any]) -> str:
    lines = [f"| {_cell(k)} | {v} |" for k, v in values.items()]
    return "\n".join([f"| {title} | pictures |", "|---|---|", *lines])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _counts(plan: Plan) -> list[str]:
    figures = counts(plan)
    kinds = {k: figures[k] for k in ("original", "repaired", "relabelled", "dropped")}
    out = [
        "## Counts",
        _rows("training split", kinds),
        _rows("split", figures["splits"]),
        _rows("class", figures["classes"]),
    ]
    people = pseudonyms(plan)
    text = f"## Decisions\n\n{len(people)} reviewer(s). "
    if figures["undecided"]:
        text += (
            f"{figures['undecided']} edited pictures were not decided on: "
            f"{_UNDECIDED[plan.options.undecided]}."
        )
    out.append(text.strip())
    standing = [s.decision for s in plan.refined.samples if s.decision is not None]
    by = Counter((people[d.reviewer], d.state) for d in standing)
    if by:
        out.append(
            _rows("decision", {f"{who}: {what}": n for (who, what), n in sorted(by.items())})
        )
    if any(figures["skipped"].values()):
        gone = {f"unreadable or bad {kind}": n for kind, n in figures["skipped"].items()}
        out.append(_rows("skipped before the run", gone))
    return out


def _models(plan: Plan) -> list[str]:
    edited = next((p for p in plan.pictures if p.edits), None)
    if edited is None:
        return []
    edit = read_record(edited.edits[-1])
    lines = [
        f"- generator: {edit.generator}",
        f"- identity: {edit.identity_name}",
        f"- perceptual distance: {edit.perceptual_name}",
        f"- judge: {edit.judge_name}",
    ]
    return ["## Models\n\n" + "\n".join(lines)]


def _audit(audit: Mapping[str, Any] | None) -> list[str]:
    if not audit:
        return []
    return ["## Shortcut audit\n\n" + "\n".join(f"- {line}" for line in audit["summary"])]
