"""Draw a face from its factors, together with the mask of its parts.

The picture is painted back to front at three times the size with Pillow and averaged down; light and
sensor noise are applied at the final size. The mask is painted with the same outlines, without
antialiasing, so that every pixel has exactly one part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from diffinf_core.data.rendered import faces as f
from diffinf_core.data.rendered.canvas import (
    COS,
    SIN,
    SUPERSAMPLE,
    Canvas,
    Points,
    ellipse,
    grid,
    rgb,
    ring,
    xy,
)
from diffinf_core.data.rendered.faces import Expression, Identity, Nuisance


class _Face:
    """The measures of one face after ageing, shared by the parts that are painted."""

    def __init__(self, person: Identity, shown: Expression, age: float, nuisance: Nuisance) -> None:
        self.person, self.shown, self.yaw = person, shown, nuisance.yaw
        self.age = age
        self.child = max(0.0, (0.32 - age) / 0.32)
        self.old = float(np.clip((age - 0.45) / 0.55, 0, 1))
        grey = float(np.clip((age - 0.42) / 0.4, 0, 1)) * 0.92
        self.skin = (
            person.skin * (1 - 0.10 * self.old) + np.array([190, 170, 150]) * 0.10 * self.old
        )
        self.hair = person.hair * (1 - grey) + np.array([205, 203, 200]) * grey
        self.width = person.face_width * (1 + 0.05 * self.child + 0.02 * self.old)
        self.height = person.face_height * (1 - 0.07 * self.child)
        self.squareness = person.squareness - 0.25 * self.child
        self.jaw = person.jaw + 0.05 * self.child
        self.eye_y = person.eye_y + 0.07 * self.child
        self.eye_size = person.eye_size * (1 + 0.14 * self.child - 0.06 * self.old)
        self.mouth_y = person.mouth_y + 0.01 * self.old
        self.nose_length = person.nose_length * (1 - 0.22 * self.child + 0.08 * self.old)
        self.smile = max(0.0, shown.curve)
        # Marks of the skin and strands of the hair belong to the person, not to the photograph.
        self.dots = np.random.default_rng(person.seed)

    def outline(self, cos: Points = COS, sin: Points = SIN) -> Points:
        """A superellipse whose lower half narrows to the jaw."""
        x = np.sign(cos) * np.abs(cos) ** (2 / self.squareness)
        y = np.sign(sin) * np.abs(sin) ** (2 / self.squareness)
        return xy(x * self.width * (1 - self.jaw * np.clip(y, 0, 1) ** 1.5), y * self.height)


def _background(canvas: Canvas, nuisance: Nuisance) -> None:
    first, second = nuisance.background
    size = canvas.size
    if nuisance.background_kind == 0:
        canvas.image.paste(rgb(first), (0, 0, size, size))
    elif nuisance.background_kind == 1:
        ramp = np.linspace(0, 1, 16)[:, None, None] * (second - first) + first
        column = Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8))
        canvas.image.paste(column.resize((size, size), Image.Resampling.BILINEAR))
    else:
        canvas.image.paste(rgb(first), (0, 0, size, size))
        top, bottom = np.random.default_rng(nuisance.seed + 1).uniform(0.2, 0.8, 2) * size
        ImageDraw.Draw(canvas.image).polygon(
            [(0, 0), (top, 0), (bottom, size), (0, size)], fill=rgb(first * 0.6 + second * 0.4)
        )


def _back_hair(canvas: Canvas, face: _Face) -> None:
    style, w, h = face.person.hair_style, face.width, face.height
    dark = rgb(face.hair, 0.78)
    if style in (f.HAIR_BOB, f.HAIR_LONG):
        end = 0.55 if style == f.HAIR_BOB else 0.95
        canvas.fill(ellipse(0, -0.10, w + 0.16, h + 0.12), dark, f.HAIR)
        sides = [(-w - 0.16, -0.1), (w + 0.16, -0.1), (w + 0.13, end), (-w - 0.13, end)]
        canvas.fill(np.array(sides), dark, f.HAIR)
    elif style == f.HAIR_CURLS:
        for i, a in enumerate(np.linspace(np.pi * 0.95, np.pi * 2.05, 13)):
            curl = ellipse((w + 0.08) * np.cos(a), -0.12 + (h + 0.02) * np.sin(a), 0.17, 0.17)
            canvas.fill(curl, dark if i % 2 else rgb(face.hair, 0.92), f.HAIR)
    elif style == f.HAIR_BUN:
        canvas.fill(ellipse(0, -h - 0.16, 0.2, 0.17), dark, f.HAIR)
        canvas.fill(ellipse(-0.04, -h - 0.20, 0.10, 0.06), rgb(face.hair, 0.95))


def _body(canvas: Canvas, face: _Face) -> None:
    w = face.width
    neck = np.array([(-w * 0.55, 0.35), (w * 0.55, 0.35), (w * 0.6, 1.3), (-w * 0.6, 1.3)])
    canvas.fill(neck, rgb(face.skin, 0.80), f.SKIN)
    shirt = [(-1.2, 1.5), (-0.95, 1.0), (-w * 0.62, 0.86), (0, 1.0), (w * 0.62, 0.86)]
    canvas.fill(np.array([*shirt, (0.95, 1.0), (1.2, 1.5)]), rgb(face.person.cloth), f.OTHER)


def _head(canvas: Canvas, face: _Face) -> None:
    person, w, skin = face.person, face.width, face.skin
    for side in (-1, 1):
        y = face.eye_y + 0.10
        ear = ellipse(side * w * 0.98, y, person.ear * 0.75, person.ear * 1.35)
        canvas.fill(ear, rgb(skin, 0.90), f.SKIN)
        canvas.fill(ellipse(side * w, y, person.ear * 0.35, person.ear * 0.8), rgb(skin, 0.74))
    canvas.fill(face.outline(), rgb(skin), f.SKIN)
    flush = np.clip(skin * np.array([1.03, 0.90, 0.88]), 0, 255)
    share = 0.35 + 0.3 * face.child
    for side in (-1, 1):
        cheek = (side * w * 0.58 + face.yaw, 0.20 - 0.05 * face.smile)
        for size, strength in ((1.0, 0.6), (0.65, 1.0)):
            tone = flush * share * strength + skin * (1 - share * strength)
            canvas.fill(ellipse(*cheek, 0.13 * size, 0.095 * size), rgb(tone))


def _skin_marks(canvas: Canvas, face: _Face) -> None:
    person, skin, old, w = face.person, face.skin, face.old, face.width
    eye_y, size, esp = face.eye_y, face.eye_size, person.eye_spacing
    spots = face.dots.random((60, 2))
    if person.freckles:
        for u, v in spots[:26]:
            x = (1 if u > 0.5 else -1) * abs(u - 0.5) * 2 * 0.42
            dot = ellipse(x, 0.06 + 0.2 * v, 0.017, 0.017, every=5)
            canvas.fill(dot, rgb(skin * np.array([0.80, 0.68, 0.60])))
    if old <= 0.12:
        return
    deep, faint = rgb(skin, 0.98 - 0.30 * old), rgb(skin, 1 - 0.20 * old)
    t = np.linspace(-1, 1, 9)
    for i, y in enumerate((-0.36, -0.44, -0.30)):
        if old > 0.12 + 0.22 * i:
            furrow = xy(t * w * 0.62, y + eye_y + 0.12 + 0.018 * np.cos(3 * t))
            canvas.stroke(furrow, faint, 0.014 + 0.010 * old)
    for side in (-1, 1):
        fold = [
            (side * (person.nose_width + 0.055) + face.yaw, eye_y + face.nose_length + 0.01),
            (side * (person.mouth_width + 0.045), face.mouth_y - 0.09),
            (side * (person.mouth_width + 0.065), face.mouth_y + 0.03 + 0.08 * old),
        ]
        canvas.stroke(np.array(fold), deep, 0.012 + 0.014 * old)
        for i in range(3):
            if old > 0.25 + 0.2 * i:
                foot = [
                    (side * (esp + size * 1.15), eye_y + 0.005),
                    (side * (esp + size * 1.75), eye_y - 0.07 + 0.07 * i),
                ]
                canvas.stroke(np.array(foot), faint, 0.012 + 0.006 * old)
        bag = [
            (side * (esp - size * 0.8), eye_y + size * 1.05),
            (side * esp, eye_y + size * 1.42),
            (side * (esp + size * 0.8), eye_y + size * 1.05),
        ]
        canvas.stroke(np.array(bag), faint, 0.016 + 0.012 * old)
        if old > 0.5:
            jowl = [(side * w * 0.72, 0.33), (side * w * 0.60, 0.52)]
            canvas.stroke(np.array(jowl), faint, 0.03)
    for u, v in spots[30 : 30 + int(9 * old)]:
        spot = ellipse((u - 0.5) * w * 1.5, -0.5 + v, 0.020, 0.018, every=5)
        canvas.fill(spot, rgb(skin * np.array([0.86, 0.78, 0.72])))


def _beard(canvas: Canvas, face: _Face) -> None:
    person, y = face.person, face.mouth_y
    if person.beard == f.NO_BEARD or face.age <= 0.25:
        return
    colour = rgb(face.hair * 0.75 + face.skin * 0.25, 0.92)
    if person.beard == f.FULL_BEARD:
        a = np.linspace(-0.02 * np.pi, 1.02 * np.pi, 24)
        inner = xy(np.cos(a) * face.width * 0.72, 0.15 + np.sin(a) * (y - 0.06) * 0.35)
        canvas.fill(ring(face.outline(np.cos(a), np.sin(a)), inner), colour, f.HAIR)
    if person.beard == f.GOATEE:
        canvas.fill(ellipse(0, y + 0.20, 0.16, 0.15), colour, f.HAIR)
    if person.beard in (f.MOUSTACHE, f.FULL_BEARD):
        w = person.mouth_width * 1.1
        lip = [(-w, y - 0.02), (-0.03, y - 0.105), (0.03, y - 0.105), (w, y - 0.02), (0, y - 0.05)]
        canvas.fill(np.array(lip), rgb(face.hair, 0.8), f.HAIR)


def _mouth(canvas: Canvas, face: _Face) -> None:
    person, shown, skin, yaw = face.person, face.shown, face.skin, face.yaw * 0.7
    w, bend, gape = person.mouth_width * shown.width, shown.curve * 0.125, shown.open * 0.115
    thick = person.lip_thickness * (1 - 0.30 * face.old)
    t = np.linspace(-1, 1, 17)
    line = face.mouth_y + bend * 0.35 - bend * t**2
    x = t * w + yaw
    round_ = np.sqrt(np.clip(1 - t**2, 0, 1))
    red = np.array([176, 72, 72]) * (0.6 + 0.4 * skin.mean() / 200)
    share = 0.35 + 0.45 * person.lip_redness
    lips = skin * 0.80 * (1 - share) + red * share
    bow = 1 + 0.25 * np.cos(2 * np.pi * t) - 0.25
    upper = line - gape * 0.45 * round_ - thick * (1 - 0.9 * np.abs(t) ** 1.5) * bow
    lower = line + gape * 1.1 * round_ + thick * 1.25 * round_
    canvas.fill(ring(xy(x, upper), xy(x, lower)), rgb(lips), f.MOUTH)
    if gape > 0.018:
        top, bottom = line - gape * 0.40 * round_, line + gape * round_
        inside = ring(xy(x * 0.93, top), xy(x * 0.93, bottom))
        canvas.fill(inside, (58, 18, 22), f.MOUTH)
        if shown.curve > 0.2:
            teeth = top + min(gape * 0.75, 0.07) * round_
            canvas.fill(ring(xy(x * 0.86, top), xy(x * 0.86, teeth)), (242, 238, 228))
        elif gape > 0.08:
            tongue = ellipse(yaw, face.mouth_y + gape * 0.62, w * 0.5, gape * 0.25)
            canvas.fill(tongue, (168, 72, 72))
    else:
        canvas.stroke(xy(x * 1.04, line), rgb(lips, 0.48), 0.022, f.MOUTH)
    if face.smile > 0.25:
        for side in (-1, 1):
            dimple = [
                (side * (w + 0.045) + yaw, face.mouth_y - 0.10 - bend * 0.6),
                (side * (w + 0.065) + yaw, face.mouth_y - 0.02 - bend * 0.4),
            ]
            canvas.stroke(np.array(dimple), rgb(skin, 0.80), 0.018)


def _nose(canvas: Canvas, face: _Face) -> None:
    w, yaw, skin = face.person.nose_width * (1 + 0.08 * face.old), face.yaw, face.skin
    tip = yaw * 1.4
    y = face.eye_y + face.nose_length + 0.03
    bridge = [(-w * 0.35 + yaw, face.eye_y + 0.08), (w * 0.30 + yaw, face.eye_y + 0.08)]
    wings = [(w + tip, y), (tip, y + 0.05), (-w + tip, y)]
    canvas.fill(np.array(bridge + wings), rgb(skin, 0.94), f.NOSE)
    canvas.fill(ellipse(tip, y, w, 0.045), rgb(skin, 0.90), f.NOSE)
    canvas.fill(ellipse(tip + w * 0.1, y - 0.03, w * 0.35, 0.03), rgb(skin, 1.08))
    for side in (-1, 1):
        nostril = ellipse(side * w * 0.55 + tip, y + 0.018, 0.020, 0.014)
        canvas.fill(nostril, rgb(skin, 0.52))


def _eyes(canvas: Canvas, face: _Face, gaze: tuple[float, float]) -> None:
    person, shown, skin, size = face.person, face.shown, face.skin, face.eye_size
    height = size * 0.62 * float(np.clip(shown.eye_open, 0.3, 1.7))
    t = np.linspace(-1, 1, 13)
    lid = np.sqrt(np.clip(1 - t**2, 0, 1))
    upper, lower = -height * lid, height * 0.85 * lid * (1 - 0.38 * face.smile)
    iris = min(size * 0.52, max(height, size * 0.38))
    gx, gy = np.clip(gaze, -1, 1) * size * 0.22
    for side in (-1, 1):
        centre = side * person.eye_spacing + face.yaw
        tilt = side * (person.eye_tilt + 0.16 * max(0.0, shown.brow_angle))
        c, s = np.cos(tilt), np.sin(tilt)

        def turned(x: Points, y: Points, x0: float = centre, c: float = c, s: float = s) -> Points:
            return xy(x0 + x * c - y * s, face.eye_y + x * s + y * c)

        def inside(radius: float) -> Points:
            """A disc of the iris, cut by the lids."""
            disc = ellipse(gx, gy * 0.5, radius, radius)
            top = np.interp(disc[:, 0] / size, t, upper)
            return xy(disc[:, 0], np.clip(disc[:, 1], top, np.interp(disc[:, 0] / size, t, lower)))

        canvas.fill(ring(turned(t * size, upper), turned(t * size, lower)), (246, 244, 240), f.EYE)
        for radius, colour in ((iris, rgb(person.iris)), (iris * 0.5, (14, 12, 12))):
            disc = inside(radius)
            canvas.fill(turned(disc[:, 0], disc[:, 1]), colour)
        canvas.stroke(turned(t * size * 1.05, upper), rgb(skin, 0.32), 0.026, f.EYE)
        spark = ellipse(centre + gx + iris * 0.3, face.eye_y - iris * 0.3, 0.018, 0.018, every=5)
        canvas.fill(spark, (255, 255, 255))


def _brows(canvas: Canvas, face: _Face) -> None:
    person, shown = face.person, face.shown
    y0 = face.eye_y - person.brow_height - 0.115 * shown.brow_raise
    x = np.linspace(-1, 1, 9)
    for side in (-1, 1):
        out = (side * x + 1) / 2  # 0 at the nose, 1 at the temple
        y = y0 - 0.075 * shown.brow_angle * (1 - out) + 0.045 * shown.brow_angle * out
        arch = 0.030 * (1 + 0.8 * shown.brow_raise)
        y = y - arch * np.sin(np.pi * np.clip(out * 0.9 + 0.05, 0, 1))
        half = person.brow_thickness * (1.15 - 0.55 * out) * 0.6
        px = side * person.eye_spacing + face.yaw + x * person.brow_length * 1.12
        canvas.fill(ring(xy(px, y - half), xy(px, y + half)), rgb(face.hair, 0.80), f.BROW)
    if shown.brow_raise > 0.6:
        t = np.linspace(-0.5, 0.5, 5)
        crease = xy(t * face.width, face.eye_y - 0.33 - 0.02 * shown.brow_raise)
        canvas.stroke(crease, rgb(face.skin, 0.86), 0.014)


def _front_hair(canvas: Canvas, face: _Face) -> None:
    person, w, h = face.person, face.width, face.height
    style = person.hair_style
    if style == f.HAIR_BALD:
        canvas.fill(ellipse(-w * 0.3, -h * 0.72, 0.10, 0.06, -0.4), rgb(face.skin, 1.10))
        return
    a = np.linspace(np.pi * 1.02, np.pi * 1.98, 22)
    crown = xy(np.cos(a) * (w + 0.055), np.sin(a) * (h + 0.10) - 0.02)
    x = np.linspace(-w * 0.97, w * 0.97, 15)
    edge = -h + person.hairline * 0.62
    if style in (f.HAIR_CROP, f.HAIR_BUN):
        y = edge + 0.16 * np.abs(x / w) ** 4
    elif style == f.HAIR_PARTED:
        y = edge + 0.14 * (x / w + 0.35) ** 2
    elif style == f.HAIR_FRINGE:
        y = edge + 0.10 + 0.02 * np.sin(18 * x)
    elif style == f.HAIR_CURLS:
        y = edge + 0.05 + 0.03 * np.cos(14 * x)
    else:
        y = edge + 0.28 * np.abs(x / w) ** 2.2
    canvas.fill(ring(crown, xy(x, y)), rgb(face.hair), f.HAIR)
    shade = 0.86 if face.hair.mean() > 50 else 1.5
    for t in face.dots.uniform(-0.8, 0.8, 5):
        strand = np.array([(t * w * 0.82, -h + 0.01), (t * w * 0.92, edge - 0.02)])
        canvas.stroke(strand, rgb(face.hair, shade), 0.014)
    a = np.linspace(np.pi * 1.25, np.pi * 1.45, 6)
    gloss = xy(np.cos(a) * w * 0.88, np.sin(a) * (h - 0.01))
    canvas.stroke(gloss, rgb(face.hair * 0.8 + 46), 0.030)


def _glasses(canvas: Canvas, face: _Face) -> None:
    kind, esp, yaw, y = face.person.glasses, face.person.eye_spacing, face.yaw, face.eye_y
    if kind == f.NO_GLASSES:
        return
    colour = rgb(face.person.glasses_colour)
    for side in (-1, 1):
        x = side * esp + yaw
        if kind == f.ROUND_GLASSES:
            rim = ellipse(x, y + 0.01, 0.185, 0.165)
        elif kind == f.OVAL_GLASSES:
            rim = ellipse(x, y + 0.02, 0.20, 0.14)
        else:
            box = [(-0.185, -0.13), (0.185, -0.13), (0.17, 0.14), (-0.17, 0.14)]
            rim = np.array(box) + np.array([x, y + 0.015])
        canvas.stroke(np.concatenate([rim, rim[:2]]), colour, 0.028, f.OTHER)
        arm = [(side * (esp + 0.18) + yaw, y - 0.02), (side * face.width, y - 0.03)]
        canvas.stroke(np.array(arm), colour, 0.026, f.OTHER)
    canvas.stroke(np.array([(-esp + 0.18 + yaw, y), (esp - 0.18 + yaw, y)]), colour, 0.026, f.OTHER)


def _photograph(
    image: NDArray[np.float32], mask: NDArray[np.uint8], nuisance: Nuisance
) -> NDArray[np.uint8]:
    """Directed light, a rounded head, lens blur and sensor noise; values 0..255."""
    x, y = grid(image.shape[0])
    light = nuisance.gain * (
        1
        + nuisance.light_strength
        * (np.cos(nuisance.light_angle) * x + np.sin(nuisance.light_angle) * y)
    )
    light *= 1 + np.where(mask != f.BACKGROUND, 0.07 - 0.16 * (x**2 + 0.7 * y**2), 0)
    out = image * light[..., None] * (1 + nuisance.tint).astype(np.float32)
    if nuisance.blur > 0.25:
        b = nuisance.blur * 0.25
        p = np.pad(out, ((1, 1), (1, 1), (0, 0)), "edge")
        around = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
        out = out * (1 - 1.6 * b) + around * (b * 0.4)
    sensor = np.random.default_rng(nuisance.seed)
    out = out + sensor.standard_normal(out.shape, dtype=np.float32) * np.float32(nuisance.noise)
    return np.clip(out, 0, 255).astype(np.uint8)


def render_face(
    person: Identity, shown: Expression, age: float, nuisance: Nuisance, size: int = 64
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one face.

    Returns the picture, shape (size, size, 3), and the part of each pixel, shape (size, size), an
    index into :data:`diffinf_core.data.rendered.faces.PARTS`. ``age`` is in [0, 1], ``size`` in pixels.
    """
    canvas = Canvas(size, nuisance)
    face = _Face(person, shown, age, nuisance)
    _background(canvas, nuisance)
    _back_hair(canvas, face)
    _body(canvas, face)
    _head(canvas, face)
    _skin_marks(canvas, face)
    _beard(canvas, face)
    _mouth(canvas, face)
    _nose(canvas, face)
    _eyes(canvas, face, nuisance.gaze)
    _brows(canvas, face)
    _front_hair(canvas, face)
    _glasses(canvas, face)
    if person.mole is not None:
        mole = ellipse(*person.mole, 0.024, 0.024, every=4)
        canvas.fill(mole, rgb(face.skin * np.array([0.45, 0.38, 0.36])))
    small = canvas.image.reduce(SUPERSAMPLE)
    mask = np.asarray(canvas.mask.resize((size, size), Image.Resampling.NEAREST), np.uint8)
    return _photograph(np.asarray(small, np.float32), mask, nuisance), mask
