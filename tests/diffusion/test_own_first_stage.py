"""A first stage trained on the pictures: what it begins with, what training adds, and how it resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.data.part import to_tensor
from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.render import render_face
from diffinf_core.diffusion import own_first_stage
from diffinf_core.diffusion.first_stage import BESIDE, load_first_stage
from diffinf_core.diffusion.own_first_stage import (
    CHECKPOINT,
    FirstStageTraining,
    first_stage_figures,
    train_first_stage,
)
from diffinf_core.diffusion.small import FACTOR, SmallDecoder, SmallEncoder, start_from_components
from diffinf_core.diffusion.sources import PictureSource
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import file_digest, read_json

SIZE = 64
FEW = FirstStageTraining(minutes=None, steps=4)


@pytest.fixture(scope="module")
def drawn() -> NDArray[np.uint8]:
    """Rendered faces (80, 64, 64, 3)."""
    rng = np.random.default_rng(0)
    return np.stack([rendered(rng) for _ in range(80)])


def rendered(rng: np.random.Generator) -> NDArray[np.uint8]:
    person, nuisance = faces.sample_identity(rng), faces.sample_nuisance(rng)
    shown = faces.sample_expression(rng, int(rng.integers(len(faces.EXPRESSIONS))))
    return render_face(person, shown, 0.3, nuisance, SIZE)[0]


@torch.no_grad()
def test_linear_maps_begin_as_principal_components() -> None:
    """Blocks that vary in three ways come back exactly through four channels; latents are normalised."""
    rng = torch.Generator().manual_seed(0)
    base = torch.linalg.qr(torch.randn(3 * FACTOR**2, 3, generator=rng))[0].double()
    size = torch.tensor([3.0, 1.0, 0.3]).double()
    codes = torch.randn(600, 3, generator=rng).double()
    codes = (codes - codes.mean(0)) / codes.std(0, correction=0)
    blocks = 0.5 + 0.1 * (codes * size) @ base.T
    x = torch.nn.functional.fold(
        blocks.float().reshape(24, 25, -1).transpose(1, 2), 5 * FACTOR, FACTOR, stride=FACTOR
    )
    encoder, decoder = SmallEncoder(4).eval(), SmallDecoder(4).eval()
    start_from_components(encoder, decoder, x.split(7))
    z = encoder(x)
    assert z.shape == (24, 4, 5, 5)
    values = z[:, :3].transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(1), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(values.std(1, correction=0), torch.ones(3), atol=0.02, rtol=0)
    torch.testing.assert_close(decoder(z), x, atol=2e-3, rtol=0)


def held_out(pictures: NDArray[np.uint8]) -> Tensor:
    return PictureSource(pictures).held_out()


def test_training_brings_back_what_components_lose(
    drawn: NDArray[np.uint8], tmp_path: Path
) -> None:
    figures = {}
    for steps in (1, 60):
        out = tmp_path / str(steps)
        settings = FirstStageTraining(minutes=None, steps=steps)
        losses = [
            e.values["loss"] for e in train_first_stage(PictureSource(drawn), out, settings, "x")
        ]
        assert len(losses) == steps
        stage = load_first_stage(out / BESIDE)
        figures[steps] = first_stage_figures(stage, held_out(drawn))
        stored = read_json(out / "first_stage.json")
        assert stored["figures"]["psnr"] == pytest.approx(figures[steps]["psnr"], abs=0.05)
        assert stored["steps_made"] == steps and not (out / CHECKPOINT).exists()
        assert (stage.channels, stage.factor) == (16, FACTOR)
    assert figures[60]["lpips"] < 0.8 * figures[1]["lpips"] and figures[60]["psnr"] > 22


def test_the_figures_are_those_of_the_definition(drawn: NDArray[np.uint8]) -> None:
    class Shifted(torch.nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = torch.nn.Parameter(torch.tensor(by))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.by

    about = {"channels": 3, "factor": 1, "name": "shifted"}
    stage = own_first_stage.FirstStage(Shifted(0.0), Shifted(0.01), about)
    x = to_tensor(drawn[:4]) * 0.9
    found = first_stage_figures(stage, x)
    assert found["psnr"] == pytest.approx(40.0, abs=0.01) and found["held_out"] == 4
    assert 0 < found["lpips"] < 0.01


def test_a_killed_training_resumes_bit_for_bit(
    drawn: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_first_stage, "_CHECKPOINT_EVERY", 1)
    source = PictureSource(drawn)
    for _ in train_first_stage(source, tmp_path / "whole", FEW, "x"):
        pass
    out = tmp_path / "stopped"
    work = train_first_stage(source, out, FEW, "x")
    assert [next(work).done, next(work).done] == [1, 2]
    work.close()
    assert (out / CHECKPOINT).exists() and not (out / BESIDE).exists()
    with pytest.raises(DiffInfError, match="for other pictures; remove it"):
        next(train_first_stage(source, out, FEW, "y"))
    assert [e.done for e in train_first_stage(source, out, FEW, "x")] == [3, 4]
    assert file_digest(out / BESIDE) == file_digest(tmp_path / "whole" / BESIDE)
    assert not list(train_first_stage(source, out, FEW, "x"))
    with pytest.raises(DiffInfError, match="was trained on another data set"):
        list(train_first_stage(source, out, FEW, "y"))

    def half(file: Path, *_: object) -> None:
        file.write_bytes(b"half of a publication")
        raise KeyboardInterrupt

    killed = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(own_first_stage, "save_weights", half)
        list(train_first_stage(source, killed, FEW, "x"))
    list(train_first_stage(source, killed, FEW, "x"))
    assert file_digest(killed / BESIDE) == file_digest(tmp_path / "whole" / BESIDE)


def test_small_pictures_have_no_lpips(drawn: NDArray[np.uint8], tmp_path: Path) -> None:
    source = PictureSource(np.ascontiguousarray(drawn[:20, ::2, ::2]))
    *_, last = train_first_stage(source, tmp_path, FEW, "x")
    assert last.values["loss"] > 0
    assert set(read_json(tmp_path / "first_stage.json")["figures"]) == {"held_out", "psnr"}


def test_pictures_that_cannot_be_divided_are_refused(
    drawn: NDArray[np.uint8], tmp_path: Path
) -> None:
    source = PictureSource(np.ascontiguousarray(drawn[:20, :60, :60]))
    with pytest.raises(DiffInfError, match=r"60 pixels.*divisible by 8"):
        next(train_first_stage(source, tmp_path, FEW, "x"))
    assert not list(tmp_path.iterdir())
