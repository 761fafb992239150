"""Repair bare pictures under given labels: no run, no training set, no files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from diffinf_core.classifier.training import chosen_device
from diffinf_core.config import PRESETS, DataConfig, RepairConfig, explain
from diffinf_core.correction.editing import (
    Edited,
    LabelCondition,
    Preview,
    computed_in,
    denoising_errors,
    edited,
    label_condition,
)
from diffinf_core.correction.guidance import Task, invert
from diffinf_core.correction.objective import Objective
from diffinf_core.correction.perceptors import Perceptors, chosen, load_perceptors
from diffinf_core.correction.quality import check_numbers, picture_figures, picture_flags
from diffinf_core.data.part import to_image, to_tensor
from diffinf_core.data.profile import rendered_faces
from diffinf_core.diffusion.autoencoder import Autoencoder, DiffusionAutoencoder
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.records import DiffInfError, Job
from diffinf_core.runs.files import file_digest
from diffinf_core.weights.files import shipped

#: logits (B,) of being high-influence, of pictures (B, 3, S, S) in [-1, 1] under class indices (B,)
PicturePredictor = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class RepairedPicture:
    """One repaired picture with the figures of the repair.

    ``image``, ``original`` and ``reconstruction`` are uint8 (S, S, 3); the reconstruction is what the
    generator makes of the original without an edit. ``identity`` is a cosine, None without an identity
    network; ``perceptual`` the perceptual distance to the original, ``perceptual_floor`` that of the
    reconstruction; ``ssim`` at most 1; ``l1`` the mean difference in levels of 255; ``sharpness`` fine
    detail as a fraction of the original's; ``changed_area`` the fraction of pixels that changed visibly,
    ``changed_outside`` the same outside the person, None without a parser; ``strongest_change`` how many
    levels of 255 the lightness changes where it changes most; ``colour_shift`` and
    ``colour_shift_floor`` how far the edit and the plain reconstruction move the mean colour of the middle,
    in L*a*b*. ``h_before`` and ``h_after`` are the predictor's probabilities, None without a predictor.
    ``losses`` holds each unweighted term at each step, ``flags`` maps a warning to the figures behind it.
    """

    label: str | None
    image: NDArray[np.uint8]
    original: NDArray[np.uint8]
    reconstruction: NDArray[np.uint8]
    identity: float | None
    perceptual: float
    perceptual_floor: float
    ssim: float
    l1: float
    sharpness: float
    changed_area: float
    strongest_change: float
    changed_outside: float | None
    colour_shift: float
    colour_shift_floor: float
    h_before: float | None
    h_after: float | None
    losses: dict[str, list[float]]
    flags: dict[str, str]
    identity_name: str
    perceptual_name: str
    settings: dict[str, Any]


def repair(
    images: Any,
    labels: Any = None,
    *,
    classes: Sequence[str] | None = None,
    generator: str | Path | Autoencoder | None = None,
    predictor: PicturePredictor | None = None,
    settings: RepairConfig | Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    callback: Callable[[Preview], object] | None = None,
) -> Job[Preview, list[RepairedPicture]]:
    """Edit pictures so that they show their labels, and change nothing else.

    Guided decoding with a diffusion autoencoder (section 3.5) under the composite objective of
    equations 9 to 12. In a run, :func:`open_run` repairs with everything that the run knows: an
    independent judge, other pictures of the same people, self-influence before and after.

    Args:
        images: one picture or several: uint8 arrays (S, S, 3) or (N, S, S, 3), PIL images, or float
            tensors (3, S, S) or (N, 3, S, S) in [-1, 1]; S is the generator's size.
        labels: a class name or index for each picture, or one for all. None edits without a label,
            and needs ``settings={"use_label": False}``.
        classes: the class names that indices count. Default: the generator's, where it knows one attribute.
        generator: weights (safetensors with a card, the folder that their training wrote, or a published
            checkpoint) or a loaded autoencoder.
            Default: the one that ships, which draws rendered faces of 64 pixels.
        predictor: ``predictor(x, y)`` gives the logit (B,) of being high-influence for pictures (B, 3,
            S, S) in [-1, 1] under class indices (B,), differentiable in x; its term has weight ``w_si``.
            Default: that term is left out.
        settings: a :class:`RepairConfig`, or some of its fields in place of the usual ones: those of the
            preset "photographs" for a generator that inpaints, for others those of :class:`RepairConfig`.
            ``tries``, ``probe``, ``w_sem`` need a run.
        device: where to compute. Default: a GPU where there is one.
        callback: is called with every preview.

    Returns:
        A job over previews, one per step of a batch (``done`` of ``total``, and ``images``, uint8 (B, S,
        S, 3), as they stand), whose result is a list of :class:`RepairedPicture` in the order of
        the pictures.

    Raises:
        DiffInfError: for pictures of another size or range, labels that the generator does not know,
            settings that do not exist, and weights that cannot be read.
    """
    config = _config(settings)
    source = generator if generator is not None else config.generator
    source = shipped("generator") if source is None else source
    where = chosen_device(device)
    model = source if isinstance(source, Autoencoder) else load_autoencoder(Path(source))
    if not isinstance(settings, RepairConfig):
        config = _config({**_usual(model), **(settings or {})})
    own: Mapping[str, str] = {}
    if model.file is not None and file_digest(model.file) == file_digest(shipped("generator")):
        own = rendered_faces(DataConfig()).perceptors
    x = _pictures(images, model.architecture.image_size)
    condition, y, names = _labels(labels, classes, len(x), model, config)
    if predictor is None:
        config = config.model_copy(update={"w_si": 0.0})
    kinds = chosen(config, own, model.architecture.image_size)
    with _placed(model, where):
        perceptors = load_perceptors(kinds, model, where, config.face_crop)
    editor = _Editor(model, perceptors, condition, predictor, config, where)
    return Job(_batches(editor, x, y, names), callback)


def _usual(model: Autoencoder) -> dict[str, Any]:
    """What differs for a generator from :class:`RepairConfig`'s own settings."""
    inpaints = isinstance(model, DiffusionAutoencoder) and model.architecture.inpaints
    return PRESETS["photographs"]["repair"] if inpaints else {}


def _config(settings: RepairConfig | Mapping[str, Any] | None) -> RepairConfig:
    if isinstance(settings, RepairConfig):
        config = settings
    else:
        try:
            config = RepairConfig(**(settings or {}))
        except ValidationError as error:
            raise DiffInfError(f"settings: {explain(error)}") from error
    for name, given, without in (
        ("tries", config.tries, "one"),
        ("probe", config.probe, ("auto", "never")),
        ("w_sem", config.w_sem, 0),
        ("covariate_guidance", config.covariate_guidance, 0),
    ):
        if given not in (without if isinstance(without, tuple) else (without,)):
            raise DiffInfError(f"{name}={given} needs the classifier or the data of a run.")
    return config


def _pictures(images: Any, size: int) -> Tensor:
    """(N, 3, S, S) in [-1, 1] of every form that :func:`repair` takes."""
    many = isinstance(images, list | tuple)
    parts = [_picture(one, f"Picture {i}" if many else "The picture") for i, one in
             enumerate(images if many else [images])]  # fmt: skip
    if not parts:
        raise DiffInfError("There is no picture to repair.")
    for i, part in enumerate(parts):
        if part.shape[-2:] != (size, size):
            what = f"Picture {i} has" if many else "The pictures have"
            raise DiffInfError(
                f"{what} {part.shape[-1]} x {part.shape[-2]} pixels; the generator draws {size} x {size}: "
                "crop or resize first."
            )
    return torch.cat(parts)


def _picture(image: Any, name: str) -> Tensor:
    if isinstance(image, Image.Image):
        image = np.array(image.convert("RGB"))  # a copy that may be written to
    if isinstance(image, Tensor):
        x = image.detach().cpu()
        x = x[None] if x.dim() == 3 else x
        if x.dim() != 4 or x.shape[1] != 3 or len(x) == 0:
            raise DiffInfError(
                f"{name} is a tensor of shape {tuple(image.shape)}, not (3, S, S) or (N, 3, S, S)."
            )
        if not x.is_floating_point() or not bool((x.abs() <= 1).all()):
            low, high = x.min().item(), x.max().item()
            raise DiffInfError(
                f"{name} is a tensor of {x.dtype} from {low:g} to {high:g}; floats in [-1, 1] are needed."
            )
        return x.float()
    pixels = np.asarray(image)
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or not len(pixels):
        raise DiffInfError(
            f"{name} is an array of {pixels.dtype} with shape {np.shape(image)}; uint8 with shape (S, S, 3) "
            "or (N, S, S, 3) is needed."
        )
    return to_tensor(pixels)


def _labels(
    labels: Any,
    classes: Sequence[str] | None,
    n: int,
    generator: Autoencoder,
    config: RepairConfig,
) -> tuple[LabelCondition | None, NDArray[np.int64], list[str | None]]:
    """What the generator is conditioned on, class indices (N,), and the label of each picture."""
    known = [attribute.classes for attribute in generator.architecture.attributes]
    listing = "; ".join(", ".join(names) for names in known)
    if labels is None:
        if config.use_label:
            raise DiffInfError("No labels are given; or set use_label=False to edit without.")
        return None, np.zeros(n, np.int64), [None] * n
    given = [labels] if np.ndim(labels) == 0 else list(labels)
    given = [v.item() if isinstance(v, np.generic | Tensor) else v for v in given]
    given = given * n if len(given) == 1 else given
    if len(given) != n:
        raise DiffInfError(f"There are {len(given)} labels for {n} pictures.")
    if config.use_label and not known:
        raise DiffInfError(
            "The generator knows no labels: set use_label=False, or repair in a run, which fits a probe."
        )
    named = [v for v in given if isinstance(v, str)]
    if classes is None and named:
        low = {v.lower() for v in named}
        classes = next((c for c in known if low <= {name.lower() for name in c}), None)
        if classes is None and config.use_label:
            wrong = next((v for v in named if not any(v in c for c in known)), ", ".join(named))
            raise DiffInfError(
                f"The generator does not know the label {wrong!r}; it knows {listing}."
            )
        classes = classes or tuple(dict.fromkeys(named))
    elif classes is None:
        if len(known) != 1:
            raise DiffInfError(
                f"Label indices need classes=, the names that they count; the generator knows {listing}."
            )
        classes = known[0]
    condition = label_condition(generator, classes) if config.use_label else None
    if config.use_label and condition is None:
        raise DiffInfError(
            f"The generator does not know the classes {', '.join(classes)}; it knows {listing}."
        )
    places = {name.lower(): i for i, name in enumerate(classes)}
    index = [places.get(v.lower(), -1) if isinstance(v, str) else v for v in given]
    for value, i in zip(given, index, strict=True):
        if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < len(classes):
            raise DiffInfError(f"The label {value!r} is none of {', '.join(classes)}.")
    return condition, np.array(index, np.int64), [classes[i] for i in index]


@dataclass(frozen=True)
class _Editor:
    """Everything an edit needs, loaded."""

    generator: Autoencoder
    perceptors: Perceptors
    condition: LabelCondition | None
    predictor: PicturePredictor | None
    config: RepairConfig
    device: torch.device

    def objective(self, x: Tensor, y: Tensor) -> Objective:
        """The terms of pictures under class indices."""

        def influence(pictures: Tensor) -> Tensor:
            assert self.predictor is not None  # else w_si is 0
            return self.predictor(pictures, y)

        return Objective(self.config, self.perceptors, influence, influence, x, y)

    def before(self, x: Tensor) -> Tensor | None:
        """What originals are inverted under: no label, or the class that the generator sees in them."""
        if self.condition is None:
            return None
        if self.config.guide_from == "unknown":
            return self.condition.unknown(len(x), x.device)
        errors = denoising_errors(self.generator, x, self.condition, self.config.seed)
        return self.condition.of(errors.argmin(1))

    def edit(self, x: Tensor, y: Tensor) -> Generator[Preview, None, list[dict[str, Any]]]:
        """Edit one batch; the fields of each :class:`RepairedPicture` but its label."""
        objective = self.objective(x, y)
        label = None if self.condition is None else self.condition.of(y)
        before = self.before(x)
        inversion = invert(self.generator, x, before, self.config)
        task = Task(self.generator, inversion, label, before, objective, self.config)
        done = yield from edited(task)
        return self._records(done, objective)

    @torch.no_grad()
    def _records(self, done: Edited, objective: Objective) -> list[dict[str, Any]]:
        reference, p = objective.reference, self.perceptors
        vectors = p.identity(done.final) if p.identity else None
        figures = picture_figures(done.final, done.plain, reference, p, vectors)
        n = len(done.final)
        figures |= {"h_before": [None] * n, "h_after": [None] * n}
        if self.predictor is not None:
            h = [self.predictor(v, reference.label).sigmoid() for v in (reference.x, done.final)]
            check_numbers({"The predictor": h[1]})
            figures |= {"h_before": h[0].tolist(), "h_after": h[1].tolist()}
        rows = [{k: v[i] for k, v in figures.items()} for i in range(n)]
        originals = to_image(reference.x)
        return [
            {
                **row,
                "image": done.images[i],
                "original": originals[i],
                "reconstruction": done.reconstructions[i],
                "losses": done.losses[i],
                "flags": picture_flags(row),
            }
            for i, row in enumerate(rows)
        ]


@contextmanager
def _placed(
    generator: Autoencoder, device: torch.device, precision: str | None = None
) -> Iterator[None]:
    """The generator on a device and in a precision, and at the end as its owner left it."""
    home, before = next(generator.parameters()).device, generator.precision
    generator.to(device)
    if precision is not None:
        generator.precision = computed_in(precision, device)
    try:
        yield
    finally:
        generator.precision = before
        generator.to(home)


def _batches(
    editor: _Editor, x: Tensor, y: NDArray[np.int64], names: list[str | None]
) -> Generator[Preview, None, list[RepairedPicture]]:
    out: list[RepairedPicture] = []
    size, n = editor.config.batch_size, len(x)
    shared: dict[str, Any] = {
        "identity_name": editor.perceptors.identity_name,
        "perceptual_name": editor.perceptors.perceptual_name,
        "settings": editor.config.model_dump(mode="json"),
    }
    count = -(-n // size)
    for batch in range(count):
        rows = slice(batch * size, (batch + 1) * size)
        classes = torch.from_numpy(y[rows]).to(editor.device)
        with _placed(editor.generator, editor.device, editor.config.precision):
            job = Job(editor.edit(x[rows].to(editor.device), classes))
            for event in job:
                done, total = batch * event.total + event.done, count * event.total
                yield replace(event, done=done, total=total, first=rows.start)
        named = zip(names[rows], job.result(), strict=True)
        out += [RepairedPicture(label=name, **record, **shared) for name, record in named]
    return out
