"""A decision on many samples at once, looked at before it is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from diffinf_core.records import ACTIONS, Choice, Decision, DiffInfError
from diffinf_core.review.verdict import same
from diffinf_core.runs.seal import under_seal

#: how the comment of a decision on many pairs at once begins
MARK = "bulk: "


@dataclass(frozen=True)
class Bulk:
    """What a bulk decision would do.

    ``choices`` is what to hand to ``decide_many``. The counters are of those samples: by assigned label,
    by flag ("" where the edit has none, or there is no edit), by the state they are in ("undecided" or
    an action), and by the reviewer whose standing decision would be replaced. ``refused`` maps a reason to
    the samples that cannot take the decision, or have taken it already.
    """

    choices: tuple[Choice, ...]
    by_class: Mapping[str, int]
    by_flag: Mapping[str, int]
    by_state: Mapping[str, int]
    replaces: Mapping[str, int]
    refused: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.choices)


@under_seal
def preview(
    samples: Iterable[str],
    action: str,
    queue: pd.DataFrame,
    assigned: Mapping[str, str],
    decisions: Mapping[str, Decision],
    classes: Sequence[str],
    new_label: str | None = None,
    comment: str = "",
    differing: Collection[str] = (),
) -> Bulk:
    """What the same decision on ``samples`` would do; repeated ids count once.

    ``queue`` is the review queue, whose version an "accept" takes; ``assigned`` maps every training sample
    to its label; ``differing`` are samples that reviewers disagree on. Raises :class:`DiffInfError` for
    an unknown action or class.
    """
    if action not in ACTIONS:
        raise DiffInfError(f"Unknown decision {action!r}; choose one of {', '.join(ACTIONS)}.")
    if action == "relabel" and new_label not in classes:
        raise DiffInfError(f"{new_label!r} is not a class; choose one of {', '.join(classes)}.")
    made = queue[["id", "version", "label", "flags"]].itertuples(index=False, name=None)
    edits = {sample: (version, label, flags) for sample, version, label, flags in made}
    choices: list[Choice] = []
    refused: dict[str, list[str]] = {}
    counts: dict[str, Counter[str]] = {"class": Counter(), "flag": Counter(), "state": Counter()}
    replaces: Counter[str] = Counter()
    for sample in dict.fromkeys(samples):
        version, towards, flags = edits.get(sample, ("", "", ""))
        choice = Choice(
            sample,
            action,
            version if action == "accept" else None,
            new_label if action == "relabel" else None,
            comment,
        )
        before = decisions.get(sample)
        reason = refusal(choice, assigned.get(sample), towards, before)
        if sample in differing:
            reason = "reviewers disagree, which is settled pair by pair"
        if reason:
            refused.setdefault(reason, []).append(sample)
            continue
        choices.append(choice)
        counts["class"][assigned[sample]] += 1
        counts["flag"].update(flags.split(", "))
        counts["state"][before.action if before else "undecided"] += 1
        if before:
            replaces[before.reviewer] += 1
    return Bulk(
        choices=tuple(choices),
        by_class=dict(counts["class"]),
        by_flag=dict(counts["flag"]),
        by_state=dict(counts["state"]),
        replaces=dict(replaces),
        refused={reason: tuple(ids) for reason, ids in refused.items()},
    )


def refusal(choice: Choice, label: str | None, towards: str, before: Decision | None) -> str:
    """Why a sample cannot take the decision; "" where it can."""
    if label is None:
        return "not a training sample of this run"
    if choice.action == "accept" and not choice.version:
        return "there is no edit to accept"
    if choice.action == "accept" and towards != label:
        return "the edit shows another label than the assigned one"
    if choice.action == "relabel" and choice.new_label == label:
        return "it has that label already"
    if before and same(before, choice):
        return "it is decided so already"
    return ""
