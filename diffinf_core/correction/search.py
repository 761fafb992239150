"""Several attempts at one picture, and which result to propose; all stay as versions.

Best of several tries a small grid. The judge has a say in that choice, so what it says of a chosen edit
is no longer independent: it is a bound from above. The smallest change tries lower noise levels first
and stops where the classifier's own checkpoints see the label; the judge has no say there.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffinf_core.config import RepairConfig
from diffinf_core.correction.quality import JUDGE_AGREES
from diffinf_core.records import Edit

#: factors on guidance, t0 and the probe's margin; the settings as they are come first
_GUIDANCE, _T0, _MARGIN = (0.8, 1.4), (0.75, 1.25), (0.5, 2.0)
_MOST_T0 = 950
#: noise levels from the least room for change to all that is configured, as shares of t0
_ROOM = (0.83, 0.92, 1.0)


def rooms(config: RepairConfig) -> list[RepairConfig]:
    """The settings that "smallest" tries, in this order; the last are these."""
    levels = sorted({max(config.steps, round(config.t0 * share)) for share in _ROOM})
    return [config.model_copy(update={"t0": t0}) for t0 in levels]


def variants(config: RepairConfig, told: bool = True, probed: bool = False) -> list[RepairConfig]:
    """The settings to try: more and less guidance, more and less room for change, the other origin.

    ``told``: whether the generator is told labels; ``probed``: whether the linear probe stands in.
    """
    changes: list[dict[str, object]] = [{}]
    if config.use_label and probed:
        changes += [{"probe_margin": min(50.0, config.probe_margin * f)} for f in _MARGIN]
    if config.use_label and told:
        changes += [{"guidance": round(config.guidance * f, 3)} for f in _GUIDANCE]
        other = "seen" if config.guide_from == "unknown" else "unknown"
        changes.append({"guide_from": other})
    for factor in _T0:
        t0 = max(config.steps, min(_MOST_T0, round(config.t0 * factor)))
        changes.append({"t0": t0})
    changes.append({"w_si": min(20.0, config.w_si * 3 or 1.0)})
    out: list[RepairConfig] = []
    for change in changes:
        made = config.model_copy(update=change)
        if made not in out:
            out.append(made)
    return out


def aims(edit: Edit, classes: Sequence[str]) -> tuple[float, float, float]:
    """What an edit is good for, more is better: judge, identity (else SSIM), nearness to the original."""
    same = edit.ssim if edit.identity is None else edit.identity
    return edit.judge_after[list(classes).index(edit.label)], same, -edit.perceptual


def pareto(edits: Sequence[Edit], classes: Sequence[str]) -> list[Edit]:
    """The edits that no other one beats or equals in every aim and beats in one."""
    scored = [(aims(e, classes), e) for e in edits]

    def beaten(mine: tuple[float, ...]) -> bool:
        return any(
            theirs != mine and all(t >= m for t, m in zip(theirs, mine, strict=True))
            for theirs, _ in scored
        )

    return [e for score, e in scored if not beaten(score)]


def propose(edits: Sequence[Edit], classes: Sequence[str]) -> Edit:
    """The one of the Pareto set to show first: the judge agrees, fewest flags, most the same person."""

    def order(edit: Edit) -> tuple[bool, int, float]:
        judge, same, _ = aims(edit, classes)
        return judge < JUDGE_AGREES, len(edit.flags), -same

    return min(pareto(edits, classes), key=order)
