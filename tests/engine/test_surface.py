"""The engine is a composition: small classes side by side, none built on another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffinf_core import engine

ROOM = Path(engine.__file__).parent
#: more public methods and properties than this make a class of several things
MOST = 16


def classes(text: str) -> Iterator[ast.ClassDef]:
    """Every class of a module, nested ones too."""
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef))


def public(cls: ast.ClassDef) -> list[ast.FunctionDef]:
    """The public methods and properties of a class."""
    return [
        node
        for node in cls.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


def towers(texts: dict[str, str]) -> list[str]:
    """Classes with a base class that is defined in the same texts."""
    own = {cls.name for text in texts.values() for cls in classes(text)}
    return [
        f"{file}: {cls.name} is a {ast.unparse(base)}"
        for file, text in texts.items()
        for cls in classes(text)
        for base in cls.bases
        if ast.unparse(base).split("[")[0].split(".")[-1] in own
    ]


def crowded(text: str) -> list[str]:
    """Classes with more than :data:`MOST` public methods."""
    return [cls.name for cls in classes(text) if len(public(cls)) > MOST]


def undescribed(text: str) -> list[str]:
    """Public methods without a docstring."""
    return [
        f"{cls.name}.{node.name}"
        for cls in classes(text)
        if not cls.name.startswith("_")
        for node in public(cls)
        if not ast.get_docstring(node)
    ]


TEXTS = {file.name: file.read_text() for file in sorted(ROOM.glob("*.py"))}


def test_no_class_is_built_on_another() -> None:
    assert towers(TEXTS) == []


@pytest.mark.parametrize("file", TEXTS)
def test_no_class_does_everything_and_each_method_is_described(file: str) -> None:
    assert crowded(TEXTS[file]) == [] and undescribed(TEXTS[file]) == []


def test_what_the_room_exports_is_there() -> None:
    assert engine.__all__ == sorted(engine.__all__, key=lambda n: (not n.isupper(), n))
    assert all(hasattr(engine, name) for name in engine.__all__)


def test_towers_crowds_and_silence_are_seen() -> None:
    assert towers({"a.py": "class A: ...", "b.py": "class B(a.A): ..."}) == ["b.py: B is a a.A"]
    assert towers({"a.py": "class A(Exception): ...\nclass B(Generic[T]): ..."}) == []
    methods = "".join(f"\n    def m{i}(self): ..." for i in range(MOST + 1))
    assert crowded(f"class A:{methods}") == ["A"]
    assert undescribed("class A:\n    @property\n    def x(self): ...\n    def _y(self): ...") == [
        "A.x"
    ]
