"""What else an edit must leave alone, by two networks that no repair ever saw: the person and the pose.

The person is that of a MobileFaceNet (:mod:`tests.benchmarks.outside_identity`), the pose that of the
landmarks of face-api (Vincent Mühler, Vladimir Mandic; MIT), which come from the package that the judges
come from and are not kept.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.correction.published.expression import FaceExpression
from diffinf_core.data.part import to_tensor
from diffinf_core.weights.convert import TENSORS_OF_EXPRESSION, mapped
from diffinf_core.weights.download import download
from diffinf_core.weights.formats import members, read_tfjs
from diffinf_core.weights.packages import archive_url
from diffinf_core.weights.pretrained import PRETRAINED
from tests.benchmarks.measures import Pictures
from tests.benchmarks.outside_identity import MobileFaceNet, warp

_BATCH = 32
#: fraction of the pairs of strangers that may pass for one person
_FALSE_MATCHES = 0.001
_MODEL = "package/model/face_landmark_68_model"
#: of 68 landmarks: both eyes, the tip of the nose, the corners of the mouth
_EYES, _NOSE, _MOUTH = (slice(36, 42), slice(42, 48)), 30, (48, 54)


class FaceLandmarks(FaceExpression):
    """Landmarks (B, 68, 2), across and down, of square pictures of a face in [-1, 1]; 1 is the side."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(256, 136)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).unflatten(1, (68, 2))

    @classmethod
    def fetched(cls) -> FaceLandmarks:
        """With the published weights, from npm's registry or the mirror that npm is told of."""
        (source,) = PRETRAINED["face-api"].sources
        assert source.package is not None
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / source.file
            for _ in download(source.file, archive_url(source.package), archive, source.size, True):
                pass
            assert hashlib.sha256(archive.read_bytes()).hexdigest() == source.sha256
            kept = members(archive, [f"{_MODEL}-weights_manifest.json", f"{_MODEL}.bin"])
        arrays = mapped(read_tfjs(*kept.values()), TENSORS_OF_EXPRESSION, "own")
        net = cls()
        net.load_state_dict(
            {n.removeprefix("own."): torch.tensor(array) for n, array in arrays.items()}
        )
        return net.eval().requires_grad_(False)


def five(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eyes, tip of the nose and corners of the mouth (B, 5, 2) of landmarks (B, 68, 2)."""
    eyes = [landmarks[:, eye].mean(1) for eye in _EYES]
    return np.stack([*eyes, *(landmarks[:, i] for i in (_NOSE, *_MOUTH))], 1)


def pose(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the nose is (B, 2) beside the middle of the eyes, along their line and across it.

    In per cent of the distance of the eyes, from points (B, 5, 2): a head that turns or nods moves it, one
    that is moved, larger or leaning does not.
    """
    left, right, nose = points[:, 0], points[:, 1], points[:, 2]
    line, off = right - left, nose - (left + right) / 2
    along = (off * line).sum(1)
    across = line[:, 0] * off[:, 1] - line[:, 1] * off[:, 0]
    return 100 * np.stack([along, across], 1) / (line**2).sum(1, keepdims=True)


def threshold(vectors: NDArray[np.float64], who: NDArray[np.str_] | None) -> float:
    """The cosine that one pair of strangers in a thousand passes, of unit vectors (N, D) of people (N,).

    Without ``who`` each picture is of somebody else, which those of one person raise a little.
    """
    other = ~np.eye(len(vectors), dtype=bool) if who is None else who[:, None] != who[None]
    return float(np.quantile((vectors @ vectors.T)[other], 1 - _FALSE_MATCHES))


class Outside:
    """The second recogniser, on pictures framed like some known ones (N, S, S, 3), and the pose."""

    def __init__(self, weights: Path, known: Pictures, who: NDArray[np.str_] | None) -> None:
        self._landmarks = FaceLandmarks.fetched()
        self._net = MobileFaceNet()
        self._net.load_state_dict(safetensors.torch.load_file(weights))
        self._net.eval()
        #: one warp for all: where a mouth opens, its corners are no place to align by
        self._points = 128 * five(self._of(self._landmarks, known)).mean(0)
        self._least = threshold(self._vectors(known), who)

    def __call__(self, originals: Pictures, edits: Pictures) -> dict[str, float]:
        """Of edits (N, S, S, 3) beside their originals: the fraction that is the same person, and how far the
        nose moves in the mean, in per cent of the distance of the eyes, see :func:`pose`."""
        a, b = (self._vectors(pictures) for pictures in (originals, edits))
        before, after = (
            pose(five(self._of(self._landmarks, pictures))) for pictures in (originals, edits)
        )
        return {
            "same_person_second": float(((a * b).sum(1) > self._least).mean()),
            "pose": float(np.linalg.norm(after - before, axis=1).mean()),
        }

    def _vectors(self, pictures: Pictures) -> NDArray[np.float64]:
        return self._of(lambda x: self._net(warp(x, self._points)), pictures)

    @torch.no_grad()
    def _of(self, net: Callable[[Tensor], Tensor], pictures: Pictures) -> NDArray[np.float64]:
        parts = [net(to_tensor(pictures[i : i + _BATCH])) for i in range(0, len(pictures), _BATCH)]
        return torch.cat(parts).double().numpy()
