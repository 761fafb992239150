"""Further pictures without labels, in the training of a generator on latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.cli.settings import with_full_paths
from diffinf_core.config import RunConfig
from diffinf_core.data.part import open_training, run_pictures
from diffinf_core.diffusion.architecture import LatentSpace
from diffinf_core.diffusion.conditions import covariate
from diffinf_core.diffusion.latent_source import MOST_FURTHER, Conditions, LatentSource
from diffinf_core.diffusion.latents import Latents
from diffinf_core.diffusion.on_latents import (
    LatentOptions,
    refuse_untrainable,
    train_on_latents,
)
from diffinf_core.diffusion.unlabelled import UnlabelledFolder
from diffinf_core.engine import train_generator
from diffinf_core.engine.own_generator import _options
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run
from tests.first_stages import write_first_stage

QUICK = {"steps": 2, "batch_size": 4, "evaluate_every": 2, "copies": 2, "label_free_after": 1}


def _blobs(n: int, side: int, seed: int) -> list[Image.Image]:
    """Pictures of which no two look alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 6, 6, 3), np.uint8)
    return [Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC) for c in coarse]


@pytest.fixture
def further(tmp_path: Path) -> Path:
    """Twelve pictures, one of them in a folder below."""
    folder = tmp_path / "further"
    (folder / "b").mkdir(parents=True)
    for i, picture in enumerate(_blobs(12, 80, 3)):
        picture.save(folder / ("b/11.png" if i == 11 else f"{i:02d}.png"))
    return folder


def _read(run: Run, folder: Path) -> UnlabelledFolder:
    found = UnlabelledFolder(run, folder)
    for _ in found.read():
        pass
    return found


def test_pictures_that_the_run_has_are_left_out_whatever_their_split(
    run_copy: Path, further: Path
) -> None:
    run = Run.open(run_copy)
    own = run_pictures(run)
    outside = np.setdiff1d(np.arange(len(own)), open_training(run).rows)
    for i, row in enumerate((open_training(run).rows[0], outside[0], outside[-1])):
        picture = Image.fromarray(own.read([int(row)])[0])
        # another file and another size, but the same picture
        picture.resize((200, 200)).save(further / f"copy{i}.jpg", quality=80)
    found = _read(run, further)
    assert found.figures() == {"n": 12, "known": 3, "bad": 0}
    opened = found.open(())
    assert len(opened) == 12 and opened.covariates.shape == (12, 0)
    seen = opened.images(np.array([11, 0]))
    with Image.open(further / "00.png") as first:
        want = np.asarray(first.resize((own.side, own.side), Image.Resampling.LANCZOS), float)
    assert np.abs(seen[1] - want).mean() < 4


def test_covariates_come_from_a_table_in_the_folder(run_copy: Path, further: Path) -> None:
    run = Run.open(run_copy)
    column = covariate(open_training(run).table, "skin")
    assert (_read(run, further).open((column,)).covariates == -1).all()
    one, other = column.classes[:2]
    lines = ["file,skin", f"00.png,{other}", f"00.png,{other}", "03.png,", f"b/11.png,{one}"]
    lines += ["05.png,unheard of", f"06.png,{one}", f"06.png,{other}"]
    (further / "labels.csv").write_text("\n".join(lines) + "\n")
    given = _read(run, further).open((column,)).covariates[:, 0]
    assert given.tolist() == [1, *[-1] * 10, 0]
    (further / "labels.csv").write_text("name,skin\n00.png,light\n")
    with pytest.raises(DiffInfError, match="no column 'file'"):
        UnlabelledFolder(run, further)


def test_what_was_read_is_kept_and_another_folder_is_read_anew(
    run_copy: Path, further: Path
) -> None:
    run = Run.open(run_copy)
    found = _read(run, further)
    assert not list(found.read())
    _blobs(1, 70, 9)[0].save(further / "zz.png")
    changed = UnlabelledFolder(run, further)
    assert changed.key != found.key and list(changed.read())
    assert changed.figures()["n"] == 13


def test_a_folder_without_new_pictures_is_named(run_copy: Path, tmp_path: Path) -> None:
    run, empty = Run.open(run_copy), tmp_path / "empty"
    with pytest.raises(DiffInfError, match="does not exist"):
        UnlabelledFolder(run, empty)
    empty.mkdir()
    with pytest.raises(DiffInfError, match="holds no pictures"):
        UnlabelledFolder(run, empty)
    picture = run_pictures(run).read([0])[0]
    Image.fromarray(picture).save(empty / "known.png")
    with pytest.raises(DiffInfError, match="the run has 1 of them, and 0 cannot be read"):
        _read(run, empty)
    (empty / "known.png").write_bytes(b"no picture")
    with pytest.raises(
        DiffInfError, match=r"has 0 of them, and 1 cannot be read, such as known.png"
    ):
        _read(run, empty)


def test_a_training_with_unlabelled_pictures_says_so_and_resumes(
    run_copy: Path, further: Path, tmp_path: Path
) -> None:
    run = Run.open(run_copy)
    options = LatentOptions(
        str(write_first_stage(tmp_path / "networks")), ("skin",), unlabelled=further
    )
    (further / "zz.jpg").write_bytes(b"no picture")
    skin = covariate(open_training(run).table, "skin")
    given = {**QUICK, "checkpoint_every": 1}
    work = train_on_latents(run, given, None, None, 0.25, options)
    notes = []
    for event in work:
        notes.append(event.note)
        if event.stage == "train-generator" and event.done == 1:
            break
    work.close()
    want = "12 unlabelled ones, 0 of them with covariates; left out are 0 that the run has and 1"
    assert any(want in note for note in notes)
    (further / "labels.csv").write_text(f"file,skin\n00.png,{skin.classes[0]}\n")
    with pytest.raises(DiffInfError, match="for other data"):
        for _ in train_on_latents(run, given, None, None, 0.25, options):
            pass
    (further / "labels.csv").unlink()
    for _ in train_on_latents(run, given, None, None, 0.25, options):
        pass
    card = read_json(run_copy / "generator" / "generator.json")
    assert card["steps_made"] == 2
    assert card["data"]["unlabelled"]["n"] == 12 and str(tmp_path) not in str(card)
    assert card["command"].endswith("--unlabelled further --set steps=2 --set batch_size=4 "
                                    "--set evaluate_every=2 --set copies=2 --set label_free_after=1 "
                                    "--set checkpoint_every=1 --width 0.25")  # fmt: skip
    assert card["figures"]["held_out"] < len(open_training(run))


def test_unlabelled_pictures_need_a_first_stage(run_copy: Path, further: Path) -> None:
    with pytest.raises(DiffInfError, match="first stage"):
        next(train_generator(None, {}, run_root=run_copy, unlabelled=further))


# ---------------------------------------------------------------- how often they are drawn


def _source(own: int, further: int, balance: float = 0.0) -> LatentSource:
    """Latents that hold the row they stand at."""

    def latents(n: int, begin: int, more: Latents | None = None) -> Latents:
        values = np.arange(begin, begin + n, dtype=np.float16)[:, None, None, None, None]
        shown = np.broadcast_to(values, (n, 2, 1, 2, 2))
        colours = np.broadcast_to(values[:, :, 0, :, 0], (n, 2, 3)).astype(np.float32)
        return Latents(shown, colours, space, more=more)

    space = LatentSpace(first_stage="x", name="x", factor=8, mean=(0.0,), deviation=(1.0,))
    labels = np.arange(own) % 2
    given = Conditions(labels, np.zeros((own, 1), np.int64)).followed_by(
        np.full((further, 1), 1, np.int64)
    )
    pictures = np.zeros((own, 16, 16, 3), np.uint8)
    return LatentSource(latents(own, 0, latents(further, own)), pictures, given, balance=balance)


def _drawn(source: LatentSource) -> NDArray[np.int64]:
    batch = source.batch(np.random.default_rng(0), 4000)
    rows = batch.target[:, 0, 0, 0].astype(int)
    assert batch.colour is not None
    np.testing.assert_array_equal(batch.colour[:, 0], rows)
    return rows


def test_they_are_drawn_as_often_as_others_but_never_crowd_them_out() -> None:
    few = _drawn(_source(200, 100))
    assert abs((few >= 200).mean() - 100 / 290) < 0.03
    many = _drawn(_source(40, 1000))
    assert abs((many >= 40).mean() - MOST_FURTHER) < 0.03
    balanced = _drawn(_source(40, 1000, balance=0.4))
    assert abs((balanced >= 40).mean() - 0.6 * MOST_FURTHER) < 0.03


def test_they_have_no_label_and_their_own_covariates_and_none_is_held_out() -> None:
    source = _source(40, 30)
    batch = source.batch(np.random.default_rng(1), 2000)
    rows = batch.target[:, 0, 0, 0].astype(int)
    assert (batch.label[rows >= 40, 0] == -1).all() and (batch.label[rows < 40, 0] >= 0).any()
    assert set(batch.label[rows >= 40, 1]) == {-1, 1} and set(batch.label[rows < 40, 1]) == {-1, 0}
    assert set(range(40, 70)) <= set(rows)
    assert len(source.held_out()) + len(source) == 70


# ---------------------------------------------------------------- the way for a run that trains by itself


def test_a_run_s_settings_name_the_folder_which_is_looked_into_before_anything_is_computed(
    further: Path, tmp_path: Path
) -> None:
    config = RunConfig.model_validate({"generator": {"unlabelled": str(further)}})
    assert _options(config).unlabelled == further
    options = LatentOptions(str(write_first_stage(tmp_path / "networks")), unlabelled=further)
    refuse_untrainable(QUICK, options)
    (further / "labels.csv").write_text("name,skin\n00.png,light\n")
    with pytest.raises(DiffInfError, match="no column 'file'"):
        refuse_untrainable(QUICK, options)
    for picture in further.rglob("*.png"):
        picture.unlink()
    with pytest.raises(DiffInfError, match="holds no pictures"):
        refuse_untrainable(QUICK, options)
    over = with_full_paths({"generator": {"unlabelled": "some"}})
    assert Path(over["generator"]["unlabelled"]).is_absolute()
