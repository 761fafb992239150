"""Figures and warnings of an edit, computed after it is finished and never part of the objective."""

from __future__ import annotations

#: an edit below these is flagged; the numbers are the demo's targets and said in the flag
IDENTITY_DRIFT = 0.75
NO_CHANGE_L1 = 0.6
H_FOOLED = 0.1
JUDGE_AGREES = 0.5


def flags_of(
    identity: float | None,
    l1: float,
    h_after: float,
    judge_label_after: float,
    label_lost: bool = False,
) -> dict[str, str]:
    """Warnings by name, each with the figures behind it.

    "adversarial": h_omega is satisfied and the independent judge is not, the failure that looks like
    success to the method itself.
    """
    flags: dict[str, str] = {}
    if h_after < H_FOOLED and judge_label_after < JUDGE_AGREES:
        flags["adversarial"] = (
            f"h fell to {h_after:.2f} but the judge gives the label {judge_label_after:.2f}"
        )
    elif judge_label_after < JUDGE_AGREES:
        flags["judge disagrees"] = f"the judge gives the label {judge_label_after:.2f}"
    if label_lost:
        flags["label lost"] = "the judge saw the label in the original and does not in the edit"
    if identity is not None and identity < IDENTITY_DRIFT:
        flags["identity drift"] = f"identity cosine {identity:.2f} is below {IDENTITY_DRIFT}"
    if l1 < NO_CHANGE_L1:
        flags["no visible change"] = f"mean difference {l1:.2f} of 255"
    return flags
