"""Is it the same person? Asked of a face-recognition network that no repair ever saw:

    python -m tests.benchmarks.outside_identity RUN --weights mobilefacenet.safetensors
        [--points "38.3,37.6 88.9,37.5 63.3,67.0 40.7,89.4 86.3,89.4"]

For a run on aligned photographs. The network is a MobileFaceNet (Chen et al. 2018) for 112 x 96 pictures;
``--points`` are the five landmarks of the data set (eyes, nose, mouth corners) at 128 pixels. Prints the
cosines of original and edit, of original and plain reconstruction, and of strangers, and keeps them in
``results/outside_identity.json`` and on the page.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.data.part import to_tensor
from diffinf_core.engine import open_run
from tests.benchmarks.pages import REPAIR, put

RESULTS = Path(__file__).parent / "results" / "outside_identity.json"
#: where recognition networks of this family want the five points, in 96 x 112
TEMPLATE = ((30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655),
            (62.7299, 92.2041))  # fmt: skip
HEIGHT, WIDTH = 112, 96
#: expansion, channels, repeats, stride
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class _Block(nn.Module):
    def __init__(
        self, i: int, o: int, k: int | tuple[int, int], s: int, p: int, groups: int, active: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, s, p, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(o)
        self.prelu = nn.PReLU(o) if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.bn(self.conv(x)))


class _Bottleneck(nn.Module):
    def __init__(self, i: int, o: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = i * expansion
        self.same = stride == 1 and i == o
        self.conv = nn.Sequential(
            nn.Conv2d(i, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide), nn.PReLU(wide),
            nn.Conv2d(wide, o, 1, bias=False), nn.BatchNorm2d(o),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.same else self.conv(x)


class MobileFaceNet(nn.Module):
    """Unit vectors (B, 128) of pictures (B, 3, 112, 96) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _Block(3, 64, 3, 2, 1, 1, True)
        self.dw_conv1 = _Block(64, 64, 3, 1, 1, 64, True)
        blocks, channels = [], 64
        for expansion, out, repeats, stride in BOTTLENECKS:
            for i in range(repeats):
                blocks.append(_Bottleneck(channels, out, stride if i == 0 else 1, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = _Block(128, 512, 1, 1, 0, 1, True)
        self.linear7 = _Block(512, 512, (7, 6), 1, 0, 512, False)
        self.linear1 = _Block(512, 128, 1, 1, 0, 1, False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.dw_conv1(self.conv1(x)))
        return F.normalize(self.linear1(self.linear7(self.conv2(x))).flatten(1), dim=1)


def warp(x: Tensor, points: np.ndarray) -> Tensor:
    """Pictures (B, 3, S, S) so that points (5, 2), at 128 pixels, lie where the network wants them."""
    side = x.shape[-1]
    source, goal = points * side / 128, np.array(TEMPLATE)
    # similarity: source = [[a, -b], [b, a]] goal + shift, by least squares
    rows = [[u, -v, 1, 0] for u, v in goal] + [[v, u, 0, 1] for u, v in goal]
    wanted = np.concatenate([source[:, 0], source[:, 1]])
    (a, b, dx, dy), *_ = np.linalg.lstsq(np.array(rows), wanted, rcond=None)
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    grid = np.stack([a * u - b * v + dx, b * u + a * v + dy], -1)
    grid = (grid + 0.5) / side * 2 - 1
    where = torch.from_numpy(grid).float().expand(len(x), -1, -1, -1)
    return F.grid_sample(x, where, mode="bilinear", padding_mode="border", align_corners=False)


def block(found: dict[str, float]) -> str:
    """The page's sentence."""
    return (
        f"On {found['n']:.0f} repaired photographs, a recognition network that took no part (MobileFaceNet) "
        f"gives original and edit a cosine of {found['edit_mean']:.2f} (10th percentile "
        f"{found['edit_p10']:.2f}), original and plain reconstruction "
        f"{found['reconstruction_mean']:.2f}, strangers {found['strangers_mean']:.2f} (99th percentile "
        f"{found['strangers_p99']:.2f}); {found['nearer_than_strangers']:.0%} of the edits are nearer "
        "to their original than any other picture of the run's repaired ones is."
    )


@torch.no_grad()
def main() -> None:
    """Measure, store, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--points", default="38.3,37.6 88.9,37.5 63.3,67.0 40.7,89.4 86.3,89.4")
    given = parser.parse_args()
    torch.set_num_threads(1)
    points = np.array([[float(v) for v in p.split(",")] for p in given.points.split()])
    net = MobileFaceNet()
    net.load_state_dict(safetensors.torch.load_file(given.weights))
    net.eval()
    run = open_run(given.run)
    originals, edits, plain = [], [], []
    for row in run.queue.itertuples():
        edit = run.pictures.edit(str(row.id), str(row.version))
        reconstruction = run.pictures.reconstruction(str(row.id), str(row.version))
        originals.append(run.pictures.original(str(row.id)))
        edits.append(edit)
        plain.append(reconstruction)
    kinds = (to_tensor(np.stack(v)) for v in (originals, edits, plain))
    o, e, p = (torch.cat([net(warp(b, points)) for b in x.split(64)]) for x in kinds)
    same, again, all_ = (o * e).sum(1), (o * p).sum(1), o @ o.T
    strangers = all_[~torch.eye(len(o), dtype=torch.bool)]
    nearest = (all_ - 2 * torch.eye(len(o))).amax(1)
    found = {
        "n": len(o),
        "edit_mean": float(same.mean()),
        "edit_p10": float(same.quantile(0.1)),
        "reconstruction_mean": float(again.mean()),
        "strangers_mean": float(strangers.mean()),
        "strangers_p99": float(np.quantile(strangers.numpy(), 0.99)),
        "nearer_than_strangers": float((same > nearest).float().mean()),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    text = block(found)
    print(text)
    put(REPAIR, "outside", text)


if __name__ == "__main__":
    main()
