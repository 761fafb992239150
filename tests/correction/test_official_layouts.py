"""A whole run on a folder of 128-pixel faces with every published network in its place and full size.

The weights are random, so the pictures mean nothing; a user with the real files only has to place them.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from diffinf_core.config import make_config
from diffinf_core.data.rendered.demo import write_demo_faces
from diffinf_core.diffusion.published import PUBLISHED
from diffinf_core.engine import open_run
from diffinf_core.records import Edit
from tests.correction.test_faces import place
from tests.published import checkpoint_of, shaken


def test_ffhq128_facenet_segformer_and_lpips_repair_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.disk_usage(tmp_path).free < 8 << 30:
        pytest.skip("needs 8 GiB for weights")
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(tmp_path / "weights"))
    for kind in ("facenet", "segformer"):
        place(kind)
    checkpoint = tmp_path / "last.ckpt"
    torch.save(checkpoint_of(shaken(PUBLISHED["ffhq128"])), checkpoint)
    faces = tmp_path / "faces"
    for _ in write_demo_faces(faces, 90, seed=1, size=128, workers=1):
        pass
    rows = list(csv.DictReader((faces / "labels.csv").open()))
    assert {"expression", "identity"} <= set(rows[0])
    over = {
        "data": {
            "source": "folder",
            "path": str(faces),
            "image_size": 128,
            "label_column": "expression",
            "group_column": "identity",
        },
        "split": {"val_share": 0.2, "test_share": 0.2},
        "classifier": {"epochs": 2, "checkpoints": 2},
        "predictor": {"folds": 2, "epochs": 2},
        "influence": {"tau": 1},
        "repair": {"generator": str(checkpoint), "steps": 1, "batch_size": 2},
    }
    engine = open_run(tmp_path / "run", make_config("demo", over))
    for _ in engine.compute():
        pass
    queue = engine.queue
    assert len(queue) >= 1
    row = queue.iloc[0]
    edit = engine.pictures.record(str(row["id"]), str(row["version"]))
    assert edit.identity_name == "FaceNet VGGFace2"
    assert edit.perceptual_name == "LPIPS-Alex v0.1"
    assert {"identity", "structure", "perceptual", "influence"} <= set(edit.losses)
    assert edit.identity is not None and edit.changed_outside is not None
    assert edit.identity_own is not None and edit.identity_stranger is not None
    picture = engine.pictures.edit(edit.sample, edit.version)
    plain = engine.pictures.reconstruction(edit.sample, edit.version)
    assert picture.shape == plain.shape == (128, 128, 3) and picture.dtype == np.uint8
    # such a generator is unconditional: the edit follows the probe's direction in z_sem
    assert (engine.report()["repair"] or {})["label_conditioned"] is False
    assert list((tmp_path / "run" / "stages").glob("probe-*/probe.pt"))
    alone = [
        e
        for e in engine.repair.edit(edit.sample, {"probe": "never", "parsing": "none", "w_id": 0})
        if isinstance(e, Edit)
    ]
    assert (engine.pictures.edit(edit.sample, alone[0].version) != picture).any()
