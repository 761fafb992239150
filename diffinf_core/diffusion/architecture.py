"""Shapes of generators: what one is conditioned on, what it works on, how large its networks are."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: values of the coarse colour in a code
COLOUR = 3


class Attribute(BaseModel):
    """A labelled property that the generator can be conditioned on, e.g. expression: happy, neutral, ..."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    classes: tuple[str, ...] = Field(min_length=2)
    covariate: bool = Field(
        False,
        description="a property of the picture that an edit must not change; named after a column of "
        "the data, and known for each original",
    )


class LatentSpace(BaseModel):
    """The latents that a generator works on: of which first stage, and how they are normalised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_stage: str = Field(description="SHA-256 of the first stage's weights")
    name: str = Field(description="what the first stage was made from")
    factor: int = Field(ge=1, description="pixels per latent cell and side")
    mean: tuple[float, ...] = Field(min_length=1, description="of each channel over training")
    deviation: tuple[float, ...] = Field(min_length=1, description="of each channel over training")

    @model_validator(mode="after")
    def _one_per_channel(self) -> LatentSpace:
        if len(self.mean) != len(self.deviation) or min(self.deviation) <= 0:
            raise ValueError("mean and deviation need one value per channel, the latter above 0.")
        return self


class Architecture(BaseModel):
    """Shape of a small diffusion autoencoder; stored beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(64, ge=16, le=512, description="side of the square picture in pixels")
    z_dim: int = Field(128, ge=8, description="length of z_sem")
    patch: int = Field(2, ge=1, description="pixel-unshuffle factor in front of both networks")
    widths: tuple[int, ...] = Field((32, 96, 128, 144), description="UNet channels per level")
    embed: int = Field(192, ge=8, description="length of the time and code embeddings")
    encoder_width: int = Field(32, ge=8, description="channels of the encoder's first level")
    attributes: tuple[Attribute, ...] = Field(
        (), description="attributes that the generator is conditioned on"
    )
    label_alone: bool = Field(
        False,
        description="trained with conditioning dropout of z_sem: the label has an effect without the code",
    )
    latent: LatentSpace | None = Field(None, description="works on these latents; None: on pixels")
    colour: bool = Field(
        False, description="conditioned on the mean colour of the picture's middle, beside z_sem"
    )
    grey: bool = Field(
        False,
        description="trained on grey pictures, on latents: of others it sees and draws the lightness alone",
    )
    inpaints: bool = Field(
        False, description="takes what is known of x_0 around a region, and fills the region"
    )

    @property
    def side(self) -> int:
        """Side of what the networks work on: of the picture, or of its latents."""
        return self.image_size // (self.latent.factor if self.latent else 1)

    @property
    def channels(self) -> int:
        """Channels of what the networks work on."""
        return len(self.latent.mean) if self.latent else 3

    @property
    def code_dim(self) -> int:
        """Length of a code: of z_sem, and of the colour that stands after it."""
        return self.z_dim + (COLOUR if self.colour else 0)

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        if len(self.widths) < 2 or any(w % 8 for w in (*self.widths, self.encoder_width)):
            raise ValueError("widths must be at least two multiples of 8.")
        if self.grey and not self.latent:
            raise ValueError("grey is for a generator on latents.")
        by = self.patch * 2 ** (len(self.widths) - 1)
        if self.latent:
            by *= self.latent.factor
        if self.image_size % by:
            what = "first stage's factor x " if self.latent else ""
            raise ValueError(
                f"image_size {self.image_size} must be divisible by {what}patch x 2^(levels - 1) = {by}."
            )
        return self
