"""The catalogue of pretrained weights is complete."""

from __future__ import annotations

import pytest

from diffinf_core.records import DiffInfError
from diffinf_core.weights.pretrained import PRETRAINED, pretrained


def test_sums_sizes_and_licences_are_stated() -> None:
    for name, item in PRETRAINED.items():
        assert item.name == name and item.use and item.licence and item.page
        assert item.sha256 is None or len(item.sha256) == 64
        assert item.url is None or item.url.startswith("https://")
        if "download.pytorch.org" in (item.url or ""):
            # torchvision names a file after the first digits of its sum
            assert item.sha256 and item.sha256[:8] in item.file
    assert len({item.file for item in PRETRAINED.values()}) == len(PRETRAINED)


def test_an_unknown_name_lists_those_that_exist() -> None:
    assert pretrained("resnet18").file.startswith("resnet18-")
    with pytest.raises(DiffInfError, match="Unknown weights 'resnet19'; choose one of resnet18, "):
        pretrained("resnet19")
