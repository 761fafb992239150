"""Every method by name. Your own: subclass :class:`Method` and call :func:`register`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from diffinf_core.baselines.aum import AUM
from diffinf_core.baselines.confident import ConfidentLearning
from diffinf_core.baselines.controls import CONTROLS
from diffinf_core.baselines.coteaching import CoTeaching
from diffinf_core.baselines.cross_entropy import CrossEntropy
from diffinf_core.baselines.dividemix import DivideMix
from diffinf_core.baselines.elr import ELR
from diffinf_core.baselines.elr_plus import ELRPlus
from diffinf_core.baselines.loss_removal import LossRemoval
from diffinf_core.baselines.method import Method
from diffinf_core.baselines.promix import ProMix
from diffinf_core.baselines.proselflc import ProSelfLC
from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.removal import Removal
from diffinf_core.baselines.repair import Repair
from diffinf_core.baselines.small_loss import SmallLoss
from diffinf_core.baselines.sop import SOP
from diffinf_core.records import DiffInfError

#: name to class, in the order of the tables
METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        CrossEntropy,
        SmallLoss,
        CoTeaching,
        LossRemoval,
        ELR,
        ELRPlus,
        ProSelfLC,
        ProMix,
        DivideMix,
        ConfidentLearning,
        AUM,
        SOP,
        Removal,
        Repair,
    )
}
#: other names that papers use
ALIASES = {"proself": "proselflc", "elr+": "elr_plus", "co-teaching": "coteaching", "ce": "noisy"}

Preset = Literal["matched", "source"]


def register(method: type[Method]) -> type[Method]:
    """Add a method under its ``name``, for use by name; usable as a decorator.

    Raises :class:`DiffInfError` for a class without a name, or under the name of another.
    """
    if not method.name or not method.title:
        raise DiffInfError(f"The method {method.__name__} has no name or no title; set both.")
    taken = {**CONTROLS, **METHODS}.get(method.name, method) is not method
    if taken or method.name in ALIASES:
        raise DiffInfError(f"There is a method {method.name!r} already; choose another name.")
    METHODS[method.name] = method
    return method


def make_method(name: str, preset: Preset = "matched", **options: Any) -> Method:
    """A method or control by name or alias: the hyperparameters of a preset, and ``options`` over them."""
    known = ALIASES.get(name.lower(), name.lower())
    everything = {**METHODS, **CONTROLS}
    if known not in everything:
        raise DiffInfError(f"Unknown method {name!r}; known are {', '.join(everything)}.")
    kind = everything[known]
    allowed = [f.name for f in fields(kind)]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        what = f"it has {', '.join(allowed)}" if allowed else "it has none"
        raise DiffInfError(f"{kind.title} has no option {unknown[0]!r}; {what}.")
    given = dict(kind.source_options) if preset == "source" else {}
    return kind(**{**given, **_checked(kind, options)})


#: what a hyperparameter of that name can be, its ends included; others are at least 0
_RANGES: dict[str, tuple[float, float]] = {
    "beta": (0, 1), "ema": (0, 1), "forget_rate": (0, 1), "fraction": (0, 1), "rho": (0, 1),
    "rho_end": (0, 1), "tau": (0, 1), "threshold": (0, 1), "prior_momentum": (0, 1), "theta": (0, 1),
    "percentile": (0, 100), "folds": (2, 100), "checkpoints": (1, 1000), "alpha": (1e-6, 1e6),
    "mixup_alpha": (0, 1e6), "temperature": (1e-6, 1e6), "ramp": (1, 1e6), "sharpness": (0, 500),
}  # fmt: skip


def _checked(kind: type[Method], options: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters of the types of a method's fields, in their ranges."""
    hints, out = get_type_hints(kind), {}
    for name, value in options.items():
        try:
            out[name] = TypeAdapter(hints[name], config={"allow_inf_nan": False}).validate_python(
                value
            )
        except ValidationError as error:
            what = error.errors()[0]["msg"].lower()
            raise DiffInfError(f"{kind.title} cannot have {name} = {value!r}: {what}.") from error
        low, high = _RANGES.get(name, (0, float("inf")))
        if isinstance(out[name], int | float) and not low <= out[name] <= high:
            bounds = f"between {low:g} and {high:g}" if high < float("inf") else f"at least {low:g}"
            raise DiffInfError(f"{kind.title} cannot have {name} = {value!r}: it must be {bounds}.")
    return out


def recipe_of(method: Method, preset: Preset, matched: Recipe) -> Recipe:
    """The recipe of a preset: the one shared by all rows, or that of the method's authors.

    Methods whose authors prescribe no recipe use the shared one in both.
    """
    own = method.source_recipe if preset == "source" else None
    return own or matched
