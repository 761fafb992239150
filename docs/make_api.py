"""Write docs/api.md from the docstrings of everything public: ``make docs``.

Run from the repository root: ``python docs/make_api.py``.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pydantic import BaseModel  # noqa: E402

import diffinf_core as di  # noqa: E402

PAGE = ROOT / "docs" / "api.md"
MEASURED = ROOT / "tests" / "benchmarks" / "results" / "api.json"
#: every public name stands under one heading
PARTS = {
    "Find suspicious samples": ("self_influence", "rank_labels", "InfluencePredictor"),
    "Repair pictures": ("repair", "RepairedPicture", "load_autoencoder"),
    "Runs and exports": ("open_run", "read_export", "Export", "RefinedDataset"),
    "Jobs and errors": ("Job", "Progress", "DiffInfError"),
    "Configuration": ("make_config", "RunConfig", "RepairConfig", "PredictorConfig"),
}
SECTIONS = ("Args", "Returns", "Raises")


def marked_up(text: str) -> str:
    """reStructuredText's inline marks as Markdown's."""
    text = re.sub(r":(?:class|meth|func|data|attr|mod):`~?\.?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`")


def body(doc: str) -> Iterator[str]:
    """A docstring as Markdown: sections become lists, literal blocks are fenced."""
    lines = doc.splitlines()
    section = ""
    for i, line in enumerate(lines):
        stripped = line.strip()
        if stripped.rstrip(":") in SECTIONS and line == stripped:
            section = stripped.rstrip(":")
            yield from (f"**{section}**", "")
        elif not section and line.startswith("    "):
            before = next((v for v in reversed(lines[:i]) if v.strip()), "")
            if not before.startswith("    "):
                yield "```python"
            yield line[4:]
            after = next((v for v in lines[i + 1 :] if v.strip()), "")
            if not after.startswith("    "):
                yield "```"
        elif section in ("Args", "Raises") and re.match(r" {4}\w+: ", line):
            name, _, text = stripped.partition(": ")
            yield f"- `{name}`: {marked_up(text)}"
        elif section in ("Args", "Raises") and stripped:
            yield f"  {marked_up(stripped)}"
        elif line.endswith("::"):
            yield marked_up(line[:-1])
        else:
            yield marked_up(stripped)


class Verbatim(str):
    """Text that prints without quotes: annotations are text here, and defaults may not be."""

    def __repr__(self) -> str:
        return str(self)


def signature(name: str, value: Any) -> list[str]:
    """The call, an argument a line where it is long."""
    call = inspect.signature(value)
    kept = []
    for parameter in call.parameters.values():
        default = parameter.default
        if inspect.isfunction(default):
            parameter = parameter.replace(default=Verbatim(default.__name__))
        elif repr(default) == "<factory>":
            parameter = parameter.replace(default=Verbatim("..."))
        if parameter.name != "self":
            kept.append(parameter.replace(annotation=Verbatim(parameter.annotation)))
    back = call.empty if inspect.isclass(value) else Verbatim(call.return_annotation)
    text = name + str(call.replace(parameters=kept, return_annotation=back))
    if len(text) > 90:
        arguments = ",\n    ".join(split_arguments(text))
        text = f"{name}(\n    {arguments},\n){text[text.rindex(')') + 1 :]}"
    return ["```python", text, "```", ""]


def split_arguments(text: str) -> list[str]:
    """The arguments of a printed signature, split at commas outside brackets."""
    inside = text[text.index("(") + 1 : text.rindex(")")]
    out, depth = [""], 0
    for letter in inside:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            out.append("")
        else:
            out[-1] += letter
    return [part.strip() for part in out]


def fields(model: type[BaseModel]) -> Iterator[str]:
    """A configuration as a table."""
    yield from ("| field | default | meaning |", "|---|---|---|")
    for name, field in model.model_fields.items():
        default = field.default
        shown = (
            f"see `{type(default).__name__}`"
            if isinstance(default, BaseModel)
            else f"`{default!r}`"
        )
        yield f"| `{name}` | {shown} | {marked_up(field.description or '')} |"
    yield ""


def members(value: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines itself."""
    for name, member in vars(value).items():
        function = getattr(member, "__func__", member)
        if not name.startswith("_") and (
            inspect.isfunction(function) or isinstance(member, property)
        ):
            yield name, function


def described(name: str) -> Iterator[str]:
    """One public name."""
    value = getattr(di, name)
    yield from (f"### `di.{name}`", "")
    doc = inspect.getdoc(value) or ""
    if inspect.isclass(value):
        if issubclass(value, BaseModel):
            yield from (*body(doc), "", *fields(value))
            return
        if not issubclass(value, Exception):
            yield from signature(f"di.{name}", value)
        yield from (*body(doc), "")
        if not issubclass(value, Exception):
            for called, member in members(value):
                yield from (f"#### `{name}.{called}`", "")
                if not isinstance(member, property):
                    yield from signature(called, member)
                yield from (*body(inspect.getdoc(member) or ""), "")
    else:
        yield from (*signature(f"di.{name}", value), *body(doc), "")


def resolves(name: str) -> bool:
    """Whether a public name can be imported."""
    try:
        return hasattr(di, name)
    except ImportError:
        return False


def page() -> str:
    """The whole page."""
    assert sorted(sum(PARTS.values(), ())) == sorted(di.__all__)
    m = json.loads(MEASURED.read_text())
    lines = [
        "<!-- Written by docs/make_api.py from the docstrings; edit those and run `make docs`. -->",
        "# The library",
        "",
        "`pip install diffinf-core`, then `import diffinf_core as di`. Extras: `diffinf-core[app]` for the "
        "review app, `[postgres]` for a shared journal, `[faces]` for the published networks for "
        "photographs of faces, `[latent]` for first stages of diffusers.",
        "[examples/quickstart.ipynb](../examples/quickstart.ipynb) scores a model, repairs a picture and "
        "reads an export.",
        "",
        f"Measured with `python -m tests.benchmarks.api`: `di.self_influence` on a {m['network']} "
        f"({m['size']} x {m['size']} pixels, {m['samples']} samples, one thread) takes "
        f"{m['public_over_internal'][1]:.2f} times (quartiles {m['public_over_internal'][0]:.2f} to "
        f"{m['public_over_internal'][2]:.2f}) as long as the machinery behind it and "
        f"{m['public_over_plain'][1]:.2f} times ({m['public_over_plain'][0]:.2f} to "
        f"{m['public_over_plain'][2]:.2f}) as long as a plain forward and backward pass; importing the "
        f"package takes {m['import_seconds'] * 1000:.0f} ms. torch {m['torch']}, {m['rounds']} rounds.",
        "",
    ]
    for heading, names in PARTS.items():
        lines += [f"## {heading}", ""]
        for name in filter(resolves, names):
            lines += described(name)
    text = "\n".join(lines).rstrip() + "\n"
    return re.sub(r"\n{3,}", "\n\n", text)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
