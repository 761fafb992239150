"""Factors of a rendered face: who it is, what it expresses, how old it is, how it was photographed.

The factors are the truth of the demo data set. A sampler takes a ``numpy.random.Generator`` and
nothing else, so a data set is reproduced by its seed. Lengths are in face units: the picture spans
about [-1, 1] in both directions, y downwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXPRESSIONS = ("happy", "neutral", "surprised", "sad")
AGES = ("young", "middle", "old")
PARTS = ("background", "skin", "hair", "brow", "eye", "nose", "mouth", "other")
BACKGROUND, SKIN, HAIR, BROW, EYE, NOSE, MOUTH, OTHER = range(8)

HAPPY, NEUTRAL, SURPRISED, SAD = range(4)
YOUNG, MIDDLE, OLD = range(3)

Colour = NDArray[np.float64]

_SKIN_TONES = np.array(
    [
        [255, 224, 196],
        [241, 194, 160],
        [224, 172, 125],
        [198, 134, 90],
        [150, 98, 66],
        [104, 66, 45],
    ],
    float,
)
_HAIR_TONES = np.array(
    [
        [28, 22, 20],
        [64, 42, 30],
        [106, 72, 44],
        [198, 160, 92],
        [158, 74, 38],
        [86, 36, 30],
    ],
    float,
)
_EYE_TONES = np.array(
    [[70, 46, 30], [96, 74, 40], [60, 110, 160], [80, 130, 90], [110, 115, 120]], float
)

HAIR_CROP, HAIR_BALD, HAIR_BOB, HAIR_LONG, HAIR_CURLS, HAIR_BUN, HAIR_PARTED, HAIR_FRINGE = range(8)
NO_BEARD, MOUSTACHE, FULL_BEARD, GOATEE = range(4)
NO_GLASSES, ROUND_GLASSES, SQUARE_GLASSES, OVAL_GLASSES = range(4)


@dataclass(frozen=True)
class Identity:
    """Everything that stays when the same person is photographed again."""

    skin: Colour
    skin_depth: float  # 0 light .. 5 dark; the demo's subgroup column is made from it
    hair: Colour
    hair_style: int
    hairline: float
    face_width: float
    face_height: float
    squareness: float
    jaw: float
    ear: float
    iris: Colour
    eye_spacing: float
    eye_size: float
    eye_tilt: float
    eye_y: float
    nose_width: float
    nose_length: float
    brow_thickness: float
    brow_height: float
    brow_length: float
    mouth_width: float
    mouth_y: float
    lip_thickness: float
    lip_redness: float
    glasses: int
    glasses_colour: Colour
    beard: int
    freckles: bool
    mole: tuple[float, float] | None
    cloth: Colour
    seed: int


@dataclass(frozen=True)
class Expression:
    """Continuous muscles of the face; ``intensity`` in [0, 1] says how strongly it is shown."""

    kind: int
    intensity: float
    curve: float = 0.0
    open: float = 0.0
    width: float = 1.0
    brow_raise: float = 0.0
    brow_angle: float = 0.0
    eye_open: float = 1.0


@dataclass(frozen=True)
class Nuisance:
    """Pose, light, background and sensor: what a label must not depend on."""

    rotation: float
    scale: float
    shift: tuple[float, float]
    yaw: float
    gaze: tuple[float, float]
    light_angle: float
    light_strength: float
    gain: float
    tint: Colour
    background: tuple[Colour, Colour]
    background_kind: int
    blur: float
    noise: float
    seed: int


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw one person."""
    depth = rng.uniform(0, len(_SKIN_TONES) - 1)
    low = int(depth)
    part = depth - low
    skin = _SKIN_TONES[low] * (1 - part) + _SKIN_TONES[min(low + 1, 5)] * part
    # Dark skin with blond hair would make hair colour a give-away of the rendering.
    hair = _HAIR_TONES[rng.integers(0, 2 if depth > 3.2 else 6)]
    return Identity(
        skin=np.clip(skin + rng.normal(0, 5, 3), 20, 255),
        skin_depth=float(depth),
        hair=np.clip(hair + rng.normal(0, 8, 3), 10, 235),
        hair_style=int(rng.integers(0, 8)),
        hairline=rng.uniform(0.30, 0.44),
        face_width=rng.uniform(0.50, 0.64),
        face_height=rng.uniform(0.66, 0.78),
        squareness=rng.uniform(1.9, 2.9),
        jaw=rng.uniform(0.0, 0.30),
        ear=rng.uniform(0.07, 0.13),
        iris=_EYE_TONES[rng.integers(0, 5)] + rng.normal(0, 8, 3),
        eye_spacing=rng.uniform(0.215, 0.30),
        eye_size=rng.uniform(0.105, 0.145),
        eye_tilt=rng.uniform(-0.18, 0.18),
        eye_y=rng.uniform(-0.14, -0.04),
        nose_width=rng.uniform(0.055, 0.115),
        nose_length=rng.uniform(0.19, 0.29),
        brow_thickness=rng.uniform(0.026, 0.060),
        brow_height=rng.uniform(0.13, 0.175),
        brow_length=rng.uniform(0.11, 0.15),
        mouth_width=rng.uniform(0.17, 0.235),
        mouth_y=rng.uniform(0.35, 0.42),
        lip_thickness=rng.uniform(0.022, 0.045),
        lip_redness=rng.uniform(0, 1),
        glasses=int(rng.choice(4, p=[0.68, 0.12, 0.12, 0.08])),
        glasses_colour=rng.uniform(10, 120, 3),
        beard=int(rng.choice(4, p=[0.70, 0.10, 0.10, 0.10])),
        freckles=bool(rng.random() < 0.15),
        mole=(rng.uniform(-0.35, 0.35), rng.uniform(0.05, 0.4)) if rng.random() < 0.25 else None,
        cloth=rng.uniform(30, 230, 3),
        seed=int(rng.integers(1 << 30)),
    )


def sample_expression(
    rng: np.random.Generator, kind: int, intensity: float | None = None
) -> Expression:
    """Draw one showing of an expression class.

    ``kind`` is an index into :data:`EXPRESSIONS`. A neutral face is a faint trace (at most 0.2) of
    one of the others: real neutral faces are not a fixed template either. Without ``intensity``
    the other classes start at 0.27, so faint ones are honestly hard.
    """
    trace = kind
    if kind == NEUTRAL:
        intensity = rng.uniform(0, 0.20) if intensity is None else intensity
        trace = int(rng.choice([HAPPY, SURPRISED, SAD]))
    elif intensity is None:
        intensity = rng.uniform(0.27, 1.0)
    t = float(intensity)
    j = rng.uniform(0.75, 1.25, 4)
    curve = opening = brow_raise = brow_angle = 0.0
    width = eye_open = 1.0
    if trace == HAPPY:
        grin = rng.choice([0, 1]) * rng.uniform(0.35, 1.0)
        curve, opening, width = 1.0 * t * j[0], 0.55 * grin * t, 1 + 0.38 * t * j[1]
        brow_raise, eye_open = 0.22 * t * rng.random(), 1 - 0.38 * t * j[2]
    elif trace == SURPRISED:
        opening, width = 1.25 * t * j[0], 1 - 0.38 * t * j[1]
        brow_raise, eye_open = 1.0 * t * j[2], 1 + 0.50 * t * j[3]
    else:
        curve, opening, width = -0.85 * t * j[0], 0.10 * t * rng.random(), 1 - 0.10 * t
        brow_raise, brow_angle, eye_open = 0.12 * t, 1.0 * t * j[1], 1 - 0.32 * t * j[2]
    return Expression(
        kind=kind,
        intensity=t,
        curve=curve + rng.normal(0, 0.06),
        open=max(0.0, opening + rng.normal(0, 0.02)),
        width=width,
        brow_raise=brow_raise + rng.normal(0, 0.08),
        brow_angle=brow_angle + rng.normal(0, 0.08),
        eye_open=eye_open * (1 + rng.normal(0, 0.05)),
    )


def sample_age(rng: np.random.Generator, kind: int) -> float:
    """Draw an age in [0, 1] from one of the three separated ranges of :data:`AGES`."""
    low, high = ((0.0, 0.28), (0.36, 0.62), (0.70, 1.0))[kind]
    return float(rng.uniform(low, high))


def sample_nuisance(rng: np.random.Generator, strength: float = 1.0) -> Nuisance:
    """Draw pose, light, background and sensor noise; ``strength`` 0 is a studio photograph."""
    first = rng.uniform(30, 235) * 0.5 + 0.5 * rng.uniform(30, 235, 3)
    second = rng.uniform(30, 235) * 0.5 + 0.5 * rng.uniform(30, 235, 3)
    return Nuisance(
        rotation=rng.normal(0, 0.09 * strength),
        scale=rng.uniform(0.92, 1.07),
        shift=(rng.normal(0, 0.045 * strength), rng.normal(0, 0.035 * strength)),
        yaw=rng.normal(0, 0.04),
        gaze=(rng.normal(0, 0.3), rng.normal(0, 0.3)),
        light_angle=rng.uniform(0, 2 * np.pi),
        light_strength=rng.uniform(0, 0.38) * strength,
        gain=rng.uniform(0.80, 1.12),
        tint=rng.normal(0, 0.04, 3),
        background=(first, second),
        background_kind=int(rng.integers(0, 3)),
        blur=rng.uniform(0, 0.8) * strength,
        noise=rng.uniform(0, 4) * strength,
        seed=int(rng.integers(1 << 30)),
    )
