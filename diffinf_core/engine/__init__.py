"""The only door for the command line and the user interface: stages in order, and the review verbs.

A stage takes the run folder and yields progress; it holds no live object across calls, so the same
plan can be driven by a thread, a process or a cluster.
"""

from diffinf_core.data.show import encoded, heat
from diffinf_core.engine.pipeline import STAGES
from diffinf_core.engine.review import Engine
from diffinf_core.engine.tools import check, convert_generator, train_generator, train_perceptor
from diffinf_core.influence.estimators import ESTIMATORS
from diffinf_core.report.explore import STATES, View
from diffinf_core.review.bulk import Bulk
from diffinf_core.review.rules import Rule

__all__ = [
    "ESTIMATORS",
    "STAGES",
    "STATES",
    "Bulk",
    "Engine",
    "Rule",
    "View",
    "check",
    "convert_generator",
    "encoded",
    "heat",
    "train_generator",
    "train_perceptor",
]
