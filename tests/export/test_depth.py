"""More than eight bits go in and come out: the depth is the run's, and what is untouched keeps every bit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from torchvision.io import ImageReadMode, decode_image

from diffinf_core.config import make_config
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.export.dataset import RefinedDataset, read_export
from diffinf_core.export.deep import with_sixteen_bits
from diffinf_core.export.encoding import paste
from diffinf_core.export.folder import export_folder
from diffinf_core.export.marks import AI_EDITED
from diffinf_core.review.opening import open_journal
from diffinf_core.runs.run import Run
from tests.refined import version_id, write_edit

SIDE, SIZE = 128, 32


def stored(path: Path) -> NDArray[np.int64]:
    """The levels of a PNG as libpng reads them, (H, W, channels)."""
    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    levels = decode_image(content, ImageReadMode.UNCHANGED).permute(1, 2, 0)
    return levels.numpy().astype(np.int64)


def levels(depth: int, channels: int, seed: int = 0) -> NDArray[np.uint16]:
    """Smooth levels of a depth, (SIDE, SIDE, channels), with noise in the lowest bits."""
    rng = np.random.default_rng([seed, depth])
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    top = 1 << depth
    base = np.stack([0.2 + 0.4 * x, 0.3 + 0.4 * y, 0.2 + 0.2 * (x + y), 0 * x + 0.9], 2)
    noise = rng.integers(0, max(2, top >> 8), (SIDE, SIDE, 4))
    return (base * top + noise).astype(np.uint16)[..., :channels]


def deep_png(path: Path, pixels: NDArray[np.uint16], **options: object) -> None:
    """A PNG of sixteen bits per channel."""
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    out = io.BytesIO()
    shape = pixels.shape[:2] if mode == "L" else pixels.shape
    Image.fromarray(np.zeros(shape, np.uint8), mode).save(out, "PNG", **options)
    path.write_bytes(with_sixteen_bits(out.getvalue(), pixels))


def change() -> NDArray[np.float32]:
    """40 levels of 255 more, in the middle."""
    out = np.zeros((SIZE, SIZE, 3), np.float32)
    out[12:20, 12:20] = 40
    return out


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_of_any_channels_are_what_libpng_reads(tmp_path: Path, channels: int) -> None:
    given = levels(16, channels)
    deep_png(tmp_path / "a.png", given)
    assert (stored(tmp_path / "a.png") == given).all()


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("depth", [10, 12, 16])
@pytest.mark.parametrize("like", [False, True])
def test_an_edit_of_deep_colours_moves_by_its_depth_and_keeps_all_other_bits(
    tmp_path: Path, channels: int, depth: int, like: bool
) -> None:
    given = levels(depth, channels)
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "me")
    deep_png(tmp_path / "a.png", given, pnginfo=text, dpi=(300, 300), icc_profile=b"profile")
    done = paste(tmp_path / "a.png", change(), SIZE, {"Synthetic": "edited"}, like, depth)
    (tmp_path / "b.png").write_bytes(done.data)
    moved = stored(tmp_path / "b.png") - given
    colours = 1 if channels == 2 else 3
    assert (moved[56:72, 56:72, :colours] == 40 << (depth - 8)).all()
    assert not moved[..., colours:].any()
    moved[24:104, 24:104] = 0
    assert not moved.any()
    with Image.open(tmp_path / "b.png") as image:
        image.load()
        assert image.text["Author"] == "me" and image.text["Synthetic"] == "edited"
        assert image.info["icc_profile"] == b"profile" and AI_EDITED.encode() in done.data
        assert round(image.info["dpi"][0]) == 300


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_deep_grey_moves_by_its_depth(tmp_path: Path, name: str) -> None:
    given = levels(12, 1)[..., 0]
    Image.fromarray(given).save(tmp_path / name)
    done = paste(tmp_path / name, change(), SIZE, {}, depth=12)
    (tmp_path / f"b{done.suffix}").write_bytes(done.data)
    with Image.open(tmp_path / f"b{done.suffix}") as image:
        moved = np.asarray(image).astype(int) - given
    assert (moved[56:72, 56:72] == 40 << 4).all() and not moved[:24].any()


def test_a_full_level_is_the_depth_and_no_more(tmp_path: Path) -> None:
    deep_png(tmp_path / "a.png", np.full((SIDE, SIDE, 3), 1020, np.uint16))
    done = paste(tmp_path / "a.png", change(), SIZE, {}, depth=10)
    (tmp_path / "b.png").write_bytes(done.data)
    assert stored(tmp_path / "b.png").max() == 1023


def test_a_run_of_ten_bits_is_exported_and_read_back_with_ten_bits(tmp_path: Path) -> None:
    """The export is decoded as the run decoded its source: the same pixels, none of them black."""
    rows, source = [], tmp_path / "data"
    source.mkdir()
    for i in range(40):
        deep_png(source / f"{i:02d}.png", levels(10, 3, i))
        rows.append({"file": f"{i:02d}.png", "label": "ab"[i % 2]})
    pd.DataFrame(rows).to_csv(source / "labels.csv", index=False)
    given = {
        "data": {"source": "folder", "path": str(source), "image_size": SIZE},
        "noise": {"rate": 0},
        "split": {"val_share": 0.25, "test_share": 0.25},
    }
    run = Run.prepare(tmp_path / "run", make_config("demo", given)).store()
    for _ in DATA.compute(run):
        pass
    assert DATA.folder(run).figures["bit_depth"] == 10
    train = open_training(run)
    before = train.images([0])[0]
    after = before + change().astype(np.uint8)
    write_edit(run, str(train.ids[0]), version_id(1), after, reconstruction=before)
    journal = open_journal(run)
    journal.decide(str(train.ids[0]), "accept", "ann", version=version_id(1))
    journal.close()
    for _ in export_folder(run, tmp_path / "out", audit=True):
        pass
    export = read_export(tmp_path / "out")
    export.verify()
    assert export.manifest["bit_depth"] == 10
    data = RefinedDataset(tmp_path / "out", transform=np.asarray)
    row = export.table.set_index("id").loc[str(train.ids[0])]
    moved = stored(tmp_path / "out" / row["file"]) - stored(source / row["original"])
    assert (moved[56:72, 56:72] == 40 << 2).all()
    for i, (id_, kind) in enumerate(zip(export.table["id"], export.table["source"], strict=True)):
        expected = after if kind == "repaired" else train.images([train.position(id_)])[0]
        shown = np.asarray(Image.fromarray(np.asarray(data[i][0])).resize((SIZE, SIZE)), int)
        assert abs(shown.mean() - expected.mean()) < 2 and shown.mean() > 50
