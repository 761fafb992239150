"""The only door for the command line and the user interface: an opened run and its services.

A stage takes the run folder and yields progress; it holds no live object across calls, so the same
plan can be driven by a thread, a process or a cluster.
"""

from diffinf_core.correction.repairer import NOT_OF_A_VERSION
from diffinf_core.data.check import Checked
from diffinf_core.data.show import encoded, heat
from diffinf_core.data.sources import named_source
from diffinf_core.data.text import natural_key
from diffinf_core.diffusion.loading import existing_weights
from diffinf_core.engine.benchmark import BenchmarkSettings, method_choices
from diffinf_core.engine.check import check, write_check
from diffinf_core.engine.cifar import benchmark_cifar
from diffinf_core.engine.doctor import Diagnosis, Finding, counted, diagnose, mend
from diffinf_core.engine.feature_map import MAPS
from diffinf_core.engine.pictures import Pictures
from diffinf_core.engine.pipeline import STAGES
from diffinf_core.engine.run import OpenRun, open_run
from diffinf_core.engine.tools import convert_generator, train_generator, train_perceptor
from diffinf_core.export.dataset import read_export
from diffinf_core.export.formats import FORMATS
from diffinf_core.export.plan import EDITS, SPLITS
from diffinf_core.influence.estimators import ESTIMATORS
from diffinf_core.report.check import check_body
from diffinf_core.report.explore import STATES, View
from diffinf_core.review.bulk import MARK as BULK_MARK
from diffinf_core.review.bulk import Bulk
from diffinf_core.review.rules import Rule
from diffinf_core.review.unseen import BY_JUDGE, Unseen, drawn
from diffinf_core.review.unseen import LEAST as LEAST_LOOKED

__all__ = [
    "BULK_MARK",
    "BY_JUDGE",
    "EDITS",
    "ESTIMATORS",
    "FORMATS",
    "LEAST_LOOKED",
    "MAPS",
    "NOT_OF_A_VERSION",
    "SPLITS",
    "STAGES",
    "STATES",
    "BenchmarkSettings",
    "Bulk",
    "Checked",
    "Diagnosis",
    "Finding",
    "OpenRun",
    "Pictures",
    "Rule",
    "Unseen",
    "View",
    "benchmark_cifar",
    "check",
    "check_body",
    "convert_generator",
    "counted",
    "diagnose",
    "drawn",
    "encoded",
    "existing_weights",
    "heat",
    "mend",
    "method_choices",
    "named_source",
    "natural_key",
    "open_run",
    "read_export",
    "train_generator",
    "train_perceptor",
    "write_check",
]
