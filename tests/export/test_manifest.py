"""What a manifest and a card say, and what they keep to themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffinf_core.config import make_config
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.export.dataset import Export, read_export
from diffinf_core.export.folder import export_folder
from diffinf_core.export.formats import FORMATS
from diffinf_core.review.opening import open_journal
from diffinf_core.runs.run import Run
from tests.export.test_formats import made, source

SECRET = "looks like Aunt Mary, see /home/ann/notes"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with edits and a comment; read only."""
    run = made(tmp_path_factory.mktemp("somebody's machine"), ("b", "a"))
    train, journal = open_training(run), open_journal(run)
    journal.decide(str(train.ids[5]), "keep", "Ann Smith", comment=SECRET)
    journal.close()
    return run


def exported(run: Run, target: Path, **options: Any) -> Export:
    """An export that was written and verified."""
    for _ in export_folder(run, target, **options):
        pass
    export = read_export(target)
    export.verify()
    return export


def text_of(root: Path) -> str:
    """Everything that an export says in words."""
    kinds = (".json", ".jsonl", ".csv", ".md")
    return "\n".join(p.read_text() for p in sorted(root.rglob("*")) if p.suffix in kinds)


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "cleanlab"])
def test_no_path_of_the_machine_is_in_any_format(run: Run, tmp_path: Path, name: str) -> None:
    export = exported(run, tmp_path / "out", format=name, splits="all")
    said = text_of(tmp_path / "out")
    machine = run.root.parent
    assert machine.name == "somebody's machine0" and machine.name not in said
    assert str(Path.home()) not in said
    assert export.manifest["data_set"]["name"] == "data"
    assert export.manifest["configuration"]["data"]["path"] == "data"
    assert export.manifest["configuration"]["data"]["image_size"] == 32


def test_settings_that_are_no_paths_stay_as_they_are(tmp_path: Path) -> None:
    """A class may be called like a path."""
    run = made(tmp_path, ("/x/y", "b"))
    manifest = exported(run, tmp_path / "out").manifest
    assert manifest["classes"] == ["/x/y", "b"]
    assert manifest["configuration"]["data"]["classes"] == ["/x/y", "b"]


def test_the_table_of_the_data_set_is_known_by_its_hash(run: Run, tmp_path: Path) -> None:
    from hashlib import sha256

    given = sha256((run.root.parent / "data" / "labels.csv").read_bytes()).hexdigest()
    assert exported(run, tmp_path / "out").manifest["data_set"]["table_sha256"] == given


def test_comments_are_written_where_they_are_asked_for_alone(run: Run, tmp_path: Path) -> None:
    without = exported(run, tmp_path / "without")
    assert SECRET not in text_of(tmp_path / "without")
    assert all("comment" not in e.get("decision", {}) for e in without.manifest["samples"])
    told = exported(run, tmp_path / "with", comments=True)
    said = [e["decision"]["comment"] for e in told.manifest["samples"] if "decision" in e]
    assert SECRET in said and without.manifest["key"] != told.manifest["key"]


def test_a_comment_that_changes_is_another_export_only_where_it_is_written(tmp_path: Path) -> None:
    run = made(tmp_path, ("a", "b"))
    train = open_training(run)

    def comment(text: str) -> None:
        journal = open_journal(run)
        standing = journal.decide(str(train.ids[5]), "keep", "ann", comment=text)
        journal.close()
        assert standing is not None

    def keys() -> list[str]:
        return [
            exported(run, tmp_path / f"{text}-{c}", comments=c).manifest["key"]
            for c in (False, True)
        ]

    text = "one"
    comment(text)
    first = keys()
    text = "two"
    comment(text)
    assert keys()[1] != first[1]


def test_skipped_rows_and_pictures_are_counted_in_manifest_and_card(tmp_path: Path) -> None:
    data = tmp_path / "data"
    source(data, ("a", "b"))
    table = data / "labels.csv"
    first, second = (data / line.split(",")[0] for line in table.read_text().splitlines()[1:3])
    first.write_bytes(b"")
    second.write_text("<html>")
    table.write_text(table.read_text() + "gone.png,a,1,,camera\n")
    given = {
        "data": {"source": "folder", "path": str(data), "image_size": 32, "skip_bad": True},
        "noise": {"rate": 0},
        "split": {"val_share": 0.25, "test_share": 0.25},
    }
    run = Run.prepare(tmp_path / "run", make_config("demo", given)).store()
    for _ in DATA.compute(run):
        pass
    export = exported(run, tmp_path / "out", splits="all")
    assert export.manifest["counts"]["skipped"] == {"rows": 1, "pictures": 2}
    assert len(export.table) == 58
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| unreadable or bad rows | 1 |" in card and "| unreadable or bad pictures | 2 |" in card


def test_a_card_says_nothing_of_skipped_pictures_where_there_are_none(
    run: Run, tmp_path: Path
) -> None:
    export = exported(run, tmp_path / "out")
    assert export.manifest["counts"]["skipped"] == {"rows": 0, "pictures": 0}
    assert "skipped before the run" not in (tmp_path / "out" / "README.md").read_text()
