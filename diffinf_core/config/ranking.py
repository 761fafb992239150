"""The classifier, the ranking of its training set, and the predictor of influence."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from diffinf_core.config.section import MOST_BATCH, MOST_EPOCHS, Section, later


class ClassifierConfig(Section):
    """Training of f_theta (equation 1)."""

    architecture: Literal["small", "resnet18"] = Field("small", description="network")
    pretrained: bool = Field(True, description="ImageNet weights for resnet18 where present")
    epochs: int = Field(24, ge=1, le=MOST_EPOCHS, description="passes over the training split")
    batch_size: int = Field(64, ge=2, le=MOST_BATCH, description="pictures per step")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="Adam peak rate eta")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning-rate schedule"
    )
    checkpoints: int = Field(
        12, ge=1, le=MOST_EPOCHS, description="snapshots T, at regular intervals"
    )
    augment: bool = Field(False, description="random flips and 4 % shifts")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights and batches")

    @model_validator(mode="after")
    def _enough_epochs(self) -> ClassifierConfig:
        if self.checkpoints > self.epochs:
            raise ValueError(f"checkpoints {self.checkpoints} cannot exceed epochs {self.epochs}.")
        return self


#: scores that every ranked run has
SIGNALS = ("self_influence", "last_layer", "mean_loss", "aum", "el2n", "forgetting")
#: scores that cost more than the ranking itself and are computed when asked for
ON_REQUEST = ("self_confidence", "feature_confidence", "inverse_curvature")
#: the score that ranks planted errors best
AUTO = "auto"


def estimator_names(estimator: str) -> tuple[str, ...]:
    """The scores behind ``"a"`` or a rank mean ``"a+b"``; ValueError for a name that is none."""
    names = tuple(part.strip() for part in estimator.split("+"))
    for name in names:
        if name not in SIGNALS + ON_REQUEST:
            raise ValueError(
                f"unknown estimator {name!r}; choose one of "
                f"{', '.join(SIGNALS + ON_REQUEST)}, or several joined by +"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"estimator {estimator!r} names one score twice")
    return names


class InfluenceConfig(Section):
    """Ranking of the training set (equation 5)."""

    estimator: str = Field(
        "self_influence",
        description="score to rank by; self_influence is the paper's; a+b ranks by the mean rank; auto "
        "takes the one that ranks planted errors best, for one more training",
    )
    tau: float = Field(10.0, gt=0, le=100, description="per cent called high-influence")
    checkpoint_rule: Literal["all", "early", "agreement"] = Field(
        "early",
        description="sum over all checkpoints, over those up to the lowest validation loss, or over "
        "those before the labels are fitted better than the classifier generalises",
    )
    batch_size: int | None = Field(
        None, ge=1, le=MOST_BATCH, description="pictures per pass; default: from free memory"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16 is faster on a GPU and 1 to 6 % off"
    )
    folds: int = Field(
        5, ge=2, le=1000, description="folds of self_confidence and feature_confidence"
    )
    damping: float = Field(
        0.1,
        gt=0,
        le=1e6,
        description="lambda of equation 4, in mean eigenvalues of a layer's curvature",
    )
    curvature_samples: int = Field(
        2000,
        ge=16,
        le=10_000_000,
        description="pictures that inverse_curvature estimates curvature from",
    )
    planted: float = later(
        0.02, gt=0, le=0.2, description="fraction of labels planted wrong to test the ranking"
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="seed of folds, sampled labels and planted errors"
    )

    @field_validator("estimator")
    @classmethod
    def _known_estimator(cls, value: str) -> str:
        return value if value == AUTO else "+".join(estimator_names(value))


class PredictorConfig(Section):
    """Influence predictor h_omega (equation 12), cross-fitted over the training set."""

    folds: int = Field(5, ge=2, le=1000, description="K of the cross-fitting")
    epochs: int = Field(40, ge=1, le=MOST_EPOCHS, description="passes per fold")
    hidden: int = Field(64, ge=4, le=65_536, description="width")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="Adam rate")
    feature_noise: float = Field(
        0.1, ge=0, le=100, description="noise on features, in their deviations"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of folds and weights")
