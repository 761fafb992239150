"""The catalogue of pretrained weights that others published: name, use, licence, address, SHA-256.

Sums that the publisher or a third party made known are written here; where there is none, the first sum
seen is recorded and compared from then on (:mod:`diffinf_core.weights.fetch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffinf_core.records import DiffInfError
from diffinf_core.weights.files import added_weights

_IMAGENET = "BSD-3-Clause (torchvision); trained on ImageNet, whose pictures are for non-commercial research"
_DIFFAE = (
    "MIT (Preechakul et al.); trained on {data}; the weights come without a licence of their own"
)


@dataclass(frozen=True)
class Pretrained:
    """A weight file that somebody else published.

    ``url`` is None where the publisher's ``page`` has no direct link and the file is downloaded in a
    browser. ``size`` is in bytes; ``size`` and ``sha256`` are None where they are not published.
    """

    name: str
    file: str
    use: str
    licence: str
    page: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where the file is, or will be, stored."""
        return added_weights() / self.file


_TORCH = "https://download.pytorch.org/models/"
_DRIVE = "https://drive.google.com/drive/folders/"


def _torchvision(name: str, file: str, use: str, size: int, sha256: str) -> Pretrained:
    page = "https://docs.pytorch.org/vision/stable/models.html"
    return Pretrained(name, file, use, _IMAGENET, page, _TORCH + file, size, sha256)


def _diffae(
    name: str, folder: str, data: str, size: int | None = None, sha256: str | None = None
) -> Pretrained:
    use = f"generator, published diffusion autoencoder ({data})"
    licence = _DIFFAE.format(data=data)
    return Pretrained(name, f"{name}/last.ckpt", use, licence, _DRIVE + folder, None, size, sha256)


_FFHQ = "FFHQ, CC BY-NC-SA 4.0"

#: every published file that DiffInf can use
PRETRAINED: dict[str, Pretrained] = {
    item.name: item
    for item in (
        _torchvision(
            "resnet18", "resnet18-f37072fd.pth", "initial weights of the resnet18 classifier", 46_830_571,
            "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        ),
        _torchvision(
            "lpips-alex", "alexnet-owt-7be5be79.pth", "trunk of LPIPS (AlexNet)", 244_408_911,
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        ),
        _torchvision(
            "lpips-vgg", "vgg16-397923af.pth", "trunk of LPIPS (VGG-16)", 553_433_881,
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        ),
        _torchvision(
            "lpips-squeeze", "squeezenet1_1-b8a52dc0.pth", "trunk of LPIPS (SqueezeNet 1.1)",
            4_958_839, "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        ),
        Pretrained(
            "facenet", "20180402-114759-vggface2.pt", "identity of real faces",
            "MIT (facenet-pytorch); trained on VGGFace2, for research",
            "https://github.com/timesler/facenet-pytorch",
            "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
            "20180402-114759-vggface2.pt",
            111_898_327,
            "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        ),
        Pretrained(
            "face-parsing", "face-parsing/model.safetensors", "parsing of real faces (SegFormer)",
            "non-commercial (NVIDIA SegFormer licence; trained on CelebAMask-HQ, for research)",
            "https://huggingface.co/jonathandinu/face-parsing",
            "https://huggingface.co/jonathandinu/face-parsing/resolve/main/model.safetensors",
        ),
        _diffae(
            "ffhq256_autoenc", "1-5zfxT6Gl-GjxM7z9ZO2AHlB70tfmF6V", _FFHQ, 2_722_085_968,
            "9bd2ba9e4c22afde8f18958026a4e8e625ef67d2c3ee76bb3aa72f3e67d3b9ca",
        ),
        _diffae("ffhq128_autoenc_130M", "10UNtFNfxbHBPkoIh003JkSPto5s-VbeN", _FFHQ),
        _diffae("ffhq128_autoenc_72M", "10bmB6WhLkgxybkhso5g3JmIFPAnmZMQO", _FFHQ),
        _diffae("bedroom128_autoenc", "12EdjbIKnvP5RngKsR0UU-4kgpPAaYtlp", "LSUN bedrooms"),
        _diffae("horse128_autoenc", "12EtTRXzQc5uPHscpjIcci-Rg-OGa_N30", "LSUN horses"),
        Pretrained(
            "ffhq256_autoenc_cls", "ffhq256_autoenc_cls/last.ckpt", "attribute directions for ffhq256",
            _DIFFAE.format(data="CelebA-HQ, for non-commercial research"),
            _DRIVE + "117Wv7RZs_gumgrCOIhDEWgsNy6BRJorg", None, 339_862,
            "a83381098ec856ee07acfc0fed2d99f5d039c532b48ba43aef800eaca3731134",
        ),
        Pretrained(
            "ffhq128_autoenc_cls", "ffhq128_autoenc_cls/last.ckpt", "attribute directions for ffhq128",
            _DIFFAE.format(data="CelebA-HQ, for non-commercial research"),
            _DRIVE + "11EYIyuK6IX44C8MqreUyMgPCNiEnwhmI",
        ),
    )
}  # fmt: skip


def pretrained(name: str) -> Pretrained:
    """A published file by name; :class:`DiffInfError` for an unknown one."""
    if name not in PRETRAINED:
        raise DiffInfError(f"Unknown weights {name!r}; choose one of {', '.join(PRETRAINED)}.")
    return PRETRAINED[name]
