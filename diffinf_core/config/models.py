"""One frozen, validated model per stage; the dict of a model is the provenance of what it made.

Every constant that the paper leaves open is a key here, with its default and its meaning. A
configuration goes to YAML and back without loss (see :mod:`diffinf_core.config.presets`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: limits beyond any sensible training: more is a typing error, which is better named than begun
MOST_EPOCHS, MOST_BATCH = 100_000, 65_536


class Section(BaseModel):
    """Base of the sections of a configuration, one per stage."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def provenance(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """What a result under these settings is known by: the settings as JSON, but for ``exclude``.

        A setting that a later version added (:func:`later`) and that has its default counts as not there:
        it changes nothing, and runs from before it keep their keys.
        """
        usual = {
            name
            for name, field in type(self).model_fields.items()
            if field.json_schema_extra == _LATER and getattr(self, name) == field.default
        }
        out = self.model_dump(mode="json", exclude={*usual, *exclude})
        inner = {name: getattr(self, name) for name in out}
        return out | {n: v.provenance() for n, v in inner.items() if isinstance(v, Section)}


_LATER: dict[str, Any] = {"later": True}


def later(default: Any, **how: Any) -> Any:
    """A pydantic field that was added to a section after runs had been made without it."""
    return Field(default, json_schema_extra=_LATER, **how)


class DataConfig(Section):
    """Where pictures and labels come from."""

    source: Literal["demo", "folder"] = Field("demo", description="rendered faces, or a folder")
    path: Path | None = Field(None, description="folder with pictures and labels.csv")
    kind: Literal[
        "auto", "table", "folders", "hf", "datasets", "ffhq", "utkface", "archive", "export"
    ] = later("auto", description="what the path holds; auto: guessed from its files")
    outside_links: bool = later(False, description="follow links that lead out of the folder")
    labels: str = Field("labels.csv", description="table in the folder: file, label, ...")
    file_column: str | None = later(
        None, description="column of the file name; default: file, file_name, filename or path"
    )
    label_column: str = Field("label", description="column of the class")
    split_column: str | None = later(
        None, description="column that says train, val or test; default: none, the split is drawn"
    )
    group_column: str | None = Field(
        None, description="column that must not be split, e.g. identity"
    )
    classes: tuple[str, ...] | None = Field(
        None, description="class order; default: the demo's order, else sorted"
    )
    encoding: str | None = later(
        None,
        description="encoding of a text table, e.g. cp1252; default: UTF-8, or its byte-order mark",
    )
    bit_depth: Literal[8, 10, 12, 14, 16] | None = later(
        None,
        description="bits of files with more than 8 per value; default: as many as the data use",
    )
    max_megapixels: float = later(
        100.0, gt=0, le=178, description="larger pictures are refused, but for JPEGs, read reduced"
    )
    skip_bad: bool = later(
        False, description="go on without unreadable pictures and bad rows, which are counted"
    )
    attribute: Literal["expression", "age"] = Field(
        "expression", description="label of the rendered faces, and of FFHQ"
    )
    features: Path | None = later(
        None, description="folder of FFHQ's DCGM features; default: json/ in the data folder"
    )
    ages: Literal["A", "B"] = later(
        "A",
        description="age classes of FFHQ and UTKFace; A: 0-18, 25-40, 50 and up; B: 0-18, 25-50, 60 and up",
    )
    confidence: float = later(
        0.0, ge=0, le=1, description="FFHQ: least confidence of an expression"
    )
    align: bool = later(
        False,
        description="detect faces by MTCNN and bring the largest to FFHQ's framing; needs the extra faces",
    )
    one_face: bool = later(
        False, description="FFHQ, and with align: leave out pictures that show several faces"
    )
    quality: bool = later(
        False,
        description="FFHQ: leave out several faces, turned heads, dark glasses, covered eyes or mouths, blur",
    )
    image_size: Literal[32, 64, 128, 256] = Field(64, description="side in pixels")
    demo_faces: int = Field(
        5000, ge=60, le=1_000_000, description="rendered faces, all splits together"
    )
    seed: int = Field(7, ge=0, lt=2**32, description="seed of the rendered faces")

    @model_validator(mode="after")
    def _has_path(self) -> DataConfig:
        if self.source == "folder" and self.path is None:
            raise ValueError("source 'folder' needs a path.")
        if self.source == "folder" and self.group_column == self.label_column:
            raise ValueError(
                f"group_column {self.group_column!r} is the label; a split by it has no class twice."
            )
        return self


class SplitConfig(Section):
    """Stratified split by hash of the file name, or of the group; a given split is honoured."""

    val_share: float = Field(0.10, gt=0, lt=0.5, description="fraction of validation groups")
    test_share: float = Field(0.20, gt=0, lt=0.5, description="fraction of test groups")
    seed: int = Field(0, ge=0, lt=2**32, description="salt of the hash")
    small_classes: Literal["refuse", "drop", "train"] = later(
        "refuse",
        description="classes too small for every split: refuse the data set, leave them out, or take all of "
        "them for training, so that no figure on the test split is about them",
    )
    folds: int | None = later(
        None, ge=2, le=100, description="cross-validation: the test split is one of so many folds"
    )
    fold: int = later(0, ge=0, lt=100, description="which fold is the test split, from 0")
    copies: Literal["anywhere", "together"] = later(
        "anywhere",
        description="equal files and pictures that look alike: together keeps them in one split, as new runs "
        "on a folder do; anywhere does not look for them",
    )

    @model_validator(mode="after")
    def _fold_exists(self) -> SplitConfig:
        if self.fold >= (self.folds or 1):
            raise ValueError(
                f"there is no fold {self.fold}: folds are counted from 0 to folds - 1."
            )
        return self


class NoiseConfig(Section):
    """Symmetric label noise on the training split only; exactly floor(rate N + 1/2) labels change."""

    rate: float = Field(0.20, ge=0, lt=1, description="fraction of training labels made wrong")
    seed: int = Field(0, ge=0, lt=2**32, description="which labels, and to what")


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
ON_REQUEST = ("self_confidence", "inverse_curvature")


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
    folds: int = Field(5, ge=2, le=1000, description="folds of self_confidence")
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


class JudgeConfig(Section):
    """The independent judge of edits."""

    network: Literal["auto", "faces", "cross-fitted"] = Field(
        "auto",
        description="auto: the demo's for its faces, else published networks of faces where they are and "
        "know the classes, else one trained on the run's own labels",
    )
    classes: dict[str, str] = Field(
        {},
        description="what published networks call a class: an expression, or an age such as 20-39 or 60+; "
        "default: its name",
    )


class RepairConfig(Section):
    """Guided decoding under the composite objective (equations 9 to 12)."""

    generator: Path | None = Field(None, description="generator weights; default: the shipped one")
    method: Literal["guided", "z_sem", "z_sem_x_T"] = Field(
        "guided",
        description="guided decoding, or the optimisation of z_sem, or of z_sem and x_T",
    )
    w_id: float = Field(4.0, ge=0, le=20, description="weight of identity, equation 10")
    w_reg: float = Field(1.0, ge=0, le=20, description="weight of the regulariser, equation 11")
    lambda_struct: float = Field(1.0, ge=0, le=20, description="face-parsing consistency")
    lambda_perc: float = Field(1.0, ge=0, le=20, description="perceptual and pixel distance")
    w_si: float = Field(1.0, ge=0, le=20, description="weight of h_omega, equation 12")
    w_sem: float = Field(0.0, ge=0, le=20, description="classifier guidance; the control, off")
    use_label: bool = Field(True, description="condition the generator on the assigned label")
    guidance: float = Field(
        1.6,
        ge=0,
        le=12,
        description="scale of classifier-free guidance; too much overshoots a middle class",
    )
    guide_from: Literal["seen", "unknown"] = Field(
        "unknown",
        description="negative condition of guidance and of the inversion: none, or the class shown",
    )
    probe: Literal["auto", "always", "never"] = Field(
        "auto",
        description="start from the nearest z_sem to which a linear probe assigns the label; auto: where "
        "the generator is not conditioned on labels",
    )
    probe_margin: float = Field(
        4.0, ge=0, le=50, description="margin in logits of the label in the probe"
    )
    t0: int = Field(600, ge=1, le=999, description="noise level to invert to")
    steps: int = Field(8, ge=1, le=100, description="DDIM steps in each direction")
    step_size: float = Field(
        0.4,
        ge=0,
        le=10,
        description="length of a guided step at t = 0; too much and identity is overshot",
    )
    iterations: int = Field(8, ge=1, le=200, description="steps of a latent optimisation")
    learning_rate: float = Field(0.05, gt=0, le=1, description="Adam rate of z_sem")
    objective_every: int = later(
        1, ge=1, le=100, description="guided steps between gradients of the objective; 1: at each"
    )
    transfer: Literal["gated", "delta", "masked", "none"] = Field(
        "gated",
        description="add the detail that the generator cannot reproduce back to the edit: where it changed "
        "little, everywhere, nowhere; or masked: keep the original where the edit changes little",
    )
    mask_quantile: float = later(
        0.6, ge=0, lt=1, description="fraction of a picture that a masked edit leaves as it is"
    )
    identity: Literal["auto", "demo", "facenet", "dlib", "z_sem", "none"] = Field(
        "auto",
        description="identity network; auto: the demo's for its faces, else facenet or dlib where their "
        "weights are, else the generator's z_sem",
    )
    parsing: Literal["auto", "demo", "segformer", "none"] = Field(
        "auto", description="face parser; auto: the demo's, else segformer where its weights are"
    )
    perceptual: Literal["auto", "demo", "lpips-alex", "lpips-vgg", "lpips-squeeze"] = Field(
        "auto", description="perceptual distance; auto: lpips-alex, below 64 pixels the demo's"
    )
    face_crop: float = Field(
        1.0, gt=0.2, le=1, description="central fraction of each side that facenet sees"
    )
    tries: Literal["one", "smallest", "flagged", "all"] = Field(
        "one",
        description="one attempt; or from lower t0 up to this one, until the classifier's checkpoints see "
        "the label; or flagged edits, or all, under a grid of other settings, too",
    )
    strength: Literal["t0", "guidance"] = later(
        "t0", description="what tries=smallest raises until the label is reached"
    )
    reached: float = Field(
        1.9,
        ge=1,
        le=100,
        description="tries=smallest ends where the checkpoints give the label so many times the probability "
        "of any other class",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="type that the generator computes in; auto: half precision on a GPU"
    )
    batch_size: int = Field(16, ge=1, le=MOST_BATCH, description="pictures edited at once")
    seed: int = Field(
        0, ge=0, lt=2**32, description="seed of the noise that determines the class seen"
    )

    @model_validator(mode="after")
    def _room_for_steps(self) -> RepairConfig:
        if self.steps > self.t0:
            raise ValueError(f"steps {self.steps} cannot exceed t0 {self.t0}.")
        return self


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
    repair: RepairConfig = RepairConfig()
    retrain: RetrainConfig = RetrainConfig()
    review: ReviewConfig = ReviewConfig()
