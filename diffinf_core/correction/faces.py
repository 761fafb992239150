"""Perceptors for photographs of faces, from published weights: identity, face parsing, LPIPS.

Each takes pictures (B, 3, S, S) in [-1, 1] of any size and converts them to the size and range that it
was trained with. The weights are those of :mod:`diffinf_core.weights.pretrained`; nothing is fetched here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.correction.published.dlib import DlibIdentity
from diffinf_core.correction.published.layers import load_published
from diffinf_core.records import DiffInfError
from diffinf_core.runs.extras import optional_imports
from diffinf_core.weights.pretrained import pretrained

#: what ImageNet networks subtract and divide by, for pictures in [0, 1]
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FACENET_SIDE, _PARSING_SIDE = 160, 512
#: SegFormer-B5 with the 19 parts of CelebAMask-HQ
SEGFORMER: dict[str, Any] = {
    "num_labels": 19,
    "depths": [3, 6, 40, 3],
    "hidden_sizes": [64, 128, 320, 512],
    "decoder_hidden_size": 768,
}
#: its parts that are not the person: background and clothes
SEGFORMER_OUTSIDE = (0, 18)


def resized(x: Tensor, side: int) -> Tensor:
    """Pictures at another size, without aliasing."""
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)


def _foreign(file: Path, what: str) -> DiffInfError:
    return DiffInfError(
        f"{file} is not a readable file of {what}; remove it, or fetch or import it again."
    )


def _tensors(file: Path, what: str) -> Mapping[str, Tensor]:
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _foreign(file, what) from error
    if not isinstance(tensors, Mapping):
        raise _foreign(file, what)
    return tensors


def central(x: Tensor, crop: float) -> Tensor:
    """The central fraction ``crop`` of each side."""
    side = x.shape[-1]
    edge = round(side * (1 - crop) / 2)
    return x[:, :, edge : side - edge, edge : side - edge]


class FaceNet(nn.Module):
    """F_id of equation 10: InceptionResnetV1 trained on VGGFace2; unit vectors (B, 512).

    ``crop`` is the central fraction of each side that shows the face: recognition networks were
    trained on tight crops, FFHQ and CelebA-HQ pictures show hair and shoulders, too.
    """

    def __init__(self, file: Path, crop: float = 1.0) -> None:
        super().__init__()
        with optional_imports():
            from facenet_pytorch import InceptionResnetV1

        self.net = InceptionResnetV1(pretrained=None)
        state = {
            k: v
            for k, v in _tensors(file, "FaceNet VGGFace2").items()
            if not k.startswith("logits.")
        }
        try:
            self.net.load_state_dict(state)
        except (RuntimeError, AttributeError) as error:
            raise _foreign(file, "FaceNet VGGFace2") from error
        self.crop = crop

    def forward(self, x: Tensor) -> Tensor:
        # fixed standardisation: (v - 127.5) / 128 for v in 0..255
        return self.net(resized(central(x, self.crop), _FACENET_SIDE) * (127.5 / 128))


class DlibFace(nn.Module):
    """F_id of equation 10: dlib's recognition network; unit vectors (B, 128). ``crop`` as in FaceNet."""

    def __init__(self, file: Path, crop: float = 1.0) -> None:
        super().__init__()
        self.net = load_published(DlibIdentity(), file, "recognition.")
        self.crop = crop

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.net(central(x, self.crop)), dim=1)


class FaceParsing(nn.Module):
    """SegFormer-B5 fine-tuned on CelebAMask-HQ: logits (B, 19, S, S) of face parts."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        with optional_imports():
            from transformers import SegformerConfig, SegformerForSemanticSegmentation
            from transformers.utils import logging

        config = SegformerConfig(**SEGFORMER)
        before = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            # The library renames older weights to its present names.
            loaded: Any = SegformerForSemanticSegmentation.from_pretrained(
                file.parent,
                config=config,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except Exception as error:
            raise _foreign(file, "SegFormer face parsing") from error
        finally:
            logging.set_verbosity(before)
        self.net, report = loaded
        if any(report.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys")):
            raise _foreign(file, "SegFormer face parsing")

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = (x.new_tensor(v)[:, None, None] for v in (_MEAN, _DEVIATION))
        normalised = ((resized(x, _PARSING_SIDE) + 1) / 2 - mean) / deviation
        logits = self.net(pixel_values=normalised).logits
        return F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)


class Lpips(nn.Module):
    """LPIPS v0.1 (Zhang et al. 2018) with VGG or SqueezeNet, as activations whose squared distance is
    the metric.

    The package holds the learned weights of the layers; the trunk is torchvision's. Each activation
    (B, C, H, W) is of unit length per pixel, times the root of its channel's weight: sum over
    channels, mean over pixels, sum over layers is LPIPS.
    """

    def __init__(self, kind: str, file: Path) -> None:
        super().__init__()
        with optional_imports():
            import lpips

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # pnet_rand keeps the package from fetching the trunk itself
            self.metric = lpips.LPIPS(net=kind, pnet_rand=True, verbose=False)
        trunk = _tensors(file, f"LPIPS's trunk ({kind})")
        own = self.metric.net.state_dict()
        try:
            # slice3.6.weight of the package is features.6.weight of torchvision
            state = {name: trunk["features." + name.split(".", 1)[1]] for name in own}
            self.metric.net.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise _foreign(file, f"LPIPS's trunk ({kind})") from error

    def forward(self, x: Tensor) -> list[Tensor]:
        layers = self.metric.net(self.metric.scaling_layer(x))
        out = []
        for layer, head in zip(layers, self.metric.lins, strict=True):
            (weight,) = (p for p in head.parameters())
            out.append(F.normalize(layer, dim=1, eps=1e-10) * weight.clamp_min(0).sqrt())
        return out


#: perceptors by the name that stands beside their scores: kind in the configuration, published file
NAMES = {
    "facenet": ("FaceNet VGGFace2", "facenet"),
    "dlib": ("dlib face recognition ResNet", "face-api"),
    "segformer": ("SegFormer-B5 CelebAMask-HQ", "face-parsing"),
    "lpips-vgg": ("LPIPS-VGG v0.1", "lpips-vgg"),
    "lpips-squeeze": ("LPIPS-Squeeze v0.1", "lpips-squeeze"),
}


def weights_file(kind: str) -> Path:
    """The file behind a kind of :data:`NAMES`; :class:`DiffInfError` where it is not in its place."""
    item = pretrained(NAMES[kind][1])
    if not item.path.is_file():
        raise DiffInfError(
            f"The weights of {NAMES[kind][0]} are missing: run 'diffinf weights fetch {item.name}', or "
            "'diffinf weights import FOLDER' without a network."
        )
    return item.path


def present(kind: str) -> bool:
    """Whether the weights of a kind are in their place."""
    return pretrained(NAMES[kind][1]).path.is_file()


def build(kind: str, crop: float = 1.0) -> nn.Module:
    """A frozen network of :data:`NAMES`."""
    file = weights_file(kind)
    net: nn.Module
    if kind == "facenet":
        net = FaceNet(file, crop)
    elif kind == "dlib":
        net = DlibFace(file, crop)
    elif kind == "segformer":
        net = FaceParsing(file)
    else:
        net = Lpips(kind.removeprefix("lpips-"), file)
    return net.eval().requires_grad_(False)
