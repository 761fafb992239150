"""The map of the training split by who is shown: the features of the run's identity network."""

from __future__ import annotations

from typing import Any

from diffinf_core.classifier.training import device
from diffinf_core.correction.perceptors import chosen, identity_key, identity_network
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.data.profile import profile_of
from diffinf_core.influence.embedding import extract, map_stages
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work

_BATCH = 64


def _kind(run: Run) -> str:
    config = run.config
    return chosen(config.repair, profile_of(run).perceptors, config.data.image_size)["identity"]


def _settings(run: Run) -> list[Any]:
    kind = _kind(run)
    if kind in ("z_sem", "none"):
        raise DiffInfError(
            "This run has no identity network; install the published ones or set repair.identity to one."
        )
    return identity_key(kind, run.config.repair.face_crop, "")


def run_identity_features(run: Run) -> Work:
    """Compute the identity vectors that are missing; a killed pass goes on with the slice it had reached."""
    train, kind = open_training(run), _kind(run)
    network = identity_network(kind, device(), run.config.repair.face_crop)
    assert network is not None  # the settings have refused otherwise
    yield from extract(IDENTITY_FEATURES.folder(run), train, network, _BATCH)
    return {"network": kind, "n": len(train)}


#: identity vectors, float32 in slices as those of the classifier
IDENTITY_FEATURES = Stage(
    "identity_features",
    run_identity_features,
    "extract the identity of every training picture",
    inputs=(DATA,),
    settings=_settings,
)
#: the maps of identity by method
IDENTITY_MAPS = map_stages("identity_map", IDENTITY_FEATURES)


def has_identity(run: Run) -> bool:
    """Whether the run has an identity network whose features could be mapped."""
    try:
        _settings(run)
    except (DiffInfError, OSError):
        return False
    return True
