"""Keep the figures of a run on one's own pictures beside the demo's, and show them in the README.

    diffinf run FOLDER --out RUN --until judge --set noise.rate=0.3
    diffinf train-generator --run RUN
    diffinf repair RUN
    diffinf retrain RUN
    diffinf report RUN --json > report.json
    python -m tests.benchmarks.photographs report.json --about "what the pictures are"

Only figures are kept, never a picture.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tests.benchmarks.pages import README, put

RESULTS = Path(__file__).parent / "results" / "photographs.json"
_REPAIR = (
    "n",
    "judge",
    "identity_network",
    "judge_agreement_mislabelled_before",
    "judge_agreement_mislabelled",
    "identity_mean",
    "ssim_mean",
    "h_before",
    "h_after",
    "influence_before",
    "influence_after",
    "seconds_per_image",
    "flagged",
)


def kept(report: dict[str, Any], about: str) -> dict[str, Any]:
    """The figures of a report that are worth showing."""
    return {
        "about": about,
        "dataset": report["dataset"],
        "influence": report["influence"],
        "repair": {key: report["repair"][key] for key in _REPAIR},
        "arms": report["arms"],
    }


def block(found: dict[str, Any]) -> str:
    """The README's paragraph."""
    arms, repair, data = found["arms"], found["repair"], found["dataset"]
    seeds = next(iter(arms.values()))["seeds"]
    accuracy = ", ".join(
        f"{name} {100 * a['accuracy']:.1f} ± {100 * a['accuracy_sd']:.1f}"
        for name, a in arms.items()
    )
    wrong = repair["flagged"].get("adversarial", 0)
    return (
        f"{found['about']} {data['n_train']} training pictures, {data['noise_rate']:.0%} wrong "
        f"labels, {found['influence']['precision_at_tau']:.0%} of the top "
        f"{found['influence']['tau']:g} % wrong. Accuracy in per cent over {seeds} seeds: {accuracy}. "
        f"The repairs keep an SSIM of {repair['ssim_mean']:.2f} to the original; h falls from "
        f"{repair['h_before']:.2f} to {repair['h_after']:.2f}, but the judge sees the assigned label "
        f"in {repair['judge_agreement_mislabelled']:.0%} of the mislabelled pictures, against "
        f"{repair['judge_agreement_mislabelled_before']:.0%} before, and {wrong} of {repair['n']} "
        "edits are flagged as adversarial."
    )


def main() -> None:
    """Read a report, keep its figures, write the README's paragraph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, nargs="?")
    parser.add_argument("--about", default="")
    given = parser.parse_args()
    if given.report is not None:
        found = kept(json.loads(given.report.read_text()), given.about)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    found = json.loads(RESULTS.read_text())
    put(README, "photographs", block(found))


if __name__ == "__main__":
    main()
