"""The verbs export, verify and audit as a user meets them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from diffinf_core.data.part import open_training
from diffinf_core.engine import FORMATS, read_export
from diffinf_core.review.opening import open_journal
from diffinf_core.runs.run import Run
from tests.export.ranked import rank
from tests.export.test_formats import N, made
from tests.forks import diffinf
from tests.refined import version_id, write_edit


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with decisions, of which some have a comment; read only."""
    run = made(tmp_path_factory.mktemp("cli"))
    rank(run)
    journal = open_journal(run)
    journal.decide(str(open_training(run).ids[5]), "keep", "Ann Smith", comment="a remark")
    journal.close()
    return run


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_written_verified_and_found_changed(
    run: Run, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    splits = "train" if name == "cleanlab" else "all"
    done = diffinf("export", str(run.root), str(out), "--format", name, "--splits", splits)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    splits_written = Counter(s["split"] for s in manifest["samples"] if s["file"])
    counts = "; ".join(
        f"{k} {splits_written[k]}" for k in ("train", "val", "test") if splits_written[k]
    )
    if name == "patch":  # what was only relabelled needs no picture
        counts = f"changed {splits_written.total()}"
    assert f"{out}: {counts} pictures, 1 dropped" in " ".join(done.stderr.split())
    done = diffinf("verify", str(out))
    assert done.returncode == 0 and "is as it was exported" in done.stdout
    table = read_export(out).table
    picture = out / next(file for file in table["file"] if file)
    picture.write_bytes(picture.read_bytes() + b"\0")
    done = diffinf("verify", str(out))
    assert done.returncode == 2 and f"{picture} was changed after the export" in done.stderr
    assert "Traceback" not in done.stderr


def test_all_splits_or_one_and_the_form_of_the_edits(run: Run, tmp_path: Path) -> None:
    for options, count in ((["--splits", "all"], N - 1), ([], 29)):
        out = tmp_path / f"out{count}"
        done = diffinf("export", str(run.root), "--out", str(out), "--like-original", *options)
        assert done.returncode == 0, done.stderr
        left = "Validation and test pictures are not part of it" in " ".join(done.stderr.split())
        assert left == (not options)
        export = read_export(out)
        assert len(export.table) == count or not options
        assert export.manifest["edits"] == "like-original"
        edited = export.table[export.table["source"] == "repaired"]
        suffixes = {Path(f).suffix for f in edited["file"]}
        assert suffixes == {Path(f).suffix for f in edited["original"]}


def test_comments_stay_out_unless_asked_for(run: Run, tmp_path: Path) -> None:
    for name, options in (("a", []), ("b", ["--comments"])):
        assert diffinf("export", str(run.root), str(tmp_path / name), *options).returncode == 0
        written = (tmp_path / name / "manifest.json").read_text()
        assert ("a remark" in written) == bool(options)


def test_mistakes_are_sentences(run: Run, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for words, message in (
        (["export", str(run.root)], "Give the new folder once"),
        (["export", str(run.root), out, "--out", out], "Give the new folder once"),
        (["export", str(run.root), out, "--format", "zip"], "format must be one of csv"),
        (["export", str(run.root), out, "--splits", "val"], "splits must be one of"),
        (["export", str(run.root), out, "--like-original", "--working-size"], "exclude each other"),
        (["export", str(tmp_path / "gone"), out], "gone"),
        (["verify", str(tmp_path / "gone")], "gone"),
        (["verify", str(tmp_path)], "manifest.json"),
        (["audit", str(run.root), "--edits", "big"], "edits must be one of full"),
    ):
        done = diffinf(*words)
        assert done.returncode == 2 and message in " ".join(done.stderr.split()), words
        assert "Traceback" not in done.stderr and not Path(out).exists()


def test_the_audit_gives_areas_with_intervals_in_each_form(tmp_path: Path) -> None:
    run = made(tmp_path)
    done = diffinf("audit", str(run.root))
    assert done.returncode == 0, done.stderr
    assert all(form in done.stdout for form in ("full", "like-original", "working"))
    assert "-" in done.stdout  # three edits are too few
    train, journal = open_training(run), open_journal(run)
    for k in range(6, 27):
        before = train.images([k])[0]
        after = before.copy()
        after[10:20, 10:20] = 255 - after[10:20, 10:20]
        write_edit(run, str(train.ids[k]), version_id(k + 1), after, reconstruction=before)
        journal.decide(str(train.ids[k]), "accept", "ann", version=version_id(k + 1))
    journal.close()
    done = diffinf("audit", str(run.root), "--edits", "working")
    stored = json.loads((run.root / "audit.json").read_text())["forms"]["working"]
    assert done.returncode == 0, done.stderr
    if stored["by_file"] is not None:
        area = f"{stored['by_file']['auroc']:.3f}"
        assert area in done.stdout and re.search(r"0\.\d{3} to [01]\.\d{3}", done.stdout)
