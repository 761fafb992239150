"""What costs what at 70,000 samples: each item as it was before beside what it is now.

``python -m tests.benchmarks.house`` writes ``results/house.json`` and the table in docs/performance.md.
"Before" are small copies of the old way; both run interleaved, and the median counts.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffinf_core.classifier.network import build_classifier
from diffinf_core.classifier.training import read_ahead
from diffinf_core.config import change, to_yaml
from diffinf_core.correction.edits import edit_folder, load_edit
from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.people import People
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.decode import decode
from diffinf_core.data.overlay import Pictures
from diffinf_core.data.part import Part, open_training, to_tensor
from diffinf_core.data.pictures import decode_all
from diffinf_core.engine import open_run
from diffinf_core.experiments.arms import arm_key
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.stage import INFLUENCE, ranking, read_scores
from diffinf_core.records import Choice, Edit
from diffinf_core.report.explore import STATES, states
from diffinf_core.review import reading
from diffinf_core.review.queue import edit_rows
from diffinf_core.runs.files import create_array, digest, read_json, write_json
from diffinf_core.runs.run import CONFIG_FILE, Run, StageFolder
from tests.benchmarks.explore import made_up_run
from tests.benchmarks.pages import ROOT, put

RESULTS = Path(__file__).parent / "results" / "house.json"
DOC = ROOT / "docs" / "performance.md"
SAMPLES, EDITS, SOURCES = 70_000, 7_000, 600


def compared(before: Callable[[], object], now: Callable[[], object], rounds: int) -> list[float]:
    """Median seconds of either, interleaved, and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for times, work in zip(seconds, (before, now), strict=True):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
    old, new = map(statistics.median, seconds)
    return [round(old, 5), round(new, 5), round(old / new, 1)]


def people() -> list[float]:
    """The other pictures of each edited sample's person."""
    rng = np.random.default_rng(0)
    names = np.array([f"person {k:06d}" for k in rng.integers(0, SAMPLES // 4, SAMPLES)])
    table = pd.DataFrame({"id": np.arange(SAMPLES).astype(str), "file": "", "who": names})
    pictures = Pictures(
        np.zeros((1, 8, 8, 3), np.uint8), np.zeros(0, np.int64), np.zeros((0, 8, 8, 3), np.uint8)
    )
    labels = np.zeros(SAMPLES, np.int64)
    part = Part(table["id"].to_numpy(str), labels, ("a",), table, pictures, labels, "who")
    someone = People(
        StageFolder(Path("nowhere"), ""), part, torch.nn.Identity(), torch.device("cpu")
    )
    edited = rng.integers(0, SAMPLES, EDITS // 70)  # a hundredth; both are linear in the edits

    def before() -> list[NDArray[np.int64]]:
        found = [np.flatnonzero(names == names[i]) for i in edited]
        return [rows[rows != i] for rows, i in zip(found, edited, strict=True)]

    def now() -> list[NDArray[np.int64]]:
        return [someone.others_of(int(i)) for i in edited]

    assert all((a == b).all() for a, b in zip(before(), now(), strict=True))
    return compared(before, now, 5)


def decoding(folder: Path) -> list[float]:
    """Photographs of 640 x 480 to 64 pixels."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(SOURCES):
        noise = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        files.append(f"{i:04d}.jpg")
        Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(folder / files[-1])

    def before() -> None:
        with tempfile.TemporaryDirectory() as target:
            images = create_array(Path(target) / "images.npy", (SOURCES, 64, 64, 3), np.uint8)
            for i, name in enumerate(files):
                images[i] = decode(folder / name, 64)

    def now() -> None:
        with tempfile.TemporaryDirectory() as target:
            for _ in decode_all(folder, files, Path(target), 64):
                pass

    return compared(before, now, 5)


class _Mapped:
    """A training set in a memory map, as a run has it."""

    def __init__(self, file: Path, count: int) -> None:
        rng = np.random.default_rng(0)
        np.save(file, rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8))
        self._images = np.load(file, mmap_mode="r")
        self.labels = rng.integers(0, 4, count)

    def __len__(self) -> int:
        return len(self.labels)

    def tensors(self, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        return to_tensor(np.array(self._images[np.asarray(rows)]))


def training(folder: Path) -> list[float]:
    """An epoch of the small classifier over 2,048 pictures, read when asked for and read ahead."""
    data = _Mapped(folder / "pictures.npy", 2048)
    net, where = build_classifier("small", 4), torch.device("cpu")
    net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    batches = list(torch.randperm(len(data)).split(64))
    labels = torch.from_numpy(data.labels)

    def epoch(pictures: Callable[[], object]) -> None:
        for rows, x in zip(batches, pictures(), strict=True):  # type: ignore[call-overload]
            loss = torch.nn.functional.cross_entropy(net(x), labels[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return compared(
        lambda: epoch(lambda: (data.tensors(rows.numpy()) for rows in batches)),
        lambda: epoch(lambda: read_ahead(data, batches, where)),
        3,
    )


def state_names() -> list[float]:
    """What the map of the Explore page is named by: the state of every sample."""
    all_states = np.random.default_rng(0).integers(0, 7, SAMPLES).astype(np.uint8)
    return compared(lambda: digest(all_states.tolist()), lambda: digest(all_states.tobytes()), 15)


def with_edits(run: Run) -> Run:
    """A made-up run after a made-up repair of its most suspicious samples: records without pictures."""
    generator = run.root / "generator.safetensors"
    generator.write_bytes(b"made up")
    run = Run(run.root, change(run.config, {"repair": {"generator": str(generator)}}))
    (run.root / CONFIG_FILE).write_text(to_yaml(run.config))
    for stage in (PREDICTOR, JUDGE):
        stage.folder(run).finish()
    rng, train = np.random.default_rng(1), open_training(run)
    settings, versions = run.config.repair.model_dump(mode="json"), {}
    for i, sample in enumerate(ranking(run).sort_values("rank")["id"].head(EDITS)):
        before, after = rng.dirichlet(np.ones(len(train.classes)), 2).tolist()
        edit = Edit(
            sample=sample, version=f"{i:016x}", label=train.sample(train.position(sample)).label,
            settings=settings, generator="g", identity_name="i", perceptual_name="p", judge_name="j",
            identity=rng.random(), perceptual=rng.random(), perceptual_floor=0.01, ssim=0.9, l1=0.1,
            h_before=1.0, h_after=0.5, influence_before=1.0, influence_after=0.5, judge_before=before,
            judge_after=after, classifier_before=before, classifier_after=after,
            losses={name: rng.random(50).tolist() for name in ("influence", "identity", "perceptual")},
            flags={"blurred": "0.2"} if i % 9 == 0 else {}, seconds=1.0,
        )  # fmt: skip
        versions[sample] = edit.version
        folder = edit_folder(run, sample, edit.version)
        folder.mkdir(parents=True)
        (folder / "edit.json").write_text(json.dumps(edit.as_dict()))
    repair = REPAIR.folder(run)
    write_json(repair / "versions.json", versions)
    repair.finish({"n": EDITS, "label_conditioned": False, "seconds_of_edits": float(EDITS)})
    return run


def scores(run: Run) -> list[float]:
    """The table of scores, as every ranking reads it."""
    file = INFLUENCE.folder(run) / "scores.csv"
    return compared(lambda: pd.read_csv(file, dtype={"id": str}), lambda: read_scores(run), 9)


def edit_figures(run: Run) -> list[float]:
    """The figures of every edit, as the report of a run opened anew needs them."""

    def before() -> float:
        versions = read_json(REPAIR.folder(run) / "versions.json")
        return float(np.mean([load_edit(run, s, v).perceptual for s, v in versions.items()]))

    def now() -> float:
        return float(edit_rows(run)["perceptual"].to_numpy().mean())

    assert before() == now()  # the rows are kept from here on
    return compared(before, now, 5)


def decisions(run: Run) -> dict[str, list[float]]:
    """What is asked of a review in which every sample is decided."""
    opened = open_run(run.root)
    ids = opened.training.ids.tolist()
    choices = [Choice(sample, "drop" if i % 2 else "keep") for i, sample in enumerate(ids)]
    opened.review.decide_many(choices, "ann")
    samples, standing = opened.explore.samples(), opened.review.decisions()

    def key_before() -> str:
        reading._readings.clear()  # every reader began with the first line
        return arm_key(run, "reviewed")

    def states_before() -> NDArray[np.uint8]:
        index = {s: STATES.index(d.action) for s, d in standing.items()}
        return np.asarray(samples.table["id"].map(index).fillna(0), np.uint8)

    assert (states_before() == states(samples, standing)).all()
    return {
        "key of an arm that follows 70,000 decisions": compared(
            key_before, lambda: arm_key(run, "reviewed"), 5
        ),
        "state of every sample": compared(states_before, lambda: states(samples, standing), 9),
    }


def table(found: dict[str, list[float]]) -> str:
    """The page's table."""
    rows = [
        f"| {work} | {1e3 * before:,.1f} ms | {1e3 * now:,.1f} ms | {ratio:,.1f} |"
        for work, (before, now, ratio) in found.items()
    ]
    return "\n".join(["| | before | now | ratio |", "|---|---|---|---|", *rows])


def main() -> None:
    """Measure everything and write it down."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        items = {
            "a person's other pictures, 100 edits": people(),
            "decoding 600 photographs of 640 x 480": decoding(folder / "source"),
            "an epoch over 2,048 pictures, on the processor": training(folder),
            "naming the state of every sample": state_names(),
        }
        run = with_edits(made_up_run(folder, SAMPLES))
        time.sleep(2)  # a table that was just written is not kept
        items["the table of scores"] = scores(run)
        items["figures of 7,000 edits for the report"] = edit_figures(run)
        items |= decisions(run)
    about = {
        "samples": SAMPLES,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "columns": ["seconds before", "seconds now", "ratio"],
    }
    RESULTS.write_text(json.dumps(about | items, indent=1) + "\n")
    put(DOC, "house", table(items))
    print(table(items))


if __name__ == "__main__":
    main()
