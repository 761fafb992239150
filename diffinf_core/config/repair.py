"""The repair, and the judge of its edits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from diffinf_core.config.section import MOST_BATCH, Section, later


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
    method: Literal["guided", "inpaint", "z_sem", "z_sem_x_T"] = Field(
        "guided",
        description="guided decoding; or within the region where the label shows, by a generator that "
        "inpaints; or the optimisation of z_sem, or of z_sem and x_T",
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
    without_code: float | None = later(
        None,
        ge=0,
        le=1,
        description="fraction of the guidance's direction that is predicted without z_sem, where a generator "
        "was trained with conditioning dropout of it; default: 1 on pixels, 0.7 on latents",
    )
    covariate_guidance: float = later(
        0.0,
        ge=0,
        le=12,
        description="scale of guidance towards the picture's own covariates, which stay the same in an edit; "
        "fewer of them change with the label then, and fewer labels turn",
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
        0.6,
        ge=0,
        lt=1,
        description="fraction of a picture that a masked edit leaves as it is; with method=inpaint before "
        "the region is widened by a cell and loses some separate pieces",
    )
    decode_from: Literal["inversion", "mean"] = later(
        "inversion",
        description="what method=inpaint decodes the region from: the picture's own noise, which keeps more "
        "of it; or the mean of the noised picture, without noise, which draws cleaner",
    )
    refine_t0: int = later(
        100,
        ge=0,
        le=999,
        description="with decode_from=mean: noise level to which the drawn region is noised and denoised "
        "once more, to add the detail that a mean lacks; 0: off",
    )
    keep_colour: bool = later(
        False,
        description="give the edit the mean colour that the middle of the original has, where it changed",
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
        0,
        ge=0,
        lt=2**32,
        description="seed of the noise that determines the class seen, and of that of refine_t0",
    )

    @property
    def weighted(self) -> bool:
        """Whether the weights of the objective have an effect."""
        return self.step_size > 0 or self.method in ("z_sem", "z_sem_x_T")

    @property
    def masked(self) -> bool:
        """Whether an edit is confined to a region."""
        return self.method == "inpaint" or self.transfer == "masked"

    @model_validator(mode="after")
    def _room_for_steps(self) -> RepairConfig:
        if self.steps > self.t0:
            raise ValueError(f"steps {self.steps} cannot exceed t0 {self.t0}.")
        if self.method == "inpaint" and self.probe == "always":
            raise ValueError(
                "probe=always needs method=guided; inpainting compares two decodings of one z_sem."
            )
        return self
