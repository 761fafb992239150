"""Self-influence of any torch model on any map-style data set: the public door to the exact scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from diffinf_core.classifier.training import chosen_device
from diffinf_core.influence.arrays import as_array
from diffinf_core.influence.estimators import rank_table
from diffinf_core.influence.gradients import GradientNorms, NotFiniteError, SampleLoss
from diffinf_core.records import DiffInfError, Job, Progress

Weights = Mapping[str, Tensor] | str | Path | nn.Module | Callable[[nn.Module], object]
Checkpoint = Weights | tuple[Weights, float]


class MapDataset(Protocol):
    """A map-style data set: a length, and a sample of any structure at each position."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> Any: ...


def self_influence(
    model: nn.Module,
    dataset: MapDataset,
    *,
    checkpoints: Weights | Iterable[Checkpoint] | None = None,
    learning_rates: float | Sequence[float] | None = None,
    loss: SampleLoss | None = None,
    collate: Callable[[list[Any]], Any] = default_collate,
    batch_size: int = 32,
    device: torch.device | str | None = None,
    ids: Sequence[object] | None = None,
    tau: float = 10.0,
    callback: Callable[[Progress], object] | None = None,
) -> Job[Progress, pd.DataFrame]:
    """Exact TracIn self-influence: how strongly each sample pulls on the model.

    I_i = sum over checkpoints t of eta_t ||grad l_i(theta_t)||^2 over all trainable parameters
    (equation 5; Pruthi et al. 2020). High is suspicious: samples whose label contradicts what the
    model learns from the others keep a large gradient. Checkpoints from before the model memorised
    its training set tell most.

    Scoring happens in evaluation mode. Layers with a closed form (Linear, Conv1d, Conv2d, Embedding,
    the usual norms) never form a weight gradient; one sample is compared with autograd, and a model
    that is not covered (recurrent layers, shared weights) is scored by one backward pass per sample
    instead, exact as well, and ``attrs["fallback"]`` of the result says why. The data set is read
    once per checkpoint. Weights, modes, ``requires_grad`` flags and device of the model are restored
    at the end, also after an error or :meth:`Job.close`.

    Args:
        model: any torch module with trainable parameters; frozen parameters are left out.
        dataset: anything with a length and samples by position: tuples, dicts or nested.
        checkpoints: weights to score under: state dicts, files (safetensors, or written by
            ``torch.save``), other models, or functions that take the model and set its weights; each
            may be a pair with its learning rate. Default: the model as it is.
        learning_rates: eta of all checkpoints, or of each. Default 1.
        loss: ``loss(model, batch)`` returns the loss (B,) of each sample. Default: cross-entropy of
            ``model(x)`` (B, C) and y (B,) for batches (x, y), and of ``model(**inputs).logits``
            and ``labels`` for dicts, as in Hugging Face transformers.
        collate: makes a batch of a list of samples, by default by stacking. A padding collate is fine
            where the model masks padding.
        batch_size: samples per pass; changes time and memory, not scores.
        device: where to score. Default: where the model is.
        ids: N names of the samples. Default: their positions.
        tau: per cent of the samples that are marked ``high``, in (0, 100].
        callback: is called with every progress event.

    Returns:
        A job whose result has one row per sample, in order: ``id``, ``score`` (0 or larger), ``rank``
        (1 is the most suspicious), ``percentile`` (0 to 100), ``high``, and with several checkpoints
        the terms of the sum, ``checkpoint_1`` and so on.

    Raises:
        DiffInfError: for a data set, labels, checkpoints or a loss that do not fit, and for a gradient that
            is not finite; the message names the sample.
    """
    try:
        n = len(dataset)
    except TypeError as error:
        raise DiffInfError(
            f"{type(dataset).__name__} has no length; self_influence needs a map-style data set."
        ) from error
    if not hasattr(type(dataset), "__getitem__"):
        raise DiffInfError(
            f"{type(dataset).__name__} has no samples by position; self_influence needs a map-style data "
            "set, such as a DataLoader's .dataset."
        )
    if n == 0:
        raise DiffInfError("The data set is empty.")
    if not any(p.requires_grad for p in model.parameters()):
        raise DiffInfError("The model has no trainable parameter, so no sample has a gradient.")
    if batch_size < 1:
        raise DiffInfError(f"batch_size must be at least 1, not {batch_size}.")
    if not 0 < tau <= 100:
        raise DiffInfError(f"tau must be in (0, 100], not {tau}.")
    if ids is not None and len(ids) != n:
        raise DiffInfError(f"There are {len(ids)} ids for {n} samples.")
    steps = _with_rates(checkpoints, learning_rates)
    names = pd.Series(range(n) if ids is None else list(ids))
    batches = _Batches(dataset, collate, batch_size)
    scored = _score(model, batches, steps, loss or classification_loss, device, names, tau)
    return Job(scored, callback)


def classification_loss(model: nn.Module, batch: Any) -> Tensor:
    """Cross-entropy (B,) of each sample, for batches (x, y) or dicts with ``labels``.

    A dict's other entries go to the model by name, those that its ``forward`` does not take are left
    out, and the logits (B, C) are the model's output or its ``logits``. Labels are class indices.
    Raises :class:`DiffInfError` for any other batch, and for labels that the model has no class for.
    """
    if isinstance(batch, Mapping):
        name = next((name for name in ("labels", "label") if name in batch), None)
        if name is None:
            raise DiffInfError(
                f"A sample has no 'labels' among {', '.join(map(str, batch))}; "
                "give loss=, a function of the model and a batch."
            )
        takes = inspect.signature(model.forward).parameters
        every = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        y = batch[name]
        out = model(**{k: v for k, v in batch.items() if k != name and (every or k in takes)})
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        x, y = batch
        out = model(x)
    else:
        raise DiffInfError(
            f"A batch is a {type(batch).__name__}, neither (x, y) nor a dict with 'labels'; "
            "give loss=, a function of the model and a batch."
        )
    logits = getattr(out, "logits", out)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or not isinstance(y, Tensor):
        raise DiffInfError(
            "The model does not return logits of shape (batch, classes) for the samples; "
            "give loss=, a function of the model and a batch."
        )
    if y.shape != logits.shape[:1] or y.is_floating_point():
        raise DiffInfError(
            f"The labels of a batch have shape {tuple(y.shape)} and type {y.dtype}, but the logits are "
            f"{tuple(logits.shape)}: one class index per sample is needed; or give loss=."
        )
    low, high = y.aminmax()
    if int(low) < 0 or int(high) >= logits.shape[1]:
        raise DiffInfError(
            f"Labels run from {int(low)} to {int(high)}, but the model has {logits.shape[1]} classes."
        )
    return F.cross_entropy(logits, y.long(), reduction="none")


class _Batches:
    """The data set in order: batches, and single samples in the form of a batch."""

    def __init__(
        self, dataset: MapDataset, collate: Callable[[list[Any]], Any], batch_size: int
    ) -> None:
        self._dataset, self._collate, self.size = dataset, collate, batch_size

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[tuple[int, list[Any]]]:
        """(position of the first, samples) of each batch."""
        for start in range(0, len(self), self.size):
            stop = min(start + self.size, len(self))
            yield start, [self._dataset[i] for i in range(start, stop)]

    def collate(self, samples: list[Any], start: int, device: torch.device) -> Any:
        """A batch on a device."""
        try:
            return _moved(self._collate(samples), device)
        except (TypeError, RuntimeError, ValueError) as error:
            last = start + len(samples) - 1
            raise DiffInfError(
                f"Samples {start} to {last} cannot be made a batch ({str(error).splitlines()[0]}); "
                "give collate=, a function of a list of samples."
            ) from error


def _moved(value: Any, device: torch.device) -> Any:
    """Everything in a batch that can be moved, on the device."""
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, Mapping):
        return {k: _moved(v, device) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(v, device) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(_moved(v, device) for v in value)
    return value


def _with_rates(
    checkpoints: Weights | Iterable[Checkpoint] | None, rates: float | Sequence[float] | None
) -> list[tuple[Weights | None, float]]:
    """Each checkpoint with its eta."""
    if checkpoints is None:
        given: list[Any] = [None]
    elif isinstance(checkpoints, Mapping | str | Path | nn.Module) or callable(checkpoints):
        given = [checkpoints]
    elif isinstance(checkpoints, Iterable):
        given = list(checkpoints)
    else:
        given = [checkpoints]
    if not given:
        raise DiffInfError("There is no checkpoint to score under.")
    for c in given:
        weights = c[0] if isinstance(c, tuple) and len(c) == 2 else c
        if not (weights is None or isinstance(weights, Mapping | str | Path) or callable(weights)):
            raise DiffInfError(
                f"A checkpoint is a state dict, a file, a model or a function that sets weights, or a "
                f"pair of one with its learning rate, not a {type(weights).__name__}."
            )
    if rates is None:
        pairs = [c if isinstance(c, tuple) else (c, 1.0) for c in given]
    elif any(isinstance(c, tuple) for c in given):
        raise DiffInfError("Learning rates stand both in checkpoints and in learning_rates.")
    else:
        each = np.atleast_1d(as_array(rates, "Learning rates").astype(float)).tolist()
        each = each * len(given) if np.ndim(rates) == 0 else each
        if len(each) != len(given):
            raise DiffInfError(
                f"There are {len(each)} learning rates for {len(given)} checkpoints."
            )
        pairs = list(zip(given, each, strict=True))
    if bad := [eta for _, eta in pairs if not 0 < eta < np.inf]:
        raise DiffInfError(f"A learning rate must be positive and finite, not {bad[0]}.")
    return [(weights, float(eta)) for weights, eta in pairs]


def _read(file: Path) -> Mapping[str, Tensor]:
    """A state dict from a file; a training checkpoint may keep it under "state_dict" or "model"."""
    if not file.is_file():
        raise DiffInfError(f"The checkpoint {file} does not exist.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DiffInfError(
            f"{file} holds no plain weights; save model.state_dict(), or give a function that loads it."
        ) from error
    for name in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DiffInfError(f"{file} holds no state dict.")
    return state


def _under(model: nn.Module, weights: Weights | None, place: str) -> nn.Module:
    """The model with a checkpoint's weights, or the checkpoint where that is a model itself."""
    if weights is None:
        return model
    if isinstance(weights, nn.Module):
        return weights
    if callable(weights):
        other = weights(model)
        return other if isinstance(other, nn.Module) else model
    state = weights if isinstance(weights, Mapping) else _read(Path(weights))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        what = " ".join(str(error).split())
        source = place if isinstance(weights, Mapping) else str(weights)
        raise DiffInfError(f"The weights of {source} do not fit the model: {what}") from error
    return model


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Put modules, weights, buffers and requires_grad flags back at the end."""
    # a checkpoint may have replaced tensors (``assign=True``) or whole modules
    parts: list[tuple[Any, dict[str, Any]]] = [
        (table, dict(table))
        for m in model.modules()
        for table in (m._parameters, m._buffers, m._modules)
    ]
    held = [*model.parameters(), *model.buffers()]
    kept = [(t, t.detach().to("cpu", copy=True), t.requires_grad) for t in held]
    try:
        yield
    finally:
        for table, entries in parts:
            table.clear()
            table.update(entries)
        with torch.no_grad():
            for tensor, value, flag in kept:
                tensor.requires_grad_(flag)
                tensor.copy_(value)


@contextmanager
def _placed(model: nn.Module, device: torch.device | str | None) -> Iterator[torch.device]:
    """The model on a device, and back where it was at the end."""
    home = next(model.parameters()).device
    where = home if device is None else chosen_device(device)
    model.to(where)
    try:
        yield where
    finally:
        model.to(home)


def _score(
    model: nn.Module,
    batches: _Batches,
    steps: list[tuple[Weights | None, float]],
    loss: SampleLoss,
    device: torch.device | str | None,
    ids: pd.Series,
    tau: float,
) -> Generator[Progress, None, pd.DataFrame]:
    n, count = len(batches), len(steps)
    terms = np.zeros((n, count))
    fallback = None
    as_it_is = all(weights is None for weights, _ in steps)
    with _placed(model, device) as where, nullcontext() if as_it_is else _restored(model):
        for t, (weights, eta) in enumerate(steps):
            at = f"checkpoint {t + 1} of {count}"
            scored = _under(model, weights, at)
            if not any(p.requires_grad for p in scored.parameters()):
                raise DiffInfError(f"The model of {at} has no trainable parameter.")
            with _placed(scored, where), GradientNorms(scored, loss=loss) as norms:
                for start, samples in batches:
                    rows = slice(start, start + len(samples))
                    terms[rows, t] = eta * _squares(norms, batches, samples, start, where, at)
                    fallback = fallback or norms.fallback
                    note = at if fallback is None else f"{at}; slow, because {fallback}"
                    yield Progress("self-influence", t * n + rows.stop, count * n, note)
    table = rank_table(ids, terms.sum(1), tau)
    if count > 1:
        table = table.assign(**{f"checkpoint_{t + 1}": terms[:, t] for t in range(count)})
    table.attrs["fallback"] = fallback
    return table


def _squares(
    norms: GradientNorms,
    batches: _Batches,
    samples: list[Any],
    start: int,
    device: torch.device,
    at: str,
) -> NDArray[np.float64]:
    """Squared gradient norms (B,) of the samples that begin at ``start``."""

    def one(i: int) -> Any:
        return batches.collate(samples[i : i + 1], start + i, device)

    try:
        # TF32 has three digits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = norms.of(batches.collate(samples, start, device), len(samples), one)
    except NotFiniteError as error:
        raise DiffInfError(
            f"The gradient of sample {start + error.row} under {at} is not finite; "
            "use a checkpoint from before the model diverged, or repair the sample."
        ) from error
    return found.double().cpu().numpy()
