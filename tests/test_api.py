"""The public surface: what it lists, what it costs to import, that each name is described and typed."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import diffinf_core as di
from diffinf_core.records import DiffInfError
from diffinf_core.runs.extras import EXTRAS, optional_imports
from tests.programs import program

ROOT = Path(__file__).parents[1]
SURFACE = [
    "DiffInfError",
    "Export",
    "InfluencePredictor",
    "Job",
    "PredictorConfig",
    "Progress",
    "RefinedDataset",
    "RepairConfig",
    "RepairedPicture",
    "RunConfig",
    "load_autoencoder",
    "make_config",
    "open_run",
    "rank_labels",
    "read_export",
    "repair",
    "self_influence",
]


def in_a_process(program: str) -> str:
    """What a program prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return done.stdout.strip()


def test_the_surface_is_this_list_and_no_other() -> None:
    assert di.__all__ == SURFACE
    assert dir(di) == sorted([*SURFACE, "__version__"])
    with pytest.raises(AttributeError, match="no attribute 'secret'"):
        di.secret  # noqa: B018


def public_methods(value: Any) -> list[Any]:
    """The functions that a user calls: the thing itself, or a class's own methods."""
    if not inspect.isclass(value):
        return [value]
    own = [v for k, v in vars(value).items() if not k.startswith("_") or k == "__init__"]
    unwrapped = [getattr(v, "fget", None) or getattr(v, "__func__", v) for v in own]
    ours = [v for v in unwrapped if inspect.isfunction(v)]
    return [v for v in ours if v.__module__.startswith("diffinf_core")]


@pytest.mark.parametrize("name", SURFACE)
def test_every_name_resolves_is_described_and_typed(name: str) -> None:
    value = getattr(di, name)
    assert value.__name__ == name and inspect.getdoc(value)
    assert value.__module__.startswith("diffinf_core.")
    for function in public_methods(value):
        if "__dataclass_fields__" in vars(value) and function.__name__ == "__init__":
            continue
        signature = inspect.signature(function)
        untyped = [
            p.name
            for p in signature.parameters.values()
            if p.annotation is p.empty and p.name not in ("self", "cls")
        ]
        assert not untyped, f"{function.__qualname__}: {untyped}"
        assert signature.return_annotation is not signature.empty, function.__qualname__
        assert inspect.getdoc(function) or function.__name__ == "__init__", function.__qualname__


def test_a_name_that_is_used_twice_is_the_same_object() -> None:
    assert di.Job is di.Job and "Job" in vars(di)


HEAVY = ("torch", "pandas", "numpy", "gradio", "plotly", "pydantic", "sqlalchemy", "transformers")


def test_importing_loads_nothing_heavy_until_it_is_used() -> None:
    loaded = f"[m for m in {HEAVY!r} if m in sys.modules]"
    program = (
        f"import sys, json, diffinf_core as di; di.__all__, dir(di); first = {loaded}; "
        f"di.DiffInfError, di.Progress; second = {loaded}; di.rank_labels; third = {loaded}; "
        "print(json.dumps([first, second, third]))"
    )
    first, second, third = json.loads(in_a_process(program))
    assert first == second == []
    assert {"torch", "pandas"} <= set(third) and "gradio" not in third and "plotly" not in third


BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_library_works_without_an_extra(extra: str) -> None:
    program = BLOCK.format(packages=EXTRAS[extra]) + (
        "import diffinf_core as di, diffinf_core.cli, diffinf_core.engine, diffinf_core.diffusion.trainer\n"
        "print([getattr(di, n).__name__ for n in di.__all__] == di.__all__)"
    )
    assert in_a_process(program) == "True"


@pytest.mark.parametrize(
    "extra,call",
    [
        ("app", "from diffinf_core.cli.serve import serve_run; serve_run('run', 1)"),
        (
            "postgres",
            "from diffinf_core.review.database import Database; Database('postgresql://h/d', 'run')",
        ),
        ("faces", "from diffinf_core.correction.faces import FaceNet; FaceNet('file')"),
        ("faces", "from diffinf_core.correction.faces import FaceParsing; FaceParsing('file')"),
        ("faces", "from diffinf_core.correction.faces import Lpips; Lpips('alex', 'file')"),
    ],
)
def test_a_missing_extra_is_named_where_it_is_needed(extra: str, call: str) -> None:
    program = BLOCK.format(packages=EXTRAS[extra]) + (
        "from diffinf_core.records import DiffInfError\n"
        f"try:\n    {call}\nexcept DiffInfError as error:\n    print(error)"
    )
    said = in_a_process(program)
    assert said.endswith(f"is not installed; run: pip install 'diffinf-core[{extra}]'")
    assert said.split()[2] in EXTRAS[extra] and "\n" not in said


def test_other_missing_modules_are_not_taken_for_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError), optional_imports():
        import no_such_package  # noqa: F401
    assert not issubclass(DiffInfError, ImportError)


def test_every_requirement_is_a_dependency_or_in_an_extra() -> None:
    def bare(line: str) -> str:
        return line.split("=")[0].split(">")[0].split("[")[0].strip().lower()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == set(EXTRAS)
    declared = {bare(d) for group in [project["dependencies"], *extras.values()] for d in group}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {bare(line) for line in lines if line and not line.startswith("#")}
    assert declared == pinned
    assert not declared.intersection(EXTRAS["app"]) & {bare(d) for d in project["dependencies"]}
    assert project["license"] == "Apache-2.0"


# ---------------------------------------------------------------- what is written about it


def test_the_page_is_written_from_the_docstrings_as_they_are() -> None:
    module = program("make_api")
    assert module.PAGE.read_text() == module.page(), "run: make docs"


def test_docstrings_become_markdown() -> None:
    module = program("make_api")
    doc = "Use ``x``, as :func:`f` does::\n\n    a\n\n    b\n\nArgs:\n    n: a number\n        of things."
    assert list(module.body(doc)) == [
        "Use `x`, as `f` does:", "", "```python", "a", "", "b", "```", "",
        "**Args**", "", "- `n`: a number", "  of things.",
    ]  # fmt: skip

    def f(self: object, a: list[int] = [], *, b: str = "c,d") -> dict[str, int]:  # noqa: B006
        return {}

    assert (
        module.signature("f", f)[1] == "f(a: list[int] = [], *, b: str = 'c,d') -> dict[str, int]"
    )
