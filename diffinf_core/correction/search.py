"""Several attempts at one picture, and which result to propose; all stay as versions.

"Best of several" tries a small grid and chooses by the judge among others, so the judge's figure for a
chosen edit is no longer independent: it is an upper bound. "Smallest change" tries lower noise levels
first and stops where the classifier's own checkpoints see the label; the judge takes no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffinf_core.config import RepairConfig
from diffinf_core.correction.quality import JUDGE_AGREES
from diffinf_core.records import Edit

#: factors on guidance, t0, the probe's margin and the region's quantile; the unchanged settings come first
_GUIDANCE, _T0, _MARGIN, _MASK = (0.8, 1.4), (0.75, 1.25), (0.5, 2.0), (0.8, 1.2)
_MOST_T0 = 950
#: noise levels of "smallest", from the least change allowed to the configured t0, as fractions of it
_T0_FRACTIONS = (0.83, 0.92, 1.0)
#: guidance of "smallest" by guidance, as fractions of the configured one
_GUIDANCE_FRACTIONS = (0.4, 0.7, 1.0)


def t0_schedule(config: RepairConfig) -> list[RepairConfig]:
    """The settings that "smallest" tries, with ascending t0; the last are the given ones."""
    levels = sorted({max(config.steps, round(config.t0 * fraction)) for fraction in _T0_FRACTIONS})
    return [config.model_copy(update={"t0": t0}) for t0 in levels]


def strengths(config: RepairConfig) -> list[RepairConfig]:
    """The settings that "smallest" tries, from the weakest to the given ones: by t0, or by guidance."""
    if config.strength == "t0":
        return t0_schedule(config)
    return [
        config.model_copy(update={"guidance": round(config.guidance * fraction, 3)})
        for fraction in _GUIDANCE_FRACTIONS
    ]


def variants(
    config: RepairConfig, conditioned: bool = True, probed: bool = False
) -> list[RepairConfig]:
    """The settings to try: other guidance, other t0, the other negative condition, a larger or smaller
    region where there is one and the other way to decode it, a larger w_si where the objective has an effect.

    ``conditioned``: whether the generator is conditioned on labels; ``probed``: whether the linear probe
    is used.
    """
    changes: list[dict[str, object]] = [{}]
    if config.use_label and probed:
        changes += [
            {"probe_margin": _at_most("probe_margin", config.probe_margin * f)} for f in _MARGIN
        ]
    if config.use_label and conditioned:
        changes += [
            {"guidance": _at_most("guidance", round(config.guidance * f, 3))} for f in _GUIDANCE
        ]
        other = "seen" if config.guide_from == "unknown" else "unknown"
        changes.append({"guide_from": other})
    for factor in _T0:
        t0 = max(config.steps, min(_MOST_T0, round(config.t0 * factor)))
        changes.append({"t0": t0})
    if config.masked:
        changes += [{"mask_quantile": min(0.95, round(config.mask_quantile * f, 3))} for f in _MASK]
    if config.method == "inpaint":
        other = "mean" if config.decode_from == "inversion" else "inversion"
        changes.append({"decode_from": other})
    if config.weighted:
        changes.append({"w_si": _at_most("w_si", config.w_si * 3 or 1.0)})
    out: list[RepairConfig] = []
    for change in changes:
        made = config.model_copy(update=change)
        if made not in out:
            out.append(made)
    return out


def _at_most(key: str, value: float) -> float:
    """A value of a setting, cut to the most that the setting takes: a copy is not validated."""
    limits = RepairConfig.model_fields[key].metadata
    return min(value, *(limit.le for limit in limits if hasattr(limit, "le")))


def objectives(edit: Edit, classes: Sequence[str]) -> tuple[float, float, float]:
    """What the choice maximises: judge, identity (else SSIM), minus the perceptual distance."""
    same = edit.ssim if edit.identity is None else edit.identity
    return edit.judge_after[list(classes).index(edit.label)], same, -edit.perceptual


def pareto(edits: Sequence[Edit], classes: Sequence[str]) -> list[Edit]:
    """The Pareto-optimal edits: no other is at least as good in every objective and better in one."""
    scored = [(objectives(e, classes), e) for e in edits]

    def dominated(mine: tuple[float, ...]) -> bool:
        return any(
            theirs != mine and all(t >= m for t, m in zip(theirs, mine, strict=True))
            for theirs, _ in scored
        )

    return [e for score, e in scored if not dominated(score)]


def propose(edits: Sequence[Edit], classes: Sequence[str]) -> Edit:
    """The edit of the Pareto set to propose: the judge agrees, then fewest flags, then highest identity."""

    def order(edit: Edit) -> tuple[bool, int, float]:
        judge, same, _ = objectives(edit, classes)
        return judge < JUDGE_AGREES, len(edit.flags), -same

    return min(pareto(edits, classes), key=order)
