"""Audit a plan: render its edits as they would be exported, and try to recognise them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from diffinf_core.data.decode import Pixels, decode, open_upright
from diffinf_core.data.profile import profile_of
from diffinf_core.data.split import TRAIN
from diffinf_core.export.audit import pixels, properties
from diffinf_core.export.audit.detector import FEWEST, Detection, detect
from diffinf_core.export.plan import EDITS, ExportOptions, Picture, Plan, make_plan
from diffinf_core.export.render import edited_file
from diffinf_core.records import Progress
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run
from diffinf_core.runs.scratch import scratch_folder

#: most pictures of each kind that are looked at
MOST = 1000
#: the lower bound of AUROC, and the distance to what the originals give, from which edits are recognisable
RECOGNISED, BEYOND = 0.6, 0.05
#: Cramér's V, and its p, from which "edited" tells the label
TELLS, SURE = 0.1, 0.01
#: in a run's folder: what :func:`run_audit` has measured
FILE = "audit.json"
_KINDS = {"by_file": "file properties", "by_pixels": "pixels"}


def audit_plan(plan: Plan) -> Generator[Progress, None, dict[str, Any]]:
    """Figures of one form of edits.

    ``edited`` and ``unedited`` count the pictures looked at; ``by_file`` and ``by_pixels`` say how well they
    are told apart (:class:`diffinf_core.export.audit.detector.Detection`, None where there are too few),
    ``by_file_before`` and ``by_pixels_before`` the same with the originals of the edited pictures in their
    place, which is what their content gives away; ``label`` how far "edited" predicts the label; ``warnings``
    and ``summary`` are sentences.
    """
    train = [p for p in plan.pictures if p.split == TRAIN]
    groups = _groups(plan, train)
    edited, others = _chosen(train)
    rows = [*edited, *others]
    positive = np.arange(len(rows)) < len(edited)
    now: dict[str, list[list[float]]] = {kind: [] for kind in _KINDS}
    before: dict[str, list[list[float]]] = {kind: [] for kind in _KINDS}
    if min(len(edited), len(others)) >= FEWEST:
        with scratch_folder() as folder:
            for done, i in enumerate(rows, 1):
                original = _measure(plan.source / train[i].file, plan.size, plan.pixels)
                shown = original
                if train[i].edits:
                    file = edited_file(plan, train[i])
                    rendered = Path(folder) / f"edit{file.suffix}"
                    rendered.write_bytes(file.data)
                    shown = _measure(rendered, plan.size, plan.pixels)
                for kind in _KINDS:
                    before[kind].append(original[kind])
                    now[kind].append(shown[kind])
                if done % 50 == 0 or done == len(rows):
                    yield Progress("audit", done, len(rows), "looking for shortcuts")
    out: dict[str, Any] = {"edits": plan.options.edits}
    out |= {"edited": len(edited), "unedited": len(others)}
    names = {"by_file": properties.NAMES, "by_pixels": _pixel_names()}
    for kind in _KINDS:
        for suffix, values_ in (("", now[kind]), ("_before", before[kind])):
            found = None
            if values_:
                found = detect(np.array(values_), positive, names[kind], groups[rows])
            out[kind + suffix] = None if found is None else _rounded(found)
    out["label"] = _label(plan, train)
    out["warnings"] = _warnings(out)
    out["summary"] = _summary(out)
    return out


def run_audit(
    run: Run, undecided: str = "original", edits: str | None = None
) -> Iterator[Progress]:
    """Audit a run in each form of ``edits``, or in one; the report reads the figures from ``audit.json``."""
    forms: dict[str, Any] = {}
    for name in EDITS if edits is None else [edits]:
        forms[name] = yield from audit_plan(
            make_plan(run, ExportOptions("csv", undecided, "train", name))
        )
    kept = stored_audit(run) or {}
    same = kept.get("undecided") == undecided
    write_json(
        run.root / FILE,
        {"undecided": undecided, "forms": {**(kept["forms"] if same else {}), **forms}},
    )


def stored_audit(run: Run) -> dict[str, Any] | None:
    """What :func:`run_audit` measured last: ``undecided``, and ``forms`` by name; None where nothing."""
    file = run.root / FILE
    found: dict[str, Any] | None = read_json(file) if file.exists() else None
    return found


def _groups(plan: Plan, train: list[Picture]) -> NDArray[np.str_]:
    column = profile_of(plan.run).group_column
    if column is None or column not in plan.columns:
        return np.array([p.id for p in train], str)
    return plan.columns[column].to_numpy(str)[: len(train)]


def _chosen(train: list[Picture]) -> tuple[list[int], list[int]]:
    """Positions of the edited and of the unedited pictures that are looked at."""
    rng = np.random.default_rng(0)
    kinds = (
        [i for i, p in enumerate(train) if p.edits],
        [i for i, p in enumerate(train) if not p.edits],
    )
    edited, others = (
        sorted(rng.choice(k, MOST, replace=False).tolist()) if len(k) > MOST else k for k in kinds
    )
    return edited, others


def _pixel_names() -> list[str]:
    return [*pixels.NAMES, *(f"{name}, at working size" for name in pixels.NAMES)]


def _measure(file: Path, size: int, how: Pixels) -> dict[str, list[float]]:
    upright = np.asarray(open_upright(file, pixels=how), np.uint8)
    seen, own = decode(file, size, how), pixels.figures(upright)
    # a network sees the working size
    small = own if seen.shape == upright.shape else pixels.figures(seen)
    return {"by_file": properties.properties(file.read_bytes()), "by_pixels": own + small}


def _rounded(found: Detection) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(found).items()}


def _label(plan: Plan, train: list[Picture]) -> dict[str, Any]:
    """How far "edited" predicts the label: the fraction edited by class, Cramér's V, chi-squared's p."""
    index = {name: i for i, name in enumerate(plan.classes)}
    table = np.zeros((2, len(plan.classes)))
    for picture in train:
        table[int(bool(picture.edits)), index[picture.label]] += 1
    sizes = table.sum(0)
    fractions = {
        name: round(float(table[1, i] / sizes[i]), 4) if sizes[i] else None
        for name, i in index.items()
    }
    table = table[:, sizes > 0]
    if (table.sum(1) == 0).any() or table.shape[1] < 2:
        return {"edited_by_class": fractions, "cramers_v": 0.0, "p": 1.0}
    test = chi2_contingency(table, correction=False)
    return {
        "edited_by_class": fractions,
        "cramers_v": round(float(np.sqrt(test.statistic / table.sum())), 4),
        "p": float(f"{test.pvalue:.3g}"),
    }


def _warnings(out: Mapping[str, Any]) -> list[str]:
    warnings = []
    for kind, words in _KINDS.items():
        now, before = out[kind], out[f"{kind}_before"]
        if now is None or now["low"] <= RECOGNISED or now["auroc"] - before["auroc"] <= BEYOND:
            continue
        # which form is recognised least depends on the data; where all are, the generator shows
        advice = (
            "'diffinf audit RUN' measures every form of edits: export the one that is recognised least, "
            "and look at the edits"
        )
        warnings.append(
            f"Edits are recognisable by their {words} (AUROC {_interval(now)}), most by "
            f"{now['strongest']}; {advice}."
        )
    label = out["label"]
    if label["cramers_v"] > TELLS and label["p"] < SURE:
        known = {k: v for k, v in label["edited_by_class"].items() if v is not None}
        most, least = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
        warnings.append(
            f"Whether a picture was edited says something about its label: {known[most]:.0%} of {most} "
            f"and {known[least]:.0%} of {least} are edited (Cramér's V {label['cramers_v']:.2f}); "
            "review more of the classes with few edits, or keep more originals where there are many."
        )
    return warnings


def _interval(found: Mapping[str, Any]) -> str:
    return f"{found['auroc']:.2f}, 95 % {found['low']:.2f} to {found['high']:.2f}"


def _summary(out: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, words in _KINDS.items():
        now, before = out[kind], out[f"{kind}_before"]
        if now is None:
            lines.append(
                f"By {words}: too few pictures to tell ({out['edited']} edited, {out['unedited']} not; "
                f"{FEWEST} of each are needed)."
            )
        else:
            lines.append(
                f"By {words}, edited pictures are told from {out['unedited']} others with AUROC "
                f"{_interval(now)}; their originals with {_interval(before)}."
            )
    return [*lines, *out["warnings"]]
