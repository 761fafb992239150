"""DiffInf: find training pictures whose labels disturb a classifier, repair the pictures, review repairs.

``import diffinf_core as di``. Each name is imported when it is first used, so that importing the package
costs next to nothing; ``docs/api.md`` describes them all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffinf_core.config import PredictorConfig as PredictorConfig
    from diffinf_core.config import RepairConfig as RepairConfig
    from diffinf_core.config import RunConfig as RunConfig
    from diffinf_core.config import make_config as make_config
    from diffinf_core.correction.repair import RepairedPicture as RepairedPicture
    from diffinf_core.correction.repair import repair as repair
    from diffinf_core.diffusion import load_autoencoder as load_autoencoder
    from diffinf_core.engine import open_run as open_run
    from diffinf_core.export.dataset import Export as Export
    from diffinf_core.export.dataset import RefinedDataset as RefinedDataset
    from diffinf_core.export.dataset import read_export as read_export
    from diffinf_core.influence.labels import rank_labels as rank_labels
    from diffinf_core.influence.predict import InfluencePredictor as InfluencePredictor
    from diffinf_core.influence.self_influence import self_influence as self_influence
    from diffinf_core.records import DiffInfError as DiffInfError
    from diffinf_core.records import Job as Job
    from diffinf_core.records import Progress as Progress

__version__ = "0.1.0"

__all__ = [
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

#: where each name is defined
_HOME = {
    "DiffInfError": "records",
    "Export": "export.dataset",
    "InfluencePredictor": "influence.predict",
    "Job": "records",
    "PredictorConfig": "config",
    "Progress": "records",
    "RefinedDataset": "export.dataset",
    "RepairConfig": "config",
    "RepairedPicture": "correction.repair",
    "RunConfig": "config",
    "load_autoencoder": "diffusion",
    "make_config": "config",
    "open_run": "engine",
    "rank_labels": "influence.labels",
    "read_export": "export.dataset",
    "repair": "correction.repair",
    "self_influence": "influence.self_influence",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What a user may see: the public names."""
    return sorted([*__all__, "__version__"])
