"""One frozen, validated model per stage; the dict of a model is the provenance of what it made.

Every constant that the paper leaves open is a key here, with its default and its meaning. A
configuration goes to YAML and back without loss (see :mod:`diffinf_core.config.presets`).
"""

from __future__ import annotations

from pydantic import Field, model_validator

from diffinf_core.config.data import DataConfig, NoiseConfig, SplitConfig
from diffinf_core.config.generator import GeneratorConfig
from diffinf_core.config.ranking import ClassifierConfig, InfluenceConfig, PredictorConfig
from diffinf_core.config.repair import JudgeConfig, RepairConfig
from diffinf_core.config.section import MOST_EPOCHS, Section, later

#: data sets that can be trained on; the last two need the truth
ARMS = ("noisy", "removal", "repaired", "reviewed", "relabelled", "clean")


class RetrainConfig(Section):
    """The comparison: each arm retrained from scratch on several seeds."""

    arms: tuple[str, ...] = Field(
        ("noisy", "removal", "repaired", "reviewed"), description="data sets to train on"
    )
    seeds: int = Field(3, ge=1, le=1000, description="runs per arm")
    epochs: int = Field(
        24, ge=1, le=MOST_EPOCHS, description="passes; cosine decay whatever the classifier used"
    )
    learning_rate: float = Field(1e-3, gt=0, le=10, description="Adam peak rate")

    @model_validator(mode="after")
    def _known_arms(self) -> RetrainConfig:
        unknown = set(self.arms) - set(ARMS)
        if unknown:
            raise ValueError(f"unknown arm {sorted(unknown)[0]!r}.")
        return self


class ReviewConfig(Section):
    """How people review; nothing is computed from it."""

    blind: bool = later(
        False,
        description="hide scores, flags, suggestion and predictions of a pair until its reviewer decided",
    )
    second_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="fraction of the decided pairs that a second reviewer judges blindly",
    )
    hold_minutes: float = Field(
        10.0, gt=0, le=600, description="how long a pair stays with the reviewer who looks at it"
    )
    rule_error: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="most that an auto-accept rule may be wrong, as the upper end of its 95 % interval",
    )


class RunConfig(Section):
    """Everything a run depends on."""

    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    noise: NoiseConfig = NoiseConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    influence: InfluenceConfig = InfluenceConfig()
    predictor: PredictorConfig = PredictorConfig()
    judge: JudgeConfig = JudgeConfig()
    generator: GeneratorConfig = GeneratorConfig()
    repair: RepairConfig = RepairConfig()
    retrain: RetrainConfig = RetrainConfig()
    review: ReviewConfig = ReviewConfig()
