"""Every verb writes to a terminal of any encoding."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from diffinf_core.cli import main
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.inventory import FILES, inventory

ENCODINGS = ("ascii", "cp1252", "latin-1", "cp437")
ODD = "ж漢é±…"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Run a command with streams of an encoding; its exit code and everything it wrote."""

    def run(encoding: str, *words: str) -> tuple[int, str]:
        raw = io.BytesIO()
        for name in ("stdout", "stderr"):
            stream = io.TextIOWrapper(raw, encoding, write_through=True)
            monkeypatch.setattr(sys, name, stream)
        monkeypatch.setattr(sys, "argv", ["diffinf", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), raw.getvalue().decode(encoding)

    return run


@pytest.fixture(scope="module")
def odd_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose classes and files have names that no code page holds."""
    run = tmp_path_factory.mktemp(ODD) / ODD
    shutil.copytree(finished_run, run)
    data = next((run / "stages").glob("data-*"))
    names = {name: ODD + name for name in read_json(data / "classes.json")}
    for file in (data / "samples.csv", data / "truth" / "truth.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False).replace(names)
        if "file" in table:
            table["file"] = [f"{ODD}{name}" for name in table["file"]]
        table.to_csv(file, index=False)
    write_json(data / "classes.json", list(names.values()))
    for edit in run.glob("edits/*/*/edit.json"):
        text = edit.read_text()
        for name, odd in names.items():
            text = text.replace(json.dumps(name), json.dumps(odd))
        edit.write_text(text)
    mark = read_json(data / "done.json")
    write_json(data / "done.json", {**mark, FILES: inventory(data)})
    return run


VERBS = (
    ("report", "RUN"),
    ("rank", "RUN", "--top", "3"),
    ("rank", "RUN", "--agreement"),
    ("doctor", "RUN"),
    ("verify", "RUN"),
    ("check", "DATA"),
    ("run", "DATA", "--out", "OUT", "--until", "data"),
    ("review", ODD),
    ("weights", "list"),
    ("config",),
    ("--help",),
    ("run", "--help"),
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_no_verb_fails_on_what_its_terminal_cannot_show(
    odd_run: Path, written: Callable[..., tuple[int, str]], tmp_path: Path, words: tuple[str, ...],
    encoding: str,
) -> None:  # fmt: skip
    from tests.data.test_copies import scene

    data = tmp_path / ODD
    for i in range(30):
        target = data / f"{ODD}{i % 2}" / f"{ODD}{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        scene(i).save(target)
    if words[0] == "check":
        (data / f"{ODD}0" / f"{ODD}.png").write_bytes(b"no picture")
    places = {"RUN": str(odd_run), "DATA": str(data), "OUT": str(tmp_path / "out")}
    code, text = written(encoding, *(places.get(word, word) for word in words))
    assert code in (0, 2) and "Traceback" not in text and "UnicodeEncodeError" not in text
    assert text.strip()
    if words[0] in ("check", "rank", "review") and "--agreement" not in words:
        assert "\\u6f22" in text, "the name is there, with what cannot be shown spelled out"


def test_typography_has_plain_counterparts(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffinf_core.cli.streams import write_anything

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    monkeypatch.setattr(sys, "stderr", None)
    write_anything()
    print("0.9 ± 0.1 … 漢 é")
    assert raw.getvalue().decode("ascii").strip() == "0.9 +- 0.1 ... \\u6f22 \\xe9"
