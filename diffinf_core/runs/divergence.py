"""One sentence for a training that diverged, with the epoch and the setting to lower."""

from __future__ import annotations

import math

from diffinf_core.records import DiffInfError

#: a mean loss beyond it is absurd: a cross-entropy of this size puts e^-10000 on the label of every sample
ABSURD = 1e4


def check_loss(loss: float, what: str, when: str, remedy: str) -> None:
    """Raise :class:`DiffInfError` where a mean loss is NaN, infinite, or beyond :data:`ABSURD` either way.

    ``what`` was trained, ``when`` names the epoch, fold or step, ``remedy`` says what to do, e.g. which
    setting to lower.
    """
    if math.isfinite(loss) and abs(loss) <= ABSURD:
        return
    raise DiffInfError(f"{what} diverged in {when}: its loss is {loss:.3g}; {remedy}.")


def lower(setting: str, value: float) -> str:
    """The remedy of a learning rate that a setting holds."""
    return f"lower {setting} (now {value:g}), e.g. --set {setting}={value / 3:.2g}, and run again"
