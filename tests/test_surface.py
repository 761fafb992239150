"""The house: everything public is described, rooms know only those before them, no pickles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "diffinf_core"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.read_text().strip())

#: everybody may import these
SHARED = {"records", "config", "runs", "weights"}
#: data flows down this list; a room imports only from those above it.
ROOMS = {
    name: place
    for place, names in enumerate(
        ["data", "classifier", "influence", "diffusion", "correction", "review", "export",
         "baselines", "experiments", "report", "engine", "ui", "cli", "__init__"]
    )
    for name in names.split()
}  # fmt: skip
#: among themselves they have an order, too
SHARED_ORDER = ["records", "config", "runs", "weights"]

Described = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def name_of(file: Path) -> str:
    """A file as a person would name it."""
    return str(file.relative_to(PACKAGE))


def room_of(file: Path) -> str:
    """The room, or shared module, that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST, file: Path) -> Iterator[tuple[str, int]]:
    """Every module that is imported anywhere in a file, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                home = ["diffinf_core", *file.relative_to(PACKAGE).parts[: -node.level]]
                base = ".".join([*home, base]).rstrip(".")
            if base == "diffinf_core":
                yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield base, node.lineno


def forbidden(file: Path, text: str) -> list[str]:
    """Imports against the order of the rooms."""
    room, out = room_of(file), []
    for module, line in imported(ast.parse(text), file):
        parts = module.split(".")
        if parts[0] != "diffinf_core" or len(parts) < 2 or parts[1] == room:
            continue
        other = parts[1]
        if other in SHARED:
            fine = room not in SHARED or SHARED_ORDER.index(other) < SHARED_ORDER.index(room)
        elif room in SHARED or other not in ROOMS:
            fine = False
        else:
            fine = ROOMS[other] < ROOMS[room]
        if not fine:
            out.append(f"line {line}: {room} imports {module}")
    return out


def undescribed(text: str) -> list[str]:
    """Public modules, classes and functions without a docstring."""

    def public(nodes: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef]:
        for node in nodes:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                yield node

    tree = ast.parse(text)
    found: list[tuple[str, Described]] = [("the module", tree)]
    found += [(node.name, node) for node in public(tree.body)]
    return [name for name, node in found if not ast.get_docstring(node)]


#: modules that rebuild any object from a file, and so run what the file says
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NEVER = ("eval", "exec", "yaml.load", "pd.read_pickle", "pandas.read_pickle")


def unsafe(text: str) -> list[str]:
    """Ways to run code from a file of data."""
    out = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            out += [f"line {node.lineno}: imports {a.name}" for a in node.names
                    if a.name.split(".")[0] in PICKLES]  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLES:
            out.append(f"line {node.lineno}: imports {node.module}")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if (
                called in NEVER
                or (called == "torch.load" and given.get("weights_only") != "True")
                or given.get("allow_pickle", "False") != "False"
            ):
                out.append(f"line {node.lineno}: {ast.unparse(node)}")
    return out


# ---------------------------------------------------------------- the package


def test_every_room_is_there_and_none_is_forgotten() -> None:
    assert len(FILES) > 40
    assert {room_of(f) for f in FILES} == SHARED | set(ROOMS)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_everything_public_is_described(file: Path) -> None:
    assert undescribed(file.read_text()) == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_run_only_with_the_data(file: Path) -> None:
    assert forbidden(file, file.read_text()) == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_of_data_can_run_code(file: Path) -> None:
    assert unsafe(file.read_text()) == []


#: the only files that may name the truth; who reads what is in ``data.truth.READERS``
READS_TRUTH = {
    "runs/seal.py",
    "data/truth.py",
    "data/ingest.py",
    "data/part.py",
    "data/split.py",
    "classifier/stage.py",
    "experiments/ablation.py",
    "experiments/arms.py",
    "experiments/comparison.py",
    "experiments/controls.py",
    "experiments/retrain.py",
    "experiments/rounds.py",
    "experiments/run_problem.py",
    "export/plan.py",
    "report/summary.py",
    "engine/compare.py",
    "engine/describe.py",
}
#: names that open the truth, or any split by its name, and those that a path or importlib would use
TRUTH_NAMES = {"open_truth", "truth_file", "open_part", "TEST"}
TRUTH_TEXTS = {"truth", ".truth", "data.truth", "diffinf_core.data.truth", "truth.csv"}


def reaches_truth(file: Path, text: str) -> list[str]:
    """Every way to the truth in a file: an import of any form, an attribute, a name in a string."""
    out, tree = [], ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = any(alias.name == "diffinf_core.data.truth" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = next(imported(node, file))[0].rpartition(".")[2]
            names = {alias.name for alias in node.names}
            found = module == "truth" or bool(names & TRUTH_NAMES)
            found |= module == "data" and "truth" in names
        elif isinstance(node, ast.Attribute):
            found = ast.unparse(node).endswith("data.truth") or node.attr in TRUTH_NAMES
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = node.value.split("/")
            found = bool(TRUTH_TEXTS & set(parts)) and " " not in node.value
        else:
            continue
        if found:
            out.append(f"line {node.lineno}: {ast.unparse(node)}")
    return out


def test_the_test_split_and_the_truth_are_named_by_their_readers_only() -> None:
    for file in (f for f in FILES if name_of(f) not in READS_TRUTH):
        assert reaches_truth(file, file.read_text()) == [], name_of(file)


@pytest.mark.parametrize(
    "line",
    [
        "from diffinf_core.data.truth import open_truth",
        "from diffinf_core.data import truth",
        "from diffinf_core.data import truth as t",
        "from ..data import truth",
        "from ..data.truth import Truth",
        "import diffinf_core.data.truth",
        "import diffinf_core.data.truth as t",
        "import diffinf_core\ndiffinf_core.data.truth",
        "from diffinf_core import data\ndata.truth",
        "importlib.import_module('diffinf_core.data.truth')",
        "importlib.import_module('.truth', 'diffinf_core.data')",
        "sys.modules['diffinf_core.data.truth']",
        "getattr(data, 'truth')",
        "stage / 'truth' / 'truth.csv'",
        "open('stages/data-0/truth/truth.csv')",
        "from diffinf_core.data.part import open_part",
        "from diffinf_core.data.split import TEST",
    ],
)
def test_a_way_to_the_truth_is_seen(line: str) -> None:
    assert reaches_truth(PACKAGE / "review/queue.py", line)
    assert not reaches_truth(PACKAGE / "review/queue.py", "from diffinf_core.data.part import Part")


def test_threads_and_processes_of_the_work_inherit_its_seal() -> None:
    starters = {"ThreadPoolExecutor", "ProcessPoolExecutor", "Thread", "Process", "Pool"}
    for file in (f for f in FILES if room_of(f) not in {"runs", "engine", "ui", "cli"}):
        tree = ast.parse(file.read_text())
        named = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        named |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert not named & starters, f"{name_of(file)}: use runs.workers"


def test_ui_and_cli_see_no_room_but_the_engine_and_no_torch() -> None:
    closed = set(ROOMS) - {"engine", "ui", "cli"}
    for file in (f for f in FILES if room_of(f) in {"ui", "cli"}):
        modules = [m.split(".") for m, _ in imported(ast.parse(file.read_text()), file)]
        assert not [m for m in modules if m[0] == "diffinf_core" and closed & set(m[1:2])], file
        assert not [
            m for m in modules if m[0] == "diffinf_core" and m[1:2] == ["engine"] and m[2:]
        ], file
        assert not [m for m in modules if m[0] == "torch"], file


def test_the_command_line_sets_the_threads_before_torch_is_loaded() -> None:
    asked = "import sys, diffinf_core.cli; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]


# ---------------------------------------------------------------- the checks themselves


@pytest.mark.parametrize(
    "file,line",
    [
        ("data/folder.py", "from diffinf_core.classifier.network import Classifier"),
        ("classifier/stage.py", "import diffinf_core.influence.stage"),
        ("classifier/stage.py", "from diffinf_core import engine"),
        ("review/queue.py", "def f():\n    from diffinf_core.export import folder"),
        ("ui/app.py", "from diffinf_core.cli import main"),
        ("runs/run.py", "from diffinf_core.data import split"),
        ("config/models.py", "from diffinf_core.runs.files import Run"),
        ("data/folder.py", "from ..classifier import network"),
    ],
)
def test_an_import_against_the_order_is_seen(file: str, line: str) -> None:
    assert len(forbidden(PACKAGE / file, line)) == 1


@pytest.mark.parametrize(
    "file,line",
    [
        ("classifier/stage.py", "from diffinf_core.data.part import open_training"),
        ("classifier/stage.py", "from diffinf_core.classifier.network import Classifier"),
        ("classifier/stage.py", "from .network import Classifier"),
        ("data/folder.py", "from diffinf_core.runs.files import Run\nimport numpy"),
        ("cli/app.py", "from diffinf_core.ui import app"),
    ],
)
def test_an_import_with_the_order_is_allowed(file: str, line: str) -> None:
    assert forbidden(PACKAGE / file, line) == []


def test_missing_descriptions_and_unsafe_calls_are_seen() -> None:
    text = 'def f():\n    pass\nclass C:\n    """Yes."""\ndef _g():\n    pass\n'
    assert undescribed(text) == ["the module", "f"]
    for line in (
        "import pickle",
        "from pickle import loads",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "pd.read_pickle(file)",
        "yaml.load(text)",
    ):
        assert len(unsafe(line)) == 1, line
    assert unsafe("torch.load(file, weights_only=True)\nnp.load(file)\nyaml.safe_load(x)") == []
