"""Bad input of every kind through the command line: one sentence that names it, and nothing half done."""

from __future__ import annotations

import io
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffinf_core.cli import main
from tests.data.test_copies import scene

#: what is done to a good folder of pictures; the words of the command are returned where it is not "run"
Harm = Callable[[Path], "list[str] | None"]


@dataclass(frozen=True)
class Bad:
    """A bad input: what makes it, and parts of the sentence that names it."""

    harm: Harm
    parts: tuple[str, ...]
    options: tuple[str, ...] = ()


CASES: dict[str, Bad] = {}


def bad(name: str, *parts: str, options: tuple[str, ...] = ()) -> Callable[[Harm], Harm]:
    """Register a bad input."""

    def keep(harm: Harm) -> Harm:
        assert name not in CASES
        CASES[name] = Bad(harm, parts, options)
        return harm

    return keep


def table(text: str | bytes, name: str = "labels.csv") -> Harm:
    """The table is this text."""
    raw = text.encode() if isinstance(text, str) else text
    return lambda data: (data / name).write_bytes(raw) and None


def row(text: str) -> Harm:
    """A further row; the table has a header and twelve rows."""

    def write(data: Path) -> None:
        with open(data / "labels.csv", "a") as file:
            file.write(text + "\n")

    return write


def file(content: bytes | Image.Image, name: str = "00.png") -> Harm:
    """A picture of the table is something else."""

    def write(data: Path) -> None:
        if isinstance(content, bytes):
            (data / name).write_bytes(content)
        else:
            content.save(data / name, "TIFF" if name.endswith("tif") else "PNG")

    return write


def words(*given: str) -> Harm:
    """Another command; DATA stands for the folder, HERE for the one above it."""

    def replaced(data: Path) -> list[str]:
        return [w.replace("DATA", str(data)).replace("HERE", str(data.parent)) for w in given]

    return replaced


def nothing(_: Path) -> None:
    """The folder is as it should be, and the options are not."""


def folders(*names: str) -> Harm:
    """Pictures at these places and no table."""

    def write(data: Path) -> None:
        for old in data.iterdir():
            old.unlink()
        for i, name in enumerate(names):
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            scene(i).save(data / name)

    return write


def packed(*members: tuple[str, bytes], cut: bool = False) -> Harm:
    """A zip of these members instead of the folder."""

    def write(data: Path) -> list[str]:
        with warnings.catch_warnings(), zipfile.ZipFile(data.parent / "a.zip", "w") as archive:
            warnings.simplefilter("ignore")  # of names that are there twice
            for name, content in members:
                archive.writestr(name, content)
        raw = (data.parent / "a.zip").read_bytes()
        if cut:
            (data.parent / "a.zip").write_bytes(raw[:-9] + b"\xff" * 9)
        return run_on(data, str(data.parent / "a.zip"))

    return write


def run_on(data: Path, text: str) -> list[str]:
    """The command that makes a run of something else than the folder."""
    return ["run", text, "--out", str(data.parent / "run"), "--until", "data"]


def of(text: str) -> Harm:
    """A run of this instead of the folder."""
    return lambda data: run_on(
        data, text.replace("DATA", str(data)).replace("HERE", str(data.parent))
    )


def png() -> bytes:
    """A good picture."""
    out = io.BytesIO()
    scene(1).save(out, "PNG")
    return out.getvalue()


# ---------------------------------------------------------------- places

bad("no folder", "nowhere does not exist")(of("HERE/nowhere"))
bad("of a kind, no folder", "nowhere does not exist")(of("hf:HERE/nowhere"))
bad("a home of nobody", "~nobody-at-all/x", "no folder")(of("~nobody-at-all/x"))
bad("an unknown kind", "imagenet:", "does not exist")(of("imagenet:DATA"))
bad("a file", "labels.csv is not a folder")(of("DATA/labels.csv"))
bad("no archive", "faces is no zip or tar file")(of("archive:DATA"))
bad("no datasets", "faces holds no data set of Hugging Face datasets")(of("datasets:DATA"))
bad("no export of ours", "faces", "manifest.json")(of("export:DATA"))
bad("no features", "no DCGM features", "faces/json", "data.features")(of("ffhq:DATA"))
bad("no such table", "faces holds no table other.csv", options=("--set", "data.labels=other.csv"))(
    nothing
)


@bad("an empty folder", "empty holds no pictures")
def _(data: Path) -> list[str]:
    (data.parent / "empty").mkdir()
    return run_on(data, str(data.parent / "empty"))


@bad("the run's folder is a file", "run is a file", "give a folder")
def _(data: Path) -> None:
    (data.parent / "run").write_text("mine")


@bad("the run's folder is full of something else", "run is not empty and not a run folder")
def _(data: Path) -> None:
    (data.parent / "run").mkdir()
    (data.parent / "run" / "thesis.txt").write_text("mine")


# ---------------------------------------------------------------- tables

bad("no header", "labels.csv is empty")(table(""))
bad("no rows", "only one class (none)")(table("file,label\n"))
bad("no column of files", "labels.csv has no column", "its columns are name, label")(
    table("name,label\n")
)
bad("no column of labels", "no column 'label'", "data.label_column")(table("file,mood\n00.png,a\n"))
bad("a column twice", "has the column 'label' twice")(table("file,label,label\n00.png,a,b\n"))
bad("a column without a name", "Column 2 of", "has no name")(table("file,,label\n00.png,x,a\n"))
bad("a long row", "row 14", "3 fields where the header has 2")(row("a.png,b,c"))
bad("a short row", "row 14", "1 field where the header has 2")(row("a.png"))
bad("an open quote", "labels.csv", "row 14")(row('"00.png,a'))
bad("a file that is gone", "row 14: ghost.png: no such file", "--skip-bad")(row("ghost.png,a"))
bad("a name that is nearly there", "row 14: portrat.png", "did you mean 'portrait.png'?")(
    lambda data: (scene(1).save(data / "portrait.png"), row("portrat.png,a")(data))[-1]
)
bad("a file twice", "row 14: 00.png", "row 2")(row("00.png,a"))
bad("a file outside", "row 14: ../secret.png", "outside the data folder")(row("../secret.png,a"))
bad("an absolute file outside", "row 14: /etc/hostname")(row("/etc/hostname,a"))
bad("no file", "row 14: (empty): the file name is empty")(row(",a"))
bad("no label", "row 14: 00.png: the label is empty")(row("00.png,"))
bad("a control character", "row 14", "U+0007")(row("00.png,a\x07"))
bad("a label without end", "row 14", "longer than 200 characters")(row("00.png," + "a" * 300))
bad("a NUL byte", "NUL byte in row 2", "UTF-8")(table(b"file,label\n00.png,a\0\n"))
bad("another encoding", "row 2", "data.encoding=cp1252")(
    table("file,label\n00.png,é\n".encode("cp1252"))
)
bad(
    "an unknown encoding",
    "there is no encoding 'klingon'",
    options=("--set", "data.encoding=klingon"),
)(nothing)
bad(
    "no Parquet",
    "labels.parquet cannot be read as Parquet",
    options=("--set", "data.labels=labels.parquet"),
)(table(b"PAR1 nothing", "labels.parquet"))
bad(
    "no JSON",
    "labels.jsonl: row 1 cannot be read as JSON",
    options=("--set", "data.labels=labels.jsonl"),
)(table('{"file": "00.png"', "labels.jsonl"))
bad(
    "no object",
    "labels.jsonl: row 1 cannot be read as JSON",
    options=("--set", "data.labels=labels.jsonl"),
)(table('["00.png", "a"]\n', "labels.jsonl"))
bad("two tables", "holds labels.tsv and labels.jsonl", "data.labels")(
    lambda data: (
        (data / "labels.csv").rename(data / "labels.tsv"),
        table('{"file": "00.png", "label": "a"}\n', "labels.jsonl")(data),
    )[-1]
)
bad(
    "no group column",
    "no column 'person'",
    "data.group_column",
    options=("--set", "data.group_column=person"),
)(nothing)
bad("no split column", "no column 'part'", "data.split_column", options=("--split-column", "part"))(
    nothing
)
bad(
    "a group column of ours",
    "group_column cannot be 'split'",
    options=("--set", "data.group_column=split"),
)(nothing)
bad(
    "groups by label",
    "group_column 'label' is the label",
    options=("--set", "data.group_column=label"),
)(nothing)
bad("file and label in one", "'file' cannot be both", options=("--label-column", "file"))(nothing)
bad(
    "split and label in one",
    "'label' is the file or the label",
    options=("--split-column", "label"),
)(nothing)
bad("a label of no class", "row 2: 00.png", "'a'", options=("--set", "data.classes=[b,c]"))(nothing)
bad("an unknown split", "row 2", "'holdout'", options=("--split-column", "part"))(
    table("file,label,part\n00.png,a,holdout\n01.png,b,train\n")
)
bad(
    "a person in two splits",
    "'p' stands in the splits",
    options=("--split-column", "part", "--set", "data.group_column=who"),
)(table("file,label,part,who\n00.png,a,test,p\n01.png,b,train,p\n"))
bad("one class", "only one class (a)")(table("file,label\n00.png,a\n02.png,a\n04.png,a\n"))
bad("a class of one", "'c' (1 picture)", "--drop-small-classes", "split.small_classes=train")(
    table(
        "file,label\n" + "".join(f"{i:02d}.png,{'ab'[i % 2]}\n" for i in range(11)) + "11.png,c\n"
    )
)

# ---------------------------------------------------------------- pictures

bad("a broken picture", "00.png: not a readable picture", "--skip-bad")(file(png()[:200]))
bad("a web page", "00.png: not a readable picture")(file(b"<!doctype html><html>404</html>"))
bad("an empty file", "00.png: not a readable picture")(file(b""))
bad("a Photoshop file", "00.png: PSD pictures cannot be read", "PNG or JPEG")(
    file(b"8BPS" + bytes(64))
)
bad(
    "a huge picture",
    "00.png: 64 x 64 pixels are too large",
    "data.max_megapixels",
    options=("--set", "data.max_megapixels=0.001"),
)(nothing)
bad(
    "floating points",
    "00.png: floating-point pixels",
)(lambda data: Image.fromarray(np.zeros((64, 64), np.float32)).save(data / "00.png", "TIFF"))
bad(
    "deeper than said",
    "00.png: has values up to 900",
    "data.bit_depth=8",
    options=("--set", "data.bit_depth=8"),
)(file(Image.fromarray(np.full((64, 64), 900, np.uint16))))
bad("black among brighter ones", "00.png", "black among the 16 bits")(
    lambda data: (
        file(Image.fromarray(np.full((64, 64), 200, np.uint16)))(data),
        file(Image.fromarray(np.full((64, 64), 60_000, np.uint16)), "01.png")(data),
    )[-1]
)
bad("no face", "00.png: no face was detected", "--skip-bad", options=("--set", "data.align=true"))(
    nothing
)

# ---------------------------------------------------------------- folders and archives

bad("no labels at all", "neither labels.csv", "sub-folder per class")(folders("a.png", "b.png"))
bad("one class folder", "only one class (happy)")(folders(*(f"happy/{i}.png" for i in range(9))))
bad("splits without classes", "test, train are splits", "folder per class")(
    folders("train/a.png", "test/b.png")
)
bad(
    "a table option without a table",
    "data.group_column 'who' needs the table",
    options=("--set", "data.group_column=who"),
)(folders("a/1.png", "b/1.png"))


@bad("a class that lies elsewhere", "sad", "outside the data folder", "data.outside_links=true")
def _(data: Path) -> None:
    folders(*(f"{c}/{i}.png" for c in ("a", "b") for i in range(6)))(data)
    (data.parent / "elsewhere").mkdir()
    (data / "sad").symlink_to(data.parent / "elsewhere")


bad("a broken archive", "a.zip")(packed(("a/1.png", png()), cut=True))
bad("a way out of an archive", "a.zip holds '../x.png'", "nothing was unpacked")(
    packed(("../x.png", png()))
)
bad("an archive with a name twice", "a.zip holds 'a/1.png' twice")(
    packed(("a/1.png", png()), ("a/1.png", png()))
)
bad("an archive without pictures", "holds no pictures")(packed(("a/notes.txt", b"none")))


@bad("an archive with a link", "a.tar holds a link, 'a/1.png'")
def _(data: Path) -> list[str]:
    with tarfile.open(data.parent / "a.tar", "w") as archive:
        link = tarfile.TarInfo("a/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return run_on(data, str(data.parent / "a.tar"))


def features(content: str) -> Harm:
    """FFHQ pictures, the features of the first of which are this."""

    def write(data: Path) -> list[str]:
        folders("00000.png", "00001.png")(data)
        (data / "json").mkdir()
        (data / "json" / "00000.json").write_text(content)
        (data / "json" / "00001.json").write_text("[]")
        return run_on(data, str(data))

    return write


bad("features that are no JSON", "00000.json", "cannot be read")(features("{"))
bad("features that are no list", "00000.json", "no list of faces")(features("{}"))
bad("features that lack the age", "00000.json", "lacks the features of a face")(
    features('[{"faceId": 1}]')
)
bad("a column that UTKFace lacks", "no column 'mood'", "gender or race")(
    lambda data: (
        folders("1_0_0_20170109150557335.jpg.png")(data),
        [*run_on(data, f"utkface:{data}"), "--label-column", "mood"],
    )[-1]
)

# ---------------------------------------------------------------- settings and other verbs

bad("an unknown key", "data.imagesize", options=("--set", "data.imagesize=64"))(nothing)
bad("a value that is none", "data.image_size", "100", options=("--set", "data.image_size=100"))(
    nothing
)
bad("a value out of range", "split.test_share", options=("--set", "split.test_share=0.9"))(nothing)
bad("no value", "stage.key=value", options=("--set", "data.image_size"))(nothing)
bad("an unknown preset", "Unknown preset 'paper'", "paper-age", options=("--preset", "paper"))(
    nothing
)
bad("no such configuration", "mine.yaml does not exist", options=("--config", "mine.yaml"))(nothing)
bad("no such stage", "Unknown stage 'juge'", "judge")(
    words("run", "DATA", "--out", "HERE/run", "--until", "juge")
)
bad("rounds that end early", "--rounds needs the whole chain")(
    words("run", "DATA", "--out", "HERE/run", "--until", "data", "--rounds", "2")
)
bad("ranking no run", "faces is not a run folder")(words("rank", "DATA"))
bad("exporting no run", "faces is not a run folder")(words("export", "DATA", "--out", "HERE/out"))
bad("reporting no run", "nowhere is not a run folder")(words("report", "HERE/nowhere"))
bad("verifying no export", "faces", "manifest.json")(words("verify", "DATA"))
bad("reviewing no run", "faces is no run", "--new")(words("review", "DATA"))
bad("converting nothing", "none.ckpt")(
    words("weights", "convert", "HERE/none.ckpt", "HERE/o.safetensors")
)
bad("importing nothing", "nowhere")(words("weights", "import", "HERE/nowhere"))
bad("checking nothing", "nowhere does not exist")(
    words("check", "HERE/nowhere", "--report", "HERE/check.html")
)
bad("training on nothing", "nowhere does not exist")(
    words("train-generator", "--pictures", "HERE/nowhere", "--out", "HERE/out")
)


@bad("a configuration that is no YAML", "mine.yaml")
def _(data: Path) -> list[str]:
    (data.parent / "mine.yaml").write_text("data: [")
    return [*run_on(data, str(data)), "--config", str(data.parent / "mine.yaml")]


@bad("a configuration of something else", "mine.yaml", "datas")
def _(data: Path) -> list[str]:
    (data.parent / "mine.yaml").write_text("datas: {}")
    return [*run_on(data, str(data)), "--config", str(data.parent / "mine.yaml")]


# ---------------------------------------------------------------- what becomes of them


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A good data set: twelve pictures of two classes and a table."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(12):
        scene(i).save(folder / f"{i:02d}.png")
    rows = "".join(f"{i:02d}.png,{'ab'[i % 2]}\n" for i in range(12))
    (folder / "labels.csv").write_text("file,label\n" + rows)
    return folder


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content."""
    return {
        str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in root.rglob("*")
    }


def command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command as ``diffinf`` does; its exit code."""
    monkeypatch.setattr(sys, "argv", ["diffinf", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


def test_the_data_set_itself_is_good(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every case below would be refused for something else."""
    assert command(run_on(data, str(data)), monkeypatch) == 0


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_sentence_and_leaves_nothing_half_done(
    name: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case, root = CASES[name], data.parent
    if "data.align=true" in case.options:
        pytest.importorskip("facenet_pytorch")
    (root / "secret.png").write_bytes(png())
    monkeypatch.chdir(root)
    given = case.harm(data)
    words = [*(given if isinstance(given, list) else run_on(data, str(data))), *case.options]
    before = tree(root)
    assert command(words, monkeypatch) == 2
    err = capsys.readouterr().err
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith("diffinf: ") and "Traceback" not in err
    for part in case.parts:
        assert part in sentence, f"{part!r} is not in {sentence!r}"
    assert sentence.isprintable() and len(sentence) < 700
    # what a run had begun goes on from there; nothing of it passes for a result
    left = {name: content for name, content in tree(root).items() if name not in before}
    assert not [name for name in left if name.endswith(("done.json", "samples.csv", ".html"))], left
    assert not left or "run/config.yaml" in left, left
    assert {n: c for n, c in tree(root).items() if n in before} == before, "and nothing was changed"
