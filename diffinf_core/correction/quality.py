"""Figures of a finished edit and the warnings they give; never part of the objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.correction.colour import colour_shift
from diffinf_core.correction.objective import Reference
from diffinf_core.correction.perceptors import Perceptors
from diffinf_core.diffusion.figures import ssim
from diffinf_core.records import DiffInfError
from diffinf_core.weights.lpips import perceptual_distance

#: an edit below or above these is flagged; the flag states the figure
NO_CHANGE_L1 = 0.6
H_FOOLED = 0.1
JUDGE_AGREES = 0.5
BLURRED = 0.75
OUTSIDE_CHANGED = 0.1
#: levels of 255, mean of the channels, from which a pixel counts as changed
CHANGED_LEVELS = 12.0
#: the fraction of a picture that :func:`strongest_change` looks at
STRONGEST = 0.01
#: distances in L*a*b* by which an edit may move the mean colour more than its plain reconstruction does
COLOUR_MOVED = 3.0
#: a published network's probability of the other sex changes by this much, and crosses one half
SEX_MOVED = 0.3
#: where between strangers and the person's own spread an identity counts as lost
DRIFT_AT = 0.5


def detail(x: Tensor) -> Tensor:
    """How much fine detail pictures (B, 3, S, S) hold: mean size of the Laplacian, (B,)."""
    kernel = x.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    grey = x.mean(1, keepdim=True)
    return F.conv2d(grey, kernel).abs().mean((1, 2, 3))


def changed_pixels(x: Tensor, edit: Tensor) -> Tensor:
    """Whether each pixel differs by more than :data:`CHANGED_LEVELS`: bool (B, S, S)."""
    return (x - edit).abs().mean(1) * 127.5 > CHANGED_LEVELS


def strongest_change(x: Tensor, edit: Tensor) -> Tensor:
    """How much lightness changes where it changes most, in levels of 255: (B,).

    The mean over the strongest :data:`STRONGEST` of the picture, after smoothing over about 4 % of its side
    (not below 64 pixels), so that single pixels do not count: a dark spot or a mouth drawn over another one
    does. Large where an edit is overdone, and where the label asks for it, as an open mouth does.
    """
    change = (edit - x).mean(1, keepdim=True) * 127.5
    side = 2 * (change.shape[-1] // 64) + 1
    smooth = F.avg_pool2d(change, side, 1, side // 2, count_include_pad=False).abs().flatten(1)
    return smooth.topk(max(1, round(STRONGEST * smooth.shape[1])), 1).values.mean(1)


def fraction(chosen: Tensor, of: Tensor | None = None) -> Tensor:
    """The fraction (B,) of pixels that are chosen, of all or of those in ``of``; 0 of none.

    Both are bool (B, S, S).
    """
    if of is None:
        return chosen.float().mean((1, 2))
    return (chosen & of).float().sum((1, 2)) / of.float().sum((1, 2)).clamp_min(1)


def drift_threshold(own: float, strangers: float) -> float:
    """The identity cosine below which an edit is nearer to strangers than to the variation of the person:
    ``own`` is the cosine of the person's own spread, ``strangers`` the 99th percentile of
    other people's."""
    return strangers + DRIFT_AT * max(0.0, own - strangers)


def flags_of(edit: Mapping[str, Any], at: int, strangers: float | None = None) -> dict[str, str]:
    """Warnings by name, each with the figures behind it.

    ``edit`` holds the fields of an :class:`Edit`, ``at`` is the index of the assigned label,
    ``strangers`` the 99th percentile of strangers' cosines. "adversarial": h_omega is satisfied, by its
    value or because it halved, and the independent judge does not see the label: the failure that the
    method itself mistakes for success.
    """
    flags: dict[str, str] = {}
    before, after = edit["judge_before"], edit["judge_after"]
    h, p = edit["h_after"], after[at]
    if p < JUDGE_AGREES:
        judged = f"the judge gives the label {p:.2f}"
        if h < max(H_FOOLED, edit["h_before"] / 2):
            flags["adversarial"] = f"h is {h:.2f} ({edit['h_before']:.2f} before) but {judged}"
        else:
            flags["judge disagrees"] = judged
    if _top(before) == at != _top(after):
        flags["label lost"] = "the judge saw the label in the original and does not in the edit"
    same, own = edit["identity"], edit.get("identity_own")
    if same is not None and own is not None and strangers is not None:
        nearest, least = edit["identity_stranger"], drift_threshold(own, strangers)
        if same < least:
            flags["identity drift"] = (
                f"identity cosine {same:.2f}; the person's own spread is {own:.2f}, "
                f"1 in 100 strangers reach {strangers:.2f}"
            )
        elif nearest is not None and nearest > same:
            flags["identity drift"] = (
                f"a stranger is nearer ({nearest:.2f}) than it is ({same:.2f})"
            )
    before, after = edit.get("male_before"), edit.get("male_after")
    if before is not None and after is not None and _crossed(before, after):
        flags["covariate drift"] = f"the published network gives male {before:.2f}, now {after:.2f}"
    return picture_flags(edit) | flags


def picture_flags(edit: Mapping[str, Any]) -> dict[str, str]:
    """The warnings that need no judge and no other people, as :func:`flags_of`."""
    flags: dict[str, str] = {}
    sharp = edit.get("sharpness")
    if sharp is not None and sharp < BLURRED:
        flags["blurred"] = f"{sharp:.0%} of the original's fine detail"
    outside = edit.get("changed_outside")
    if outside is not None and outside > OUTSIDE_CHANGED:
        flags["background changed"] = f"{outside:.0%} of what is not the person changed"
    shift, plain = edit.get("colour_shift"), edit.get("colour_shift_floor")
    if shift is not None and plain is not None and shift > plain + COLOUR_MOVED:
        flags["covariate drift"] = (
            f"mean colour moved by {shift:.1f} in L*a*b*, {plain:.1f} by the plain reconstruction"
        )
    if edit["l1"] < NO_CHANGE_L1:
        flags["no visible change"] = f"mean difference {edit['l1']:.2f} of 255"
    return flags


def _crossed(before: float, after: float) -> bool:
    return abs(after - before) > SEX_MOVED and (before < 0.5) != (after < 0.5)


def _top(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def sharpness(x: Tensor, edit: Tensor) -> Tensor:
    """Fine detail of edits as a fraction of the originals', (B,)."""
    with torch.no_grad():
        return detail(edit) / detail(x).clamp_min(1e-6)


def check_numbers(values: Mapping[str, Tensor]) -> None:
    """:class:`DiffInfError` that names the network whose figures are not finite."""
    for name, figures in values.items():
        if not bool(figures.isfinite().all()):
            raise DiffInfError(
                f"{name} gives no number for an edit; its weights may be damaged "
                "('diffinf weights verify')."
            )


@torch.no_grad()
def picture_figures(
    final: Tensor,
    reconstruction: Tensor,
    reference: Reference,
    perceptors: Perceptors,
    identity: Tensor | None,
) -> dict[str, list[Any]]:
    """What edits ``final`` (B, 3, S, S) are beside their originals, a list (B,) per figure.

    ``identity`` (B, D) are the edits' unit vectors, None where no identity network is there. Figures
    have the names and units of the fields of :class:`Edit`.
    """
    x = reference.x
    perceptual = perceptual_distance(perceptors.perceptual(final), reference.perceptual)
    floor = perceptual_distance(perceptors.perceptual(reconstruction), reference.perceptual)
    changed = changed_pixels(x, final)
    same = None
    if identity is not None and reference.identity is not None:
        same = (identity * reference.identity).sum(1)
        check_numbers({perceptors.identity_name: same})
    check_numbers({perceptors.perceptual_name: perceptual})
    return {
        "identity": [None] * len(x) if same is None else same.tolist(),
        "perceptual": perceptual.tolist(),
        "perceptual_floor": floor.tolist(),
        "ssim": ssim(x, final).tolist(),
        "l1": ((x - final).abs().mean((1, 2, 3)) * 127.5).tolist(),
        "sharpness": sharpness(x, final).tolist(),
        "changed_area": fraction(changed).tolist(),
        "strongest_change": strongest_change(x, final).tolist(),
        "changed_outside": _outside(changed, final, reference, perceptors),
        "colour_shift": colour_shift(x, final).tolist(),
        "colour_shift_floor": colour_shift(x, reconstruction).tolist(),
    }


def _outside(
    changed: Tensor, final: Tensor, reference: Reference, perceptors: Perceptors
) -> list[float] | list[None]:
    """The fraction that changed of the pixels that are not the person, neither before nor after."""
    if perceptors.parsing is None or reference.parsing is None:
        return [None] * len(final)
    parts = torch.tensor(perceptors.outside, device=final.device)
    before = torch.isin(reference.parsing.argmax(1), parts)
    after = torch.isin(perceptors.parsing(final).argmax(1), parts)
    return fraction(changed, before & after).tolist()
