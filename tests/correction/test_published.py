"""Published networks of faces: their layers as TensorFlow computes them, and what they see in real faces."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diffinf_core.correction.face_judge import FaceAges, expression_networks
from diffinf_core.correction.published.age import FaceAge
from diffinf_core.correction.published.dlib import DlibAge, DlibIdentity
from diffinf_core.correction.published.expression import FaceExpression
from diffinf_core.correction.published.layers import (
    SameConv,
    halved,
    load_published,
    padded_same,
    resized_tf,
    without_mean_colour,
)
from diffinf_core.correction.published.mini_xception import MiniXception
from diffinf_core.data.overlay import read_picture
from diffinf_core.data.part import to_tensor
from diffinf_core.records import DiffInfError
from diffinf_core.weights.lpips import LpipsAlex
from tests.correction.judges import place_judges

DATA = Path(__file__).parents[3] / "shared" / "data"
NETWORKS = (FaceExpression, FaceAge, DlibIdentity, DlibAge, MiniXception, LpipsAlex)


def first(out: Tensor | tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """The first tensor of an output."""
    return out if isinstance(out, Tensor) else out[0]


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_reach_the_pictures_and_rows_do_not_mix(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = network().eval()
    for name, buffer in net.named_buffers():
        if name.startswith("lin"):  # empty until weights are loaded
            nn.init.ones_(buffer)
    for side in (64, 112, 128, 150):
        x = (torch.rand(3, 3, side, side) * 2 - 1).requires_grad_(True)
        out = first(net(x))
        assert out.shape[0] == 3 and out.isfinite().all()
        (g,) = torch.autograd.grad(out[1].square().sum(), x)
        assert g[1].abs().sum() > 0 and g[[0, 2]].abs().sum() == 0


def test_same_padding_is_tensorflows() -> None:
    # sizes, kernels and strides with the padding that TensorFlow's documentation computes
    for n, kernel, stride, before, after in (
        (4, 3, 2, 0, 1), (5, 3, 2, 1, 1), (5, 3, 1, 1, 1), (6, 1, 2, 0, 0), (7, 7, 2, 3, 3),
    ):  # fmt: skip
        padded = padded_same(torch.ones(1, 1, n, n), kernel, stride)
        ones = padded[0, 0].sum(0).nonzero().flatten()
        assert (int(ones[0]), padded.shape[-1] - 1 - int(ones[-1])) == (before, after)
    conv = SameConv(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    assert conv(torch.ones(1, 1, 4, 4))[0, 0].tolist() == [[9, 6], [6, 4]]
    assert (halved(-torch.ones(1, 1, 4, 4)) == -1).all()  # the padding is never the maximum


def test_the_old_grid_of_tensorflow() -> None:
    x = torch.arange(6.0).expand(1, 1, 6, 6)
    # target i looks at source i * 6 / 4, and the last column repeats
    torch.testing.assert_close(resized_tf(x, 4)[0, 0, 0], torch.tensor([0, 1.5, 3, 4.5]))
    torch.testing.assert_close(resized_tf(x, 12)[0, 0, 0, -2:], torch.tensor([5.0, 5.0]))
    assert resized_tf(x, 6) is x


def test_the_mean_colour_is_grey_to_the_networks() -> None:
    colour = torch.tensor([122.782, 117.001, 104.298]) / 127.5 - 1
    x = colour[:, None, None].expand(1, 3, 8, 8)
    assert without_mean_colour(x, 255.0).abs().max() < 1e-6


def test_the_age_of_dlib_is_the_mean_of_its_classes() -> None:
    torch.manual_seed(0)
    net = DlibAge().eval()
    nn.init.zeros_(net.fc.weight)
    nn.init.zeros_(net.fc.bias)
    x = torch.zeros(1, 3, 64, 64)
    torch.testing.assert_close(net.expected(x), torch.tensor([(0.25 + 80 * 81 / 2) / 81]))
    net.fc.bias.data[33] = 50
    torch.testing.assert_close(net.expected(x), torch.tensor([33.0]))


def test_weights_are_loaded_by_prefix_and_refused_in_one_sentence(tmp_path: Path) -> None:
    net = DlibIdentity()
    state = {f"recognition.{k}": v.half() for k, v in net.state_dict().items()}
    file = tmp_path / "face-api.safetensors"
    with pytest.raises(DiffInfError, match="weights fetch face-api"):
        load_published(DlibIdentity(), file, "recognition.")
    save_file({**state, "expression.fc.bias": torch.zeros(7)}, file)
    found = load_published(DlibIdentity(), file, "recognition.")
    torch.testing.assert_close(found.fc.weight.half(), net.fc.weight.half())
    assert not found.training and not found.fc.weight.requires_grad
    for prefix, data in (("age_gender.", None), ("recognition.", b"short")):
        if data is not None:
            file.write_bytes(data)
        with pytest.raises(DiffInfError, match="not a readable file of DlibIdentity"):
            load_published(DlibIdentity(), file, prefix)


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published weights in their places."""
    if not (DATA / "weights" / "recognition.safetensors").is_file():
        pytest.skip("shared/data/weights is not here")
    place_judges(tmp_path, monkeypatch, DATA / "weights")
    return tmp_path


def london(kind: str, count: int = 24) -> Tensor:
    """Crops of the London set, (B, 3, 128, 128)."""
    files = sorted((DATA / "london").glob(f"*_{kind}.jpg"))[:count]
    pictures = to_tensor(np.stack([read_picture(f) for f in files]))
    return nn.functional.interpolate(pictures, (128, 128), mode="area")


@torch.no_grad()
def test_the_networks_see_what_photographs_show(real: Path) -> None:
    neutral, smiling = london("neutral"), london("smiling")
    for net in expression_networks():
        odds = [net(x).log_softmax(1)[:, net.CLASSES.index("happy")] for x in (neutral, smiling)]
        assert (odds[1] > odds[0]).float().mean() >= 0.9
    with open(DATA / "london" / "labels.csv", encoding="utf-8-sig", newline="") as file:
        people = {row["file"]: row for row in csv.DictReader(file)}
    own = [people[f.name] for f in sorted((DATA / "london").glob("*_neutral.jpg"))[:24]]
    years, male = FaceAges()(neutral)
    truth = np.array([float(row["age"]) for row in own])
    error = np.abs(years.numpy() - truth)
    assert np.nanmean(error) <= 6.5
    sex = np.array([row["sex"].lower().startswith("m") for row in own])
    assert ((male > 0).numpy() == sex).mean() >= 0.9
    net = load_published(DlibIdentity(), real / "face-api.safetensors", "recognition.")
    one, two = net(neutral), net(smiling)
    apart = torch.cdist(one, two)
    others = apart[~torch.eye(len(one), dtype=torch.bool)]
    assert apart.diagonal().quantile(0.9) < others.quantile(0.05)


def test_the_placed_weights_are_the_ones_that_were_measured(real: Path) -> None:
    held = load_file(DATA / "weights" / "expression.safetensors")
    placed = load_file(real / "face-api.safetensors")
    assert all(torch.equal(placed[f"expression.{k}"], v) for k, v in held.items())
