"""The rivals of Table 1 under one interface: each trains on labels of which some are wrong."""

from diffinf_core.baselines.controls import CONTROLS
from diffinf_core.baselines.method import Method, Needs, Outcome
from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.registry import METHODS, make_method, recipe_of, register
from diffinf_core.baselines.task import Task

__all__ = [
    "CONTROLS",
    "METHODS",
    "Method",
    "Needs",
    "Outcome",
    "Recipe",
    "Task",
    "make_method",
    "recipe_of",
    "register",
]
