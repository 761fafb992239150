"""What to watch while a generator trains: loss curves, a grid of pictures, and held-out figures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from plotly import graph_objects as go
from plotly import subplots
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.data.part import to_image
from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.architecture import Attribute
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.figures import reconstruction_figures
from diffinf_core.diffusion.schedule import abar
from diffinf_core.diffusion.sources import Source
from diffinf_core.runs.files import write_png, write_table, write_text
from diffinf_core.weights.files import load_weights, shipped
from diffinf_core.weights.lpips import LpipsAlex, perceptual_distance

#: pictures of a grid, and of the held-out figures
SHOWN, MEASURED = 8, 24
#: pictures that are edited to each class, for how many show it
EDITED = 16
#: how many fewer of them, as a fraction, are worth a sentence: a tenth of 48 is chance
_FADED = 0.15
#: steps between rows of the curve
_ROW_EVERY = 50
_STEPS, _T0, _GUIDANCE = 8, 600, 2.0
_T0_LATENT, _GUIDANCE_LATENT = 900, 4.0
_CURVES = (
    ("denoise", "training, v-prediction"),
    ("validation", "held out, v-prediction"),
    ("plain", "plain decoder, L1"),
    ("adversary", "label guessed from z_sem, cross-entropy"),
    ("turned", "held-out edits that show the class asked for"),
    ("edit_lpips", "held-out edits, LPIPS to the original"),
    ("reconstruction_l1", "reconstruction, L1 of 255"),
)


#: class probabilities (B, C) of pictures (B, 3, S, S) in [-1, 1]
Judge = Callable[[Tensor], Tensor]


class Curve:
    """Rows of figures by step, kept as ``curve.csv`` and drawn as ``curve.html``."""

    def __init__(self, folder: Path, until: int = 0) -> None:
        self.folder = folder
        file = folder / "curve.csv"
        self.rows: list[dict[Any, float]] = []
        if file.exists() and until:
            table = pd.read_csv(file)
            # A killed training may have written rows past its last checkpoint.
            self.rows = table[table["step"] <= until].to_dict("records")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One more row, on disk when this returns."""
        self.rows.append({"step": step, **values})
        write_table(self.folder / "curve.csv", pd.DataFrame(self.rows))

    def render(self) -> None:
        """Write the page; Plotly's script lies beside it once."""
        table = pd.DataFrame(self.rows)
        shown = [
            (name, text) for name, text in _CURVES if name in table and table[name].notna().any()
        ]
        if not shown:
            return
        figure = subplots.make_subplots(len(shown), 1, shared_xaxes=True, vertical_spacing=0.05)
        for row, (name, text) in enumerate(shown, start=1):
            part = table[["step", name]].dropna()
            mode = "lines+markers" if len(part) < 40 else "lines"
            figure.add_trace(go.Scatter(x=part["step"], y=part[name], mode=mode, name=text), row, 1)
            figure.update_yaxes(title_text=text, row=row, col=1)
        figure.update_xaxes(title_text="step", row=len(shown), col=1)
        figure.update_layout(height=260 * len(shown), showlegend=False, template="plotly_white")
        write_text(
            self.folder / "curve.html",
            figure.to_html(include_plotlyjs=True, config={"displaylogo": False}),
        )


class StepLog:
    """Loss terms and throughput of a training, averaged over the steps between rows of a curve."""

    def __init__(self, curve: Curve, begin: int, images_per_step: int) -> None:
        self._curve, self._images_per_step = curve, images_per_step
        self._restart(begin)

    def _restart(self, step: int) -> None:
        self._losses: dict[str, list[float]] = {}
        self._since, self._began = step, time.perf_counter()

    def add(self, losses: Mapping[str, list[float]]) -> None:
        """The loss terms of one step, a value per pass."""
        for name, values in losses.items():
            self._losses.setdefault(name, []).extend(values)

    def write(
        self,
        done: int,
        values: Mapping[str, float],
        figures: Mapping[str, float] | None,
        last: bool,
    ) -> None:
        """A row where one is due: every so many steps, with held-out ``figures``, and at the end."""
        if done % _ROW_EVERY and figures is None and not last:
            return
        row = {name: float(np.mean(v)) for name, v in self._losses.items()} | dict(values)
        images = (done - self._since) * self._images_per_step
        row["images_per_second"] = images / (time.perf_counter() - self._began)
        self._curve.add(done, row | dict(figures or {}))
        if figures is not None or last:
            self._curve.render()
        self._restart(done)


@dataclass(frozen=True)
class HeldOut:
    """Pictures (N, 3, S, S) that a training does not see, their x_0, and their covariates (N, attributes).

    ``judge`` knows the classes of the first attribute that is no covariate.
    """

    x: Tensor
    x0: Tensor
    conditions: Tensor | None = None
    judge: Judge | None = None

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        model: DiffusionAutoencoder,
        source: Source,
        device: torch.device,
        judge: Judge | None = None,
    ) -> HeldOut:
        """The held-out pictures of a source, encoded once where the model works on latents."""
        x, conditions = source.held_out().to(device), source.held_conditions()
        x0 = x if model.on_pixels else torch.cat([model.latent(part) for part in x.split(16)])
        return cls(x, x0, None if conditions is None else conditions.to(device), judge)

    def labels(self, attributes: int, attribute: int | None = None, k: int = -1) -> Tensor | None:
        """Covariates and, where asked for, class ``k`` of an attribute; None where there is neither."""
        if self.conditions is None and attribute is None:
            return None
        if self.conditions is None:
            label = torch.full((len(self.x), attributes), -1, device=self.x.device)
        else:
            label = self.conditions.clone()
        if attribute is not None:
            label[:, attribute] = k
        return label

    def first(self, count: int) -> HeldOut:
        """The first pictures alone."""
        conditions = None if self.conditions is None else self.conditions[:count]
        return HeldOut(self.x[:count], self.x0[:count], conditions, self.judge)


@torch.no_grad()
def validation_loss(model: DiffusionAutoencoder, held: HeldOut, seed: int) -> float:
    """v-prediction error on held-out pictures, with the same times and noise at each call."""
    rng = torch.Generator().manual_seed(seed)
    errors = []
    label = held.labels(len(model.architecture.attributes))
    labels = [None] * len(held.x) if label is None else label.split(32)
    parts = zip(held.x.split(32), held.x0.split(32), labels, strict=False)
    for pictures, part, known in parts:
        t = torch.linspace(20, 980, len(part)).long().to(part.device)
        eps = torch.randn(part.shape, generator=rng).to(part.device)
        a = abar(t, part)
        x_t = a.sqrt() * part + (1 - a).sqrt() * eps
        v = a.sqrt() * eps - (1 - a).sqrt() * part
        z = model.encode(pictures, part)
        errors.append(F.mse_loss(model.unet(x_t, t, z, known).float(), v, reduction="sum").cpu())
    return float(torch.stack(errors).sum() / held.x0.numel())


@torch.no_grad()
def held_out_figures(model: DiffusionAutoencoder, held: HeldOut, seed: int) -> dict[str, float]:
    """Validation loss on all held-out pictures, and reconstruction on the first of them."""
    figures = reconstruction_figures(model, held.x[:MEASURED], _STEPS, min(_T0, 999))
    return {
        "validation": validation_loss(model, held, seed),
        "reconstruction_l1": figures["reconstruction_l1"],
        "reconstruction_ssim": figures["reconstruction_ssim"],
        **edit_figures(model, held),
    }


def faded(rows: Sequence[Mapping[Any, float]], last: float, steps: int, minutes: float) -> str:
    """A sentence where clearly more held-out edits showed their class earlier in a training than at its
    end, ``last``, after ``steps`` in ``minutes``; else nothing. ``rows`` are those of its curve."""
    known = [(row["turned"], row["step"]) for row in rows if row.get("turned", math.nan) >= 0]
    best, step = max(known, default=(0.0, 0))
    if best - last < _FADED:
        return ""
    shorter = minutes * step / steps
    much = f"{shorter:,.0f}" if shorter >= 10 else f"{shorter:.2g}"
    return (
        f"{last:.0%} of the held-out edits show the class asked for, and {best:.0%} did after "
        f"{step:,.0f} steps: classes with few trusted labels may be memorised, and a training of about "
        f"{much} minutes may turn more of them"
    )


def _edits(
    model: DiffusionAutoencoder, held: HeldOut, x_T: Tensor, z: Tensor
) -> Iterator[tuple[Attribute, int, Tensor]]:
    """x_0 of held-out pictures, decoded with guidance under each class of each attribute to edit."""
    t0, guidance = _editing(model)
    attributes = model.architecture.attributes
    plain = held.labels(len(attributes))
    for i, attribute in enumerate(attributes):
        for k in range(0 if attribute.covariate else len(attribute.classes)):
            label = held.labels(len(attributes), i, k)
            predictor = model.predictor(z, label, guidance, plain)
            yield attribute, k, sampling.decode(predictor, x_T, _STEPS, t0)


def _editing(model: DiffusionAutoencoder) -> tuple[int, float]:
    """t0 and guidance of edits while training."""
    return (_T0, _GUIDANCE) if model.on_pixels else (_T0_LATENT, _GUIDANCE_LATENT)


@torch.no_grad()
def edit_figures(model: DiffusionAutoencoder, held: HeldOut) -> dict[str, float]:
    """Of held-out pictures edited to each class, the fraction in which the judge sees it, and the mean
    LPIPS-Alex to the original; nothing without a judge.

    A training that goes on for too long learns the few pictures of a small class by heart: the held-out loss
    falls, and so does the first of these figures.
    """
    judge = held.judge
    if judge is None:
        return {}
    held = held.first(EDITED)
    z = model.encode(held.x, held.x0)
    plain = held.labels(len(model.architecture.attributes))
    x_T = model.invert(held.x0, z, _STEPS, _editing(model)[0], plain)
    lpips = load_weights(shipped("lpips"), LpipsAlex()).to(held.x.device)
    reference = lpips(held.x)
    turned, distances, first = list[Tensor](), list[Tensor](), None
    for attribute, k, x0 in _edits(model, held, x_T, z):
        first = first or attribute.name
        if attribute.name != first:
            break
        pictures = model.pixels(x0).clamp(-1, 1)
        turned.append(judge(pictures).argmax(1) == k)
        distances.append(perceptual_distance(lpips(pictures), reference))
    if not turned:
        return {}
    return {
        "turned": float(torch.cat(turned).float().mean()),
        "edit_lpips": float(torch.cat(distances).mean()),
    }


@torch.no_grad()
def grid(model: DiffusionAutoencoder, held: HeldOut, seed: int) -> np.ndarray:
    """A picture (rows x S, columns x S, 3): original, reconstruction, its z_sem with fresh noise, and
    one row for each class of each attribute that the original is edited to."""
    held = held.first(SHOWN)
    x, x0 = held.x, held.x0
    t0, _ = _editing(model)
    z = model.encode(x, x0)
    plain = held.labels(len(model.architecture.attributes))
    x_T = model.invert(x0, z, _STEPS, t0, plain)
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(x0.shape, generator=rng).to(x.device)
    made = [
        model.decode(x_T, z, _STEPS, t0, plain),
        model.decode(noise, z, 2 * _STEPS, None, plain),
    ]
    made += [edit for _, _, edit in _edits(model, held, x_T, z)]
    rows = [x, *(model.pixels(row) for row in made)]
    pictures = [np.concatenate(list(to_image(row)), 1) for row in rows]
    return np.concatenate(pictures, 0)


def write_grid(
    folder: Path, model: DiffusionAutoencoder, held: HeldOut, step: int, seed: int
) -> Path:
    """Write a grid as ``grids/step-000500.png``."""
    file = folder / "grids" / f"step-{step:06d}.png"
    attributes = [a for a in model.architecture.attributes if not a.covariate]
    classes = [f"{a.name}: {c}" for a in attributes for c in a.classes]
    notes = {
        "Software": "DiffInf",
        "Synthetic": "drawn by a diffusion autoencoder; only the first row is from the data set",
        "Rows": "; ".join(["original", "reconstruction", "code with fresh noise", *classes]),
    }
    write_png(file, grid(model, held, seed), notes)
    return file
