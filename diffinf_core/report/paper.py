"""Table 1 of the paper, to stand beside what is measured where the task is the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Figures = tuple[float, float, float]


@dataclass(frozen=True)
class PaperTask:
    """One task of the paper: FFHQ photographs of 128 pixels under exact symmetric noise.

    ``rows`` maps a method to accuracy (%), AUROC (%) and linear kappa; ``lpips`` a class to the LPIPS
    of its edits.
    """

    name: str
    noise: float
    tau: float
    rows: Mapping[str, Figures]
    lpips: Mapping[str, float]


_AGE = PaperTask(
    "age",
    noise=0.3,
    tau=10,
    rows={
        "noisy": (70.44, 85.48, 0.58),
        "small_loss": (74.92, 88.54, 0.68),
        "elr_plus": (80.56, 92.40, 0.76),
        "proselflc": (72.50, 87.92, 0.60),
        "promix": (76.55, 90.18, 0.68),
        "removal": (81.23, 93.73, 0.76),
        "repair": (83.37, 94.94, 0.78),
    },
    lpips={"young": 0.227, "middle": 0.219, "old": 0.224},
)
_EXPRESSION = PaperTask(
    "expression",
    noise=0.2,
    tau=10,
    rows={
        "noisy": (78.95, 94.43, 0.69),
        "small_loss": (83.55, 96.84, 0.77),
        "elr_plus": (81.90, 93.98, 0.73),
        "proselflc": (81.57, 96.27, 0.77),
        "promix": (78.29, 94.56, 0.70),
        "removal": (93.42, 99.27, 0.88),
        "repair": (94.24, 99.38, 0.90),
    },
    lpips={"happy": 0.244, "sad": 0.229, "neutral": 0.196, "surprised": 0.222},
)


def paper_task(classes: Sequence[str]) -> PaperTask | None:
    """The paper's task with these classes, whatever their order and case; None where there is none."""
    names = {name.lower() for name in classes}
    return next((task for task in (_AGE, _EXPRESSION) if set(task.lpips) == names), None)
