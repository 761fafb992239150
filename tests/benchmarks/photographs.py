"""How repair does on photographs, by networks that share nothing with it, and what the arms gain:

    diffinf run FOLDER --preset photographs --set noise.rate=0.2 --out RUN --until influence
    diffinf train-generator --run RUN --first-stage auto --minutes 60
    diffinf run --out RUN
    python -m tests.benchmarks.photographs edits NAME RUN --set guidance=3 --set guidance=4
    python -m tests.benchmarks.photographs people NAME GENERATOR FOLDER [--grey] [--sheet FILE]
    python -m tests.benchmarks.photographs review RULE RUN
    diffinf retrain RUN
    python -m tests.benchmarks.photographs arms NAME RUN
    python -m tests.benchmarks.photographs report NAME RUN/report.json
    python -m tests.benchmarks.photographs            writes the tables of docs/photographs.md

``edits`` takes the pictures with wrong labels among the top tau %, by rank and never by result. ``people``
takes pictures of people whom the generator has never seen, with a smiling and a neutral picture each, and
asks for the other. ``review`` decides on each pair by a rule, in place of a person: *unflagged* accepts the
edits without a flag and drops the other pictures, *suggested* follows what Review suggests. ``report`` keeps
the arms of a run that was made on another machine, of which only the report is at hand. The judges are the
published networks of ``diffinf weights fetch``; ``--recogniser`` gives the weights of a MobileFaceNet, which
says who is the same person as well, and adds the pose (:mod:`tests.benchmarks.outside`). Only figures are
kept, never a picture; ``--sheet`` writes one to look at, elsewhere.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from diffinf_core.config import RepairConfig
from diffinf_core.correction.edits import read_edit
from diffinf_core.correction.face_classes import KnownAges, known_classes
from diffinf_core.correction.face_judge import FaceJudge
from diffinf_core.correction.repair import RepairedPicture, repair
from diffinf_core.correction.repairer import Repairer
from diffinf_core.data.part import to_tensor
from diffinf_core.data.truth import open_truth
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.engine import open_run
from diffinf_core.influence.stage import ranking
from diffinf_core.records import Choice, Edit
from diffinf_core.runs.run import Run
from tests.benchmarks.measures import CPU, Figures, Measures, Pictures, Realism, row
from tests.benchmarks.outside import Outside
from tests.benchmarks.pages import put

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "photographs.json"
PAGE = ROOT / "docs" / "photographs.md"


# ---------------------------------------------------------------- a run's own pictures


@dataclass(frozen=True)
class Mislabelled:
    """The pictures with wrong labels among the top tau % of a run, the most suspicious first."""

    run: Run
    positions: NDArray[np.int64]
    #: indices (n,) of the right classes
    truth: NDArray[np.int64]

    @classmethod
    def of(cls, run: Run, most: int | None) -> Mislabelled:
        truth, table = _truth(run), ranking(run)
        order = np.argsort(table["rank"].to_numpy())
        high = [i for i in order if table["high"].iat[i] and truth[1][i]]
        chosen = np.array(high[:most], np.int64)
        return cls(run, chosen, truth[0][chosen])

    def edited(self, repairer: Repairer, config: RepairConfig) -> Iterator[Edit]:
        """The edits, made now where they are not made yet."""
        for start in range(0, len(self.positions), config.batch_size):
            *_, made = repairer.repair(self.positions[start : start + config.batch_size], config)
            assert isinstance(made, list)
            yield from made


def _truth(run: Run) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The right classes of a run's training pictures, and which of their labels are wrong."""
    truth = open_truth(run, "benchmark").training()
    assert truth is not None, "no labels were made wrong here"
    return truth


def of_run(
    name: str,
    folder: Path,
    settings: Sequence[str],
    most: int | None,
    sheet: Path | None,
    recogniser: Path | None,
) -> None:
    """Repair and judge under each of some settings."""
    run = Run.open(folder)
    repairer, chosen, measures = Repairer(run), Mislabelled.of(run, most), Measures()
    train = repairer.train
    x, y = train.images(chosen.positions), train.labels[chosen.positions]
    known = known_classes(train.classes, run.config.judge.classes)
    assert known is not None, "no published network knows these classes"
    judged = repairer.checks._judge
    right = np.flatnonzero(~_truth(run)[1])
    realism = Realism(measures, train.images(right), train.labels[right])
    originals = [realism(x, y), realism(x, chosen.truth)]
    column = run.config.data.group_column
    who = _people(train.table[column])[right] if column in train.table else None
    outside = Outside(recogniser, train.images(right), who) if recogniser else None
    shown = [x]
    for words in settings or [""]:
        changes = dict(pair.split("=", 1) for pair in words.split(",") if pair)
        usual = run.config.repair.model_dump(mode="json")
        config = RepairConfig(**{**usual, **changes})
        began = time.process_time()
        edits = list(chosen.edited(repairer, config))
        seconds = (time.process_time() - began) / len(edits)
        pictures = np.stack([read_edit(run, e.sample, e.version) for e in edits])
        seen = judged.judge(to_tensor(pictures), chosen.positions)
        figures = measures.pairs(x, pictures)
        found = row(figures, seen, y, train.classes)
        flags = [sorted(e.flags) for e in edits]
        found |= {"seconds": seconds, "unflagged": sum(not f for f in flags) / len(flags)}
        found["kid"] = [realism(pictures, y), *originals]
        found |= outside(x, pictures) if outside else {}
        if isinstance(known, KnownAges):
            rank = np.array(known.rank)
            near = np.abs(rank[y] - rank[chosen.truth]) == 1
            found["same_person_near"] = _among(near, figures["same_person"])
        if "sex" in train.table:
            sex = train.table["sex"].to_numpy()[chosen.positions]
            found["other_sex_right"] = _among(_sees(figures, sex), figures["other_sex"])
        keep(name, "edits", words or "as configured", found)
        shown.append(pictures)
        print(words, json.dumps(found), flush=True)
    if sheet:
        _sheet(sheet, shown)


def _people(column: pd.Series) -> NDArray[np.str_]:
    """Who is in each picture (N,); one of whom that is not known is of somebody else."""
    alone = [f"picture {i}" for i in range(len(column))]
    return np.where(column.isna() | (column == ""), alone, column.astype(str))


def _sees(figures: Figures, sex: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Of which originals (n,) the network sees the sex that a column says, "male" or "female"."""
    return (figures["male"] == 1) == (sex == "male")


def _among(which: NDArray[np.bool_], values: NDArray[np.float64]) -> list[float]:
    """The mean of a figure (n,) over some pictures, and how many they are."""
    return [float(values[which].mean()), int(which.sum())]


# ---------------------------------------------------------------- people it has never seen


def of_people(
    name: str,
    generator: Path,
    folder: Path,
    settings: Sequence[str],
    grey: bool,
    sheet: Path | None,
    recogniser: Path | None,
) -> None:
    """Ask for the other expression of people with two pictures each."""
    model, measures = load_autoencoder(generator), Measures()
    side = model.architecture.image_size
    table = pd.read_csv(folder / "labels.csv", dtype=str)
    x = np.stack([person_picture(folder / file, side, grey) for file in table["file"]])
    asked = ["happy" if label == "neutral" else "neutral" for label in table["label"]]
    names = ("happy", "neutral", "surprised")
    known = known_classes(names, {})
    assert known is not None
    judge, y = FaceJudge(known, CPU), np.array([names.index(label) for label in asked])
    before, shown = judge.judge(to_tensor(x)), [x]
    realism = Realism(measures, x, np.array([names.index(label) for label in table["label"]]))
    who, at = table["identity"].to_numpy(), np.arange(len(table))
    other = [np.flatnonzero((who == who[i]) & (at != i))[0] for i in at]
    spread = measures.pairs(x, x[other])["distance"]
    outside = Outside(recogniser, x, who.astype(str)) if recogniser else None
    turned = outside(x, x[other])["pose"] if outside else None
    for words in settings or [""]:
        changes = dict(pair.split("=", 1) for pair in words.split(",") if pair)
        made: list[RepairedPicture] = repair(
            list(map(Image.fromarray, x)), asked, generator=generator, settings=changes
        ).result()
        pictures = np.stack([edit.image for edit in made])
        seen = judge.judge(to_tensor(pictures))
        figures = measures.pairs(x, pictures)
        found = row(figures, seen, y, names)
        if "sex" in table:
            right = _sees(figures, table["sex"].to_numpy())
            found["other_sex_right"] = _among(right, figures["other_sex"])
        found["way"] = float((seen[at, y] > before[at, y]).mean())
        found["nearer"] = float((figures["distance"] < spread).mean())
        found["kid"] = [realism(pictures, y), realism(x, y)]
        if outside:
            found |= outside(x, pictures) | {"pose_other": turned}
        keep(name, "people", f"{words}{', grey' if grey else ''}", found)
        shown.append(pictures)
        print(words, json.dumps(found), flush=True)
    if sheet:
        _sheet(sheet, shown)


def person_picture(file: Path, side: int, grey: bool) -> Pictures:
    """A file as uint8 (side, side, 3)."""
    with Image.open(file) as opened:
        out = opened.convert("L" if grey else "RGB").convert("RGB")
        return np.asarray(out.resize((side, side), Image.Resampling.LANCZOS))


def _sheet(file: Path, rows: Sequence[Pictures], wide: int = 10, scale: int = 2) -> None:
    """Originals above their edits, to be looked at."""
    lines = []
    for start in range(0, len(rows[0]), wide):
        for pictures in rows:
            part = list(pictures[start : start + wide])
            part += [np.zeros_like(part[0])] * (wide - len(part))
            lines.append(np.concatenate(part, 1))
    image = Image.fromarray(np.concatenate(lines))
    image.resize((image.width * scale, image.height * scale)).save(file)


# ---------------------------------------------------------------- the arms


def review(rule: str, folder: Path) -> None:
    """Decide on each pair of a run that nobody has reviewed."""
    run = open_run(folder)
    assert not run.review.decisions(), "somebody has reviewed this run"
    choices = []
    for pair in run.queue.itertuples():
        action, label = str(pair.suggestion), str(pair.judge_class_before)
        if rule == "unflagged":
            action = "drop" if pair.flags else "accept"
        version = str(pair.version) if action == "accept" else None
        choices.append(
            Choice(str(pair.id), action, version, label if action == "relabel" else None)
        )
    run.review.decide_many(choices, f"rule: {rule}")
    print(pd.Series([choice.action for choice in choices]).value_counts().to_dict())


def arms(name: str, folder: Path) -> None:
    """Keep the accuracy of a run's retrained arms, and its difference to removal with a 95 % interval.

    Beside those of other runs at the same tau: a run is reviewed by one rule.
    """
    run = open_run(folder)
    table = run.compare.table("removal")
    rows = table[(table["section"] == "metric") & (table["name"] == "accuracy")]
    columns = ["arm", "seeds", "value", "sd", "difference", "low", "high"]
    found = json.loads(rows[columns].to_json(orient="records"))
    by = {decision.reviewer.removeprefix("rule: ") for decision in run.review.decisions().values()}
    for one in found:
        if one["arm"] == "reviewed":
            one["arm"] = f"reviewed, {', '.join(by)}"
    at = f"tau {run.config.influence.tau:g}"
    before = _kept().get(name, {}).get("arms", {}).get(at, [])
    ours = {row["arm"] for row in found}
    keep(name, "arms", at, found + [row for row in before if row["arm"] not in ours])


def reported(name: str, file: Path) -> None:
    """The same from a run's report: less removal by Welch's interval over the seeds, which are not paired."""
    told = json.loads(file.read_text())
    of = told["arms"]
    rows = []
    for arm, found in of.items():
        row: dict[str, Any] = {
            "arm": arm,
            "seeds": found["seeds"],
            "value": found["accuracy"],
            "sd": found["accuracy_sd"],
        }
        rows.append(
            row
            | dict(zip(("difference", "low", "high"), _welch(found, of["removal"]), strict=True))
        )
    keep(name, "arms", f"tau {told['influence']['tau']:g}", rows)


def _welch(a: dict[str, Any], b: dict[str, Any]) -> tuple[float, float, float]:
    """Difference of two mean accuracies, and its 95 % interval."""
    va, vb = (x["accuracy_sd"] ** 2 / x["seeds"] for x in (a, b))
    freedom = (va + vb) ** 2 / (va**2 / (a["seeds"] - 1) + vb**2 / (b["seeds"] - 1))
    difference = a["accuracy"] - b["accuracy"]
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(va + vb)
    return difference, difference - half, difference + half


def _kept() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(name: str, kind: str, what: str, found: Any) -> None:
    """Keep a figure of one kind under what it is of."""
    kept = _kept()
    kept.setdefault(name, {}).setdefault(kind, {})[what] = found
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def _line(what: str, found: dict[str, Any], posed: bool) -> str:
    classes = ", ".join(f"{name} {value:.2f}" for name, (value, _) in found["by_class"].items())
    same = f"{found['same_person']:.2f}"
    if (second := found.get("same_person_second")) is not None:
        same += f", {second:.2f} to the second network"
    if near := found.get("same_person_near"):
        same += f" ({near[0]:.2f} of the {near[1]} to the next class)"
    if (nearer := found.get("nearer")) is not None:
        same += f" ({nearer:.2f} nearer than their other photograph)"
    sex = f"{found['other_sex']:.2f}"
    if (right := found.get("other_sex_right")) and right[1] < found["n"]:
        sex += f" ({right[0]:.2f} of the {right[1]} whose sex it sees in the original)"
    return (
        f"| {what} | {found['n']} | {found['judge']:.2f} ({classes}) | {same} | "
        f"{found['lpips']:.3f} | {sex} | {found['colour_shift']:.1f} | {_kid(found)} |"
        + (f" {_pose(found)} |" if posed else "")
    )


def _pose(found: dict[str, Any]) -> str:
    if "pose" not in found:
        return "-"
    other = found.get("pose_other")
    return f"{found['pose']:.1f}" + (f" ({other:.1f})" if other is not None else "")


def _kid(found: dict[str, Any]) -> str:
    if "kid" not in found:
        return "-"
    edits, *originals = (f"{value:.2f}" for value in found["kid"])
    return f"{edits} ({' / '.join(originals)})"


def _arm(found: dict[str, Any]) -> str:
    accuracy = f"{100 * found['value']:.1f} ± {100 * found['sd']:.1f}"
    less = "-"
    if found["difference"] is not None and found["arm"] != "removal":
        d, low, high = (100 * found[key] for key in ("difference", "low", "high"))
        less = f"{d:+.1f} ({low:+.1f} to {high:+.1f})"
    return f"| {found['arm']} | {found['seeds']} | {accuracy} | {less} |"


def _looked(what: str, found: dict[str, Any]) -> str:
    each = "; ".join("{}, {}, {}".format(*counts) for counts in found["ratings"])
    auroc = "-" if found["auroc"] is None else f"{found['auroc']:.2f}"
    return f"| {what} | {found['n']} | {each} | {found['defective']} | {auroc} |"


def tables(kept: dict[str, Any]) -> str:
    """Everything that was kept, as Markdown."""
    head = (
        "| n | judge sees the assigned label | same person | LPIPS-Alex | other sex "
        "| colour, L\\*a\\*b\\* | KID |"
    )
    out: list[str] = []
    for name, kinds in kept.items():
        for kind, title in (
            ("edits", "wrong labels in the top tau %"),
            ("people", "people never seen"),
        ):
            if rows := kinds.get(kind):
                posed = any("pose" in found for found in rows.values())
                last = " pose, % |" if posed else ""
                out += [f"**{name}**, {title}:", "", f"| settings {head}{last}"]
                out += ["|---" * (8 + posed) + "|"]
                out += [_line(what, found, posed) for what, found in rows.items()] + [""]
        if errors := kinds.get("held out"):
            out += [f"**{name}**, squared error of v on photographs of the validation split:", ""]
            out += ["| generator | n | error |", "|---" * 3 + "|"]
            out += [
                f"| {what} | {of['n']} | {of['error']:.3f} |" for what, of in errors.items()
            ] + [""]
        for what, found in kinds.get("arms", {}).items():
            out += [f"**{name}**, arms at {what}, accuracy in per cent on the test split:", ""]
            out += ["| arm | seeds | accuracy | less removal, 95 % interval |", "|---|---|---|---|"]
            out += [*map(_arm, found), ""]
        for what, found in kinds.get("blind look", {}).items():
            out += [f"**{name}**, blind look, {what}:", ""]
            out += [
                "| pictures | n | clean, slight, defective | defective to all | AUROC |",
                "|---" * 5 + "|",
            ]
            out += [_looked(*one) for one in found.items()] + [""]
    return "\n".join(out).strip()


def main() -> None:
    """Measure what is asked for, or write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb")
    verbs_of = [verbs.add_parser(v) for v in ("edits", "people", "review", "arms", "report")]
    of_edits, of_others = verbs_of[:2]
    for one in verbs_of:
        one.add_argument("name")
        one.add_argument("place", type=Path)
    of_others.add_argument("folder", type=Path)
    of_others.add_argument("--grey", action="store_true")
    of_edits.add_argument("--most", type=int)
    for one in (of_edits, of_others):
        one.add_argument("--set", action="append", default=[], help="k=v,k=v; repeatable")
        one.add_argument("--sheet", type=Path)
        one.add_argument("--recogniser", type=Path, help="weights of a MobileFaceNet")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.verb == "edits":
        of_run(given.name, given.place, given.set, given.most, given.sheet, given.recogniser)
    elif given.verb == "people":
        of_people(
            given.name,
            given.place,
            given.folder,
            given.set,
            given.grey,
            given.sheet,
            given.recogniser,
        )
    elif given.verb == "review":
        review(given.name, given.place)
    elif given.verb == "arms":
        arms(given.name, given.place)
    elif given.verb == "report":
        reported(given.name, given.place)
    else:
        put(PAGE, "photographs", tables(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
