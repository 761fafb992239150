"""Decide the first K of an order without looking at them, with the error that this is likely to make.

Like cleanlab Studio's Clean Top K, but the error is estimated from what people decided about pictures of the
same K that they had before them. What they would have decided otherwise counts as an error, whatever it
is. Only what nobody has decided is decided; one undo takes all of it back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diffinf_core.records import ACTIONS, Choice, Decision, DiffInfError
from diffinf_core.review.bulk import refusal
from diffinf_core.review.rules import clopper_pearson
from diffinf_core.review.verdict import same
from diffinf_core.runs.seal import under_seal

#: pictures decided by eye without which no error is estimated
LEAST = 20
#: stands for the class that the judge sees in each picture, which is known of pictures with an edit
BY_JUDGE = ""


@dataclass(frozen=True)
class Unseen:
    """What deciding the first K without looking would do.

    ``choices`` decide what nobody has decided; ``decided`` of the K are decided already. Of ``looked`` that
    people decided with the pair before them, ``otherwise`` were decided in another way than proposed; the
    fraction lies between ``low`` and ``high`` with 95 % confidence (Clopper and Pearson). ``refused`` maps a
    reason to the number of pictures that cannot be decided so.
    """

    choices: tuple[Choice, ...]
    decided: int
    looked: int
    otherwise: int
    low: float
    high: float
    refused: Mapping[str, int]

    @property
    def enough(self) -> bool:
        """Whether enough was decided by eye to estimate the error."""
        return self.looked >= LEAST


@under_seal
def decide_unseen(
    samples: Iterable[str],
    action: str,
    queue: pd.DataFrame,
    assigned: Mapping[str, str],
    decisions: Mapping[str, Decision],
    classes: Sequence[str],
    new_label: str | None = None,
    comment: str = "",
    differing: Collection[str] = (),
) -> Unseen:
    """What the same decision on ``samples``, the first K of an order, would do.

    ``queue``, ``assigned`` and ``differing`` as for :func:`diffinf_core.review.bulk.preview`. ``new_label``
    is a class, or :data:`BY_JUDGE`. Raises :class:`DiffInfError` for an unknown action or class.
    """
    if action not in ACTIONS:
        raise DiffInfError(f"Unknown decision {action!r}; choose one of {', '.join(ACTIONS)}.")
    if action == "relabel" and new_label not in (*classes, BY_JUDGE):
        raise DiffInfError(f"{new_label!r} is not a class; choose one of {', '.join(classes)}.")
    columns = (queue[name].astype(str) for name in ("version", "label", "judge_class_before"))
    edits = dict(zip(queue["id"], zip(*columns, strict=True), strict=True))
    choices: list[Choice] = []
    refused: Counter[str] = Counter()
    decided = looked = otherwise = 0
    for sample in dict.fromkeys(samples):
        version, towards, judged = edits.get(sample, ("", "", ""))
        label = judged if new_label == BY_JUDGE else new_label
        choice = Choice(
            sample,
            action,
            version if action == "accept" else None,
            label if action == "relabel" else None,
            comment,
        )
        reason = refusal(choice, assigned.get(sample), towards, None)
        if action == "relabel" and not label:
            reason = "the judge has not seen it"
        before = decisions.get(sample)
        if before is not None and before.action != "second_look":
            decided += 1
            if before.looked and not reason:
                looked += 1
                otherwise += not same(before, choice)
        elif sample in differing:
            refused["reviewers disagree, which is settled pair by pair"] += 1
        elif before is not None:
            refused["somebody asked for a second look"] += 1
        elif reason:
            refused[reason] += 1
        else:
            choices.append(choice)
    low, high = clopper_pearson(otherwise, looked)
    return Unseen(tuple(choices), decided, looked, otherwise, low, high, dict(refused))


def drawn(samples: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """At most ``count`` of some samples, drawn evenly, in their order: to be looked at first."""
    if len(samples) <= count:
        return list(samples)
    at = np.random.default_rng(seed).choice(len(samples), count, replace=False)
    return [samples[i] for i in sorted(at.tolist())]
