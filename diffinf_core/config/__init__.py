"""What a run is computed with: one frozen model per stage, presets, YAML and ``stage.key=value``."""

from diffinf_core.config.data import DataConfig, NoiseConfig, SplitConfig
from diffinf_core.config.generator import GeneratorConfig
from diffinf_core.config.models import ARMS, RetrainConfig, ReviewConfig, RunConfig
from diffinf_core.config.presets import PRESETS, make_config, preset_for
from diffinf_core.config.ranking import (
    AUTO,
    ON_REQUEST,
    SIGNALS,
    ClassifierConfig,
    InfluenceConfig,
    PredictorConfig,
    estimator_names,
)
from diffinf_core.config.repair import JudgeConfig, RepairConfig
from diffinf_core.config.section import Section
from diffinf_core.config.text import (
    change,
    described_yaml,
    explain,
    from_file,
    from_yaml,
    merge,
    parse_overrides,
    to_yaml,
    values_of,
)

__all__ = [
    "ARMS",
    "AUTO",
    "ON_REQUEST",
    "PRESETS",
    "SIGNALS",
    "ClassifierConfig",
    "DataConfig",
    "GeneratorConfig",
    "InfluenceConfig",
    "JudgeConfig",
    "NoiseConfig",
    "PredictorConfig",
    "RepairConfig",
    "RetrainConfig",
    "ReviewConfig",
    "RunConfig",
    "Section",
    "SplitConfig",
    "change",
    "described_yaml",
    "estimator_names",
    "explain",
    "from_file",
    "from_yaml",
    "make_config",
    "merge",
    "parse_overrides",
    "preset_for",
    "to_yaml",
    "values_of",
]
