"""Small runs whose files were drawn and not computed: a data stage, edits, decisions. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from diffinf_core.config import make_config
from diffinf_core.correction.edits import publish_edit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.ingest import DATA, source_folder
from diffinf_core.records import Edit
from diffinf_core.runs.files import write_json, write_table
from diffinf_core.runs.run import Run

CLASSES = ("happy", "neutral", "sad")
SIDE = 32


def sample_id(number: int) -> str:
    """The id of a made-up sample."""
    return f"{number:012x}"


def version_id(number: int) -> str:
    """The name of a made-up version."""
    return f"{number:016x}"


def plain(*key: int) -> np.ndarray:
    """A picture (SIDE, SIDE, 3) of one colour, which is a hash of the key."""
    colour = np.random.default_rng([*key]).integers(0, 256, 3, np.uint8)
    return np.broadcast_to(colour, (SIDE, SIDE, 3)).copy()


def made_up_run(root: Path, labels: Sequence[str], others: int = 2) -> Run:
    """A run of training samples with these labels; ``others`` are in the test split, before them.

    The source folder holds a PNG of each, the truth says that all labels are right.
    """
    run = Run.prepare(root, make_config("demo", {"data": {"image_size": SIDE}})).store()
    source = source_folder(run)
    n = others + len(labels)
    names = [*(CLASSES[i % len(CLASSES)] for i in range(others)), *labels]
    table = pd.DataFrame(
        {
            "id": [sample_id(i) for i in range(n)],
            "file": [f"{i}.png" for i in range(n)],
            "label": names,
            "split": ["test"] * others + ["train"] * len(labels),
        }
    )
    images = np.stack([plain(0, i) for i in range(n)])
    source.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(source / f"{i}.png")
    data = DATA.folder(run)
    write_table(data / "samples.csv", table)
    write_json(data / "classes.json", list(CLASSES))
    np.save(data / "images.npy", images)
    truth = pd.DataFrame({"id": table["id"], "clean": names, "flipped": 0})
    write_table(data / "truth" / "truth.csv", truth)
    data.finish({"n": n, "n_train": len(labels), "classes": list(CLASSES), "noise_rate": 0.0})
    return run


def write_edit(
    run: Run,
    sample: str,
    version: str,
    image: np.ndarray,
    flagged: bool = False,
    reconstruction: np.ndarray | None = None,
) -> None:
    """One version of a sample's edit; the plain reconstruction is the original unless another is given."""
    if reconstruction is None:
        reconstruction = plain(0, int(sample, 16))
    third = [1 / 3] * 3
    edit = Edit(
        sample=sample, version=version, label=CLASSES[0], settings={"w_id": 1.0}, generator="g",
        identity_name="i", perceptual_name="p", judge_name="j", identity=None, perceptual=0.1,
        perceptual_floor=0.0, ssim=0.9, l1=0.1, h_before=1.0, h_after=0.5, influence_before=1.0,
        influence_after=0.5, judge_before=third, judge_after=third, classifier_before=third,
        classifier_after=third, losses={}, flags={"blurred": "0.2"} if flagged else {}, seconds=1.0,
    )  # fmt: skip
    publish_edit(run, edit, image, reconstruction)


def propose(run: Run, versions: Mapping[str, str]) -> None:
    """Finish the repair stage with these proposed versions."""
    stage = REPAIR.folder(run)
    write_json(stage / "versions.json", dict(versions))
    stage.finish({"n": len(versions)})
