"""Pictures by id: the right bytes, kept where they may be, and nothing else of the disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffinf_core.data.part import open_part
from diffinf_core.engine import OpenRun, heat, open_run
from diffinf_core.records import DiffInfError
from diffinf_core.ui.web.pictures import ByteCache, address, picture_routes, thumb_url

NOTHING = "0" * 12


@pytest.fixture(scope="module")
def engine(finished_run: Path) -> OpenRun:
    """The engine of a finished run."""
    return open_run(finished_run)


@pytest.fixture
def ask(engine: OpenRun) -> Iterator[TestClient]:
    """A client of the routes alone."""
    app = FastAPI()
    app.include_router(picture_routes(lambda: engine))
    with TestClient(app) as client:
        yield client


def one_edit(engine: OpenRun) -> tuple[str, str]:
    """Sample and version of an edit."""
    sample = str(engine.queue["id"].iloc[0])
    return sample, engine.pictures.versions(sample)[0]


def test_an_edits_bytes_are_those_on_the_disk_and_never_change(
    engine: OpenRun, ask: TestClient
) -> None:
    sample, version = one_edit(engine)
    for kind in ("edit", "reconstruction"):
        found = ask.get(f"/di/picture/{kind}/{sample}/{version}.png")
        file = engine.folder.edits / sample / version / f"{kind}.png"
        assert found.status_code == 200 and found.content == file.read_bytes()
        assert found.headers["content-type"] == "image/png"
        assert found.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert found.headers["x-content-type-options"] == "nosniff"


def test_an_original_and_the_map_of_change_have_every_pixel(
    engine: OpenRun, ask: TestClient
) -> None:
    sample, version = one_edit(engine)
    original, edit = engine.pictures.original(sample), engine.pictures.edit(sample, version)
    for path, wanted in (
        (f"original/{sample}/-", original),
        (f"heat/{sample}/{version}", heat(original, edit)),
    ):
        found = ask.get(f"/di/picture/{path}.png")
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found.content))), wanted)


@pytest.mark.parametrize("side", [64, 96, 128])
def test_a_thumbnail_is_a_small_original(engine: OpenRun, ask: TestClient, side: int) -> None:
    sample = str(engine.training.ids[3])
    found = ask.get(f"/di/thumb/{sample}.webp?side={side}")
    image = Image.open(io.BytesIO(found.content))
    assert (image.format, image.size) == ("WEBP", (side, side))
    whole = Image.fromarray(engine.pictures.original(sample)).resize((side, side))
    assert np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(whole, int)).mean() < 12


def test_an_original_is_kept_by_the_browser_only_under_its_data_set(
    engine: OpenRun, ask: TestClient
) -> None:
    sample = str(engine.training.ids[0])
    for path in (f"/di/picture/original/{sample}/-.png", f"/di/thumb/{sample}.webp?side=96"):
        bare = ask.get(path)
        assert bare.headers["cache-control"] == "private, no-cache"
        again = ask.get(path, headers={"If-None-Match": bare.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = path + ("&" if "?" in path else "?") + "of=0123456789abcdef"
        assert ask.get(other).headers["cache-control"] == "private, no-cache"
    for path in (
        "/" + address("original", sample, of=engine.pictures.data_key),
        "/" + thumb_url(engine, sample),
    ):
        assert "immutable" in ask.get(path).headers["cache-control"]
    assert address("edit", sample, "a" * 16).endswith(f"/edit/{sample}/{'a' * 16}.png")


@pytest.mark.parametrize(
    "path",
    ["picture/original/SAMPLE/0123456789abcdef.png", f"picture/original/{NOTHING}/-.png",
     "picture/edit/SAMPLE/-.png", "picture/edit/SAMPLE/0123456789abcdef.png",
     "picture/heat/SAMPLE/0123456789abcdef.png", "picture/truth/SAMPLE/VERSION.png",
     "picture/edit/SAMPLE/VERSION.json", "picture/edit/SAMPLE/VERSION.PNG",
     "picture/edit/..%2f..%2fconfig.yaml/VERSION.png", "picture/edit/SAMPLE/%2e%2e.png",
     "picture/edit/SAMPLE/..png", "picture/..%2f/SAMPLE/VERSION.png", "picture/edit/SAMPLE",
     "picture/edit/SAMPLE/VERSION%00.png", "picture/edit/'; DROP TABLE journal;--/-.png",
     "thumb/SAMPLE.webp?side=97", "thumb/SAMPLE.webp?side=-1", "thumb/SAMPLE.webp?side=99999",
     "thumb/SAMPLE.webp?side=x", "thumb/SAMPLE.png", f"thumb/{NOTHING}.webp", "picture", ""],
)  # fmt: skip
def test_what_is_no_picture_is_not_found(engine: OpenRun, ask: TestClient, path: str) -> None:
    sample, version = one_edit(engine)
    path = path.replace("SAMPLE", sample).replace("VERSION", version)
    found = ask.get(f"/di/{path}")
    assert found.status_code in (400, 404) and len(found.content) < 300
    assert b"Traceback" not in found.content and b"<html" not in found.content


def test_nothing_of_the_test_split_is_shown(engine: OpenRun, ask: TestClient) -> None:
    hidden = open_part(engine.folder, "test").ids
    assert len(hidden) > 10
    for sample in hidden[:5]:
        assert ask.get(f"/di/picture/original/{sample}/-.png").status_code == 404
        assert ask.get(f"/di/thumb/{sample}.webp").status_code == 404
        with pytest.raises(DiffInfError, match="no training sample"):
            engine.pictures.png("original", str(sample))


def test_the_training_split_is_opened_once(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffinf_core.engine import tables

    opened = []
    real = tables.open_training
    monkeypatch.setattr(tables, "open_training", lambda run: opened.append(1) or real(run))
    engine = open_run(run_copy)
    for sample in engine.training.ids[:20]:
        assert engine.pictures.png("original", str(sample)).startswith(b"\x89PNG")
    assert len(opened) == 1
    for kind in ("edit", "truth"):
        with pytest.raises(DiffInfError):
            engine.pictures.png(kind, str(engine.training.ids[0]), "0" * 16)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60))
def test_the_cache_stays_within_its_bytes_and_gives_what_was_made(
    asked: list[tuple[int, int]],
) -> None:
    cache = ByteCache(100)
    first: dict[int, bytes] = {}
    for key, size in asked:
        content = first.setdefault(key, bytes([key]) * size)
        assert cache.get((str(key),), lambda content=content: content) == content
        assert 0 <= cache.size <= 100
    last = {key: first[key] for key, _ in asked[-2:]}
    for key, content in last.items():  # at most 80 bytes were asked for last
        assert cache.get((str(key),), lambda: pytest.fail("it was made again")) == content


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = ByteCache(10)
    assert cache.get(("a",), lambda: b"x" * 11) == b"x" * 11 and cache.size == 0
