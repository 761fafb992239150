"""CIFAR-10 as a benchmark's problem, to check methods against the figures of their authors.

Reads the binary version (https://www.cs.toronto.edu/~kriz/cifar.html, ``cifar-10-binary.tar.gz``); the Python
version is made of pickles and is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.baselines import Method, Recipe, Task
from diffinf_core.baselines.views import strong_view, weak_view
from diffinf_core.classifier.subset import Subset
from diffinf_core.data.noise import add_inclusive_noise, add_symmetric_noise
from diffinf_core.data.part import to_tensor
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import file_digest

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILES = ("test_batch.bin",)
_SIDE = 32
_RECORD = 1 + 3 * _SIDE**2
#: pixels that a weak view shifts by, as in the literature
_SHIFT = 4
#: fraction of the training split that chooses the best epoch; its labels are noisy, as in ELR and SOP
_VALIDATION = 0.1


class Pictures:
    """Labelled pictures in CIFAR-10's binary files, mapped from the disk."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._parts = [_records(folder / name) for name in names]
        self._ends = np.cumsum([len(part) for part in self._parts])
        self.labels = np.concatenate([part[:, 0] for part in self._parts]).astype(np.int64)
        if self.labels.max() >= len(CLASSES):
            raise DiffInfError(
                f"{folder} holds a label {self.labels.max()}, so it is not the binary CIFAR-10."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def tensors(self, positions: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Pictures (B, 3, 32, 32) in [-1, 1]."""
        out = np.empty((len(positions), _SIDE, _SIDE, 3), np.uint8)
        for i, position in enumerate(positions):
            k = int(np.searchsorted(self._ends, position, "right"))
            at = int(position) - (int(self._ends[k - 1]) if k else 0)
            out[i] = self._parts[k][at, 1:].reshape(3, _SIDE, _SIDE).transpose(1, 2, 0)
        return to_tensor(out)


def _records(file: Path) -> NDArray[np.uint8]:
    if not file.is_file():
        raise DiffInfError(
            f"There is no {file}; unpack cifar-10-binary.tar.gz and give the folder with its .bin files."
        )
    size = file.stat().st_size
    if not size or size % _RECORD:
        raise DiffInfError(
            f"{file} has {size:,} bytes, no multiple of {_RECORD:,}: it is cut off or another file."
        )
    return np.memmap(file, np.uint8, "r", shape=(size // _RECORD, _RECORD))


@lru_cache(maxsize=4)
def _pictures(folder: Path, names: tuple[str, ...]) -> Pictures:
    return Pictures(folder, names)


def cifar_network(classes: int) -> nn.Module:
    """ResNet-18 with the stem of the CIFAR literature: 3 x 3, stride 1, no pooling."""
    from torchvision.models import resnet18

    net = resnet18(weights=None, num_classes=classes)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


@dataclass(frozen=True)
class Cifar10:
    """CIFAR-10 in ``folder`` with a fraction ``rate`` of its training labels redrawn.

    ``noise`` "inclusive" draws from all classes, as the published tables do, "exact" from the wrong ones.
    ``recipe`` is the matched one; methods under the preset "source" bring their own. ``most`` keeps that many
    training pictures, for a trial.
    """

    folder: Path
    rate: float = 0.2
    noise: Literal["inclusive", "exact"] = "inclusive"
    noise_seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    most: int | None = None

    @property
    def classes(self) -> Sequence[str]:
        """The ten classes, in order."""
        return CLASSES

    def _labels(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        clean = _pictures(self.folder, TRAIN_FILES).labels
        draw = add_inclusive_noise if self.noise == "inclusive" else add_symmetric_noise
        return draw(clean, len(CLASSES), self.rate, self.noise_seed)

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the training and of the validation pictures."""
        count = len(_pictures(self.folder, TRAIN_FILES))
        order = np.random.default_rng(self.noise_seed).permutation(count)[: self.most or count]
        cut = round(_VALIDATION * len(order))
        return np.sort(order[cut:]), np.sort(order[:cut])

    def key(self, method: Method) -> str:
        """The files, the noise, and how many pictures."""
        files = [file_digest(self.folder / name) for name in (*TRAIN_FILES, *TEST_FILES)]
        return str([files, self.rate, self.noise, self.noise_seed, self.most])

    def task(self, seed: int, method: Method) -> Task:
        """The training problem under a seed; a tenth of the pictures, with noisy labels, is validation."""
        data, (noisy, _) = _pictures(self.folder, TRAIN_FILES), self._labels()
        inside, outside = self._rows()
        return Task(
            data=Subset(data, inside, noisy[inside]),
            classes=len(CLASSES),
            network=cifar_network,
            recipe=self.recipe,
            seed=seed,
            validation=Subset(data, outside, noisy[outside]),
            weak=partial(weak_view, shift=_SHIFT),
            strong=partial(strong_view, shift=_SHIFT),
            noise_rate=self.rate,
        )

    def test(self) -> Pictures:
        """The test set."""
        return _pictures(self.folder, TEST_FILES)

    def groups(self) -> Mapping[tuple[str, str], NDArray[np.bool_]]:
        """There are none."""
        return {}

    def wrong(self) -> NDArray[np.bool_]:
        """Which training labels are wrong."""
        return self._labels()[1][self._rows()[0]]


#: published accuracy (%) under inclusive symmetric noise of a rate: the best epoch, as their authors or
#: ProMix's table report it; networks and augmentation differ from ours and from each other
PUBLISHED: Mapping[float, Mapping[str, float]] = {
    0.2: {"noisy": 86.8, "coteaching": 82.18, "elr": 91.16, "elr_plus": 95.8, "sop": 96.3,
          "dividemix": 96.1, "promix": 97.69},
    0.5: {"noisy": 79.4, "coteaching": 74.49, "elr_plus": 94.8, "sop": 95.5, "dividemix": 94.6,
          "promix": 97.40},
}  # fmt: skip
