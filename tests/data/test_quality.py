"""Quality of originals: closed forms, and a run in which some pictures are spoilt on purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from diffinf_core.config import make_config
from diffinf_core.data.quality import QUALITY, high, low, measures, read_quality, sharpness
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError


def test_sharpness_of_known_pictures() -> None:
    assert sharpness(np.full((8, 8), 0.3)) == 0
    ramp = np.tile(np.linspace(0, 1, 9), (9, 1))
    assert sharpness(ramp) == pytest.approx(0, abs=1e-12)
    board = np.indices((10, 10)).sum(0) % 2.0
    assert sharpness(board) == pytest.approx(4), "the Laplacian is 4 or -4 everywhere"
    assert sharpness(np.ones((2, 5))) == 0


def test_blur_exposure_and_size_are_seen() -> None:
    draw = np.random.default_rng(0)
    image = Image.fromarray(draw.integers(0, 256, (300, 200, 3), np.uint8))
    plain = measures(image, image.size)
    assert plain[4:] == [200, 300]
    assert measures(image.filter(ImageFilter.GaussianBlur(4)), image.size)[0] < plain[0] / 3
    dark = measures(image.point(lambda v: v // 5), image.size)
    assert dark[1] < plain[1] / 4 and dark[3] < 0.32
    white = measures(Image.new("RGB", (64, 64), "white"), (64, 64))
    assert white[:4] == pytest.approx([0, 1, 1, 1])


def test_fences_are_tukeys() -> None:
    values = np.exp(np.array([0.0, 1, 2, 3, 4, 20, -20, np.nan]))
    logs = np.array([0.0, 1, 2, 3, 4, 20, -20])
    first, third = np.percentile(logs, (25, 75))
    assert high(values).tolist() == [*(logs > third + 1.5 * (third - first)), False]
    assert low(values).tolist() == [*(logs < first - 1.5 * (third - first)), False]
    assert not high(np.full(5, 0.1)).any() and not low(np.full(5, np.nan)).any()


def test_spoilt_pictures_of_a_run_are_named(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    for label in ("a", "b"):
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        for i in range(40):
            array = draw.integers(0, 256, (80, 80, 3), np.uint8)
            Image.fromarray(array).save(folder / f"{i:02}.png")
    over = {"data": {"source": "folder", "path": str(tmp_path / "pictures"), "image_size": 32}}
    engine = open_run(tmp_path / "run", make_config("demo", over))
    with pytest.raises(DiffInfError):
        read_quality(engine.folder)
    list(engine.compute("data"))
    train = engine.training
    spoilt = dict(
        zip(("blurred", "dark", "bright", "odd aspect", "small", "gone"), train.ids, strict=False)
    )
    files = {
        kind: tmp_path / "pictures" / engine.pictures.described(s)["file"]
        for kind, s in spoilt.items()
    }
    originals = {kind: Image.open(file).convert("RGB") for kind, file in files.items()}
    originals["blurred"].filter(ImageFilter.GaussianBlur(3)).save(files["blurred"])
    originals["dark"].point(lambda v: v // 8).save(files["dark"])
    originals["bright"].point(lambda v: 250 + v // 64).save(files["bright"])
    originals["odd aspect"].resize((300, 80)).save(files["odd aspect"])
    originals["small"].resize((16, 16)).save(files["small"])
    files["gone"].unlink()
    with engine.folder.lock():
        list(QUALITY.compute(engine.folder))
    table, issues = read_quality(engine.folder)
    for kind, sample in spoilt.items():
        if kind != "gone":
            assert issues[kind][train.position(sample)], kind
    untouched = [i for i in range(len(train)) if train.ids[i] not in spoilt.values()]
    assert not issues.iloc[untouched].to_numpy().any()
    assert np.isnan(table["shorter side"][train.position(spoilt["gone"])])
    assert table["aspect"][train.position(spoilt["odd aspect"])] == pytest.approx(80 / 300)
    figures = QUALITY.folder(engine.folder).figures
    assert (figures["n"], figures["without_file"]) == (len(train), 1)


def test_a_killed_measuring_goes_on_where_it_was(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffinf_core.data import quality

    monkeypatch.setattr(quality, "SLICE", 32)
    folder = open_run(run_copy).folder
    events = QUALITY.compute(folder)
    while next(events).done < 64:
        pass
    events.close()
    kept = sorted(p.name for p in QUALITY.folder(folder).path.glob("slice-*"))
    assert len(kept) == 2
    done = [event.done for event in QUALITY.compute(folder)]
    assert done[0] == 64
    assert len(read_quality(folder)[0]) == len(open_run(run_copy).training)
    assert not list(QUALITY.folder(folder).path.glob("slice-*"))
