"""The public self-influence: any model, any data set, any checkpoint, and nothing is left changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from diffinf_core.influence.gradients import GradientNorms
from diffinf_core.influence.self_influence import classification_loss, self_influence
from diffinf_core.records import DiffInfError, Progress


def by_autograd(
    model: nn.Module,
    dataset: Any,
    loss: Callable[[nn.Module, Any], Tensor] = classification_loss,
    collate: Callable[[list[Any]], Any] = torch.utils.data.default_collate,
) -> np.ndarray:
    """One backward pass per sample, in evaluation mode, over the trainable parameters."""
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    out = []
    for i in range(len(dataset)):
        value = loss(model, collate([dataset[i]])).sum()
        grads = torch.autograd.grad(value, trained, allow_unused=True)
        out.append(sum(float(g.square().sum()) for g in grads if g is not None))
    return np.array(out)


def pictures(n: int = 5, size: int = 32, classes: int = 10) -> list[tuple[Tensor, int]]:
    """A list is a map-style data set, too."""
    rng = torch.Generator().manual_seed(0)
    return [(torch.randn(3, size, size, generator=rng).double(), i % classes) for i in range(n)]


def sentences(n: int = 6, vocabulary: int = 30) -> list[dict[str, Any]]:
    """Token lists of different lengths, as a tokenizer gives them; 0 is the padding token."""
    rng = np.random.default_rng(0)
    lengths = [7, 3, 5, 9, 1, 6, 4, 8][:n]
    return [
        {
            "input_ids": rng.integers(1, vocabulary, length).tolist(),
            "labels": i % 3,
            "text": "the forward pass takes no such thing",
        }
        for i, length in enumerate(lengths)
    ]


def padded(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Pad to the longest, with an attention mask."""
    longest = max(len(s["input_ids"]) for s in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, s in enumerate(samples):
        ids[row, : len(s["input_ids"])] = torch.tensor(s["input_ids"])
        mask[row, : len(s["input_ids"])] = 1
    labels = torch.tensor([s["labels"] for s in samples])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "text": "left out"}


def shaken(model: nn.Module) -> nn.Module:
    """In float64, and no parameter or statistic at its initial value."""
    torch.manual_seed(1)
    model = model.double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                nn.init.normal_(m.running_mean)
                nn.init.uniform_(m.running_var, 0.5, 2.0)
    return model


def bert(**more: Any) -> nn.Module:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=30, num_hidden_layers=2, num_labels=3, **sizes, **more)
    return BertForSequenceClassification(config)


def distilbert() -> nn.Module:
    config = DistilBertConfig(
        vocab_size=30, dim=16, n_heads=2, n_layers=2, hidden_dim=24, num_labels=3
    )
    return DistilBertForSequenceClassification(config)


def albert() -> nn.Module:
    """Every layer is the same one."""
    config = AlbertConfig(
        vocab_size=30, embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=24,
        num_hidden_layers=3, num_labels=3,
    )  # fmt: skip
    return AlbertForSequenceClassification(config)


def vit() -> nn.Module:
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2,
        num_classes=10, init_values=0.1,
    )  # fmt: skip


# ---------------------------------------------------------------- exact, without a wrapper


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_torchvision_resnet18_on_cifar_shaped_tensors(batch_size: int) -> None:
    model, dataset = shaken(torchvision.models.resnet18(num_classes=10)), pictures(4)
    table = self_influence(model, dataset, batch_size=batch_size).result()
    assert table.attrs["fallback"] is None
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset), rtol=1e-6)


def test_timm_vision_transformer() -> None:
    model, dataset = shaken(vit()), pictures(5)
    table = self_influence(model, dataset, batch_size=3).result()
    assert table.attrs["fallback"] is None
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset), rtol=1e-6)


@pytest.mark.parametrize("make", [bert, distilbert])
@pytest.mark.parametrize("batch_size", [2, 4, 7])
def test_hugging_face_text_classifier_with_padding(
    make: Callable[[], nn.Module], batch_size: int
) -> None:
    model, dataset = shaken(make()), sentences()
    table = self_influence(model, dataset, collate=padded, batch_size=batch_size).result()
    assert table.attrs["fallback"] is None
    truth = by_autograd(model, dataset, collate=padded)
    np.testing.assert_allclose(table["score"], truth, rtol=1e-6)


def test_layers_shared_by_name_or_by_weight_fall_back_and_stay_exact() -> None:
    tied = bert()
    tied.bert.encoder.layer[1].output.dense = tied.bert.encoder.layer[0].output.dense
    for model in (shaken(albert()), shaken(tied)):
        dataset = sentences(3)
        table = self_influence(model, dataset, collate=padded).result()
        assert table.attrs["fallback"]
        truth = by_autograd(model, dataset, collate=padded)
        np.testing.assert_allclose(table["score"], truth, rtol=1e-6)


class Recurrent(nn.Module):
    """An LSTM has no closed form and several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.out = nn.Linear(5, 3)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(input_ids))[1][0][-1])


def test_a_recurrent_network_is_scored_by_the_fallback() -> None:
    model = shaken(Recurrent())
    dataset = [{"input_ids": torch.arange(i, i + 4), "label": i % 3} for i in range(5)]
    notes: list[str] = []
    table = self_influence(model, dataset, callback=lambda e: notes.append(e.note)).result()
    assert table.attrs["fallback"] and "slow, because" in notes[-1]
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset), rtol=1e-6)


class Regressor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(2, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.out(torch.tanh(self.first(left) + self.second(right)))[:, 0]


def test_nested_samples_with_a_loss_of_their_own() -> None:
    rng = torch.Generator().manual_seed(0)
    dataset = [
        {
            "x": (torch.randn(3, generator=rng).double(), [torch.randn(2, generator=rng).double()]),
            "meta": {"weight": 0.5 + i, "name": f"row {i}"},
            "target": float(i),
        }
        for i in range(5)
    ]

    def weighted(model: nn.Module, batch: Any) -> Tensor:
        left, (right,) = batch["x"]
        error = model(left, right) - batch["target"]
        return batch["meta"]["weight"] * error.square()

    model = shaken(Regressor())
    table = self_influence(model, dataset, loss=weighted, batch_size=2).result()
    assert table.attrs["fallback"] is None
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset, weighted), rtol=1e-6)


class Positions(nn.Module):
    """Position embeddings of a row without a batch axis, added by broadcasting."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 4), nn.Embedding(9, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, input_ids: Tensor) -> Tensor:
        places = self.places(torch.arange(input_ids.shape[1]))
        return self.out(torch.tanh(self.words(input_ids) + places).mean(1))


@pytest.mark.parametrize("lengths", [[5, 5, 5, 3, 3, 3], [3, 3, 3, 5, 5, 5], [3] * 6, [5] * 6])
def test_positions_are_not_taken_for_samples_where_their_numbers_meet(lengths: list[int]) -> None:
    torch.manual_seed(0)
    model = shaken(Positions())
    dataset = [{"input_ids": torch.randint(0, 20, (k,)), "labels": 1} for k in lengths]
    table = self_influence(model, dataset, batch_size=3).result()
    assert (table.attrs["fallback"] is None) == (3 not in lengths)
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset), rtol=1e-6)


class Activated(nn.BatchNorm2d):
    """A norm with its activation inside, as timm builds them: a layer with a layer that has no weight."""

    def __init__(self) -> None:
        super().__init__(4)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def test_a_layer_that_holds_its_activation_is_still_a_layer() -> None:
    model = shaken(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), Activated(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
        )
    )
    dataset = pictures(5, 8)
    table = self_influence(model, dataset).result()
    assert table.attrs["fallback"] is None
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset), rtol=1e-6)


class Looked(nn.Module):
    """A table that is indexed by place, as Swin's position bias: a copy per sample has other places."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(9, 3))
        self.out = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x[:, :3] * self.table[torch.tensor([8, 7, 6])].sum(0))


def test_a_copy_per_sample_that_breaks_the_model_falls_back() -> None:
    model = shaken(Looked())
    dataset = [(torch.randn(4).double(), i % 3) for i in range(5)]
    table = self_influence(model, dataset).result()
    assert "out of bounds" in table.attrs["fallback"]
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset), rtol=1e-6)


def test_an_error_of_the_model_itself_reaches_the_caller() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("mine")

    job = self_influence(Broken(4, 3), [(torch.randn(4), 0)])
    with pytest.raises(KeyError, match="mine"):
        job.result()


class PartlyUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.never = nn.Linear(4, 4), nn.Linear(4, 4)
        self.frozen, self.out = nn.Linear(4, 4), nn.Linear(4, 3)
        self.frozen.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.frozen(torch.tanh(self.a(x))))


def test_frozen_and_unused_parameters_are_left_out_without_the_fallback() -> None:
    model = shaken(PartlyUsed())
    dataset = [(torch.randn(4).double(), i % 3) for i in range(5)]
    table = self_influence(model, dataset, batch_size=2).result()
    assert table.attrs["fallback"] is None
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset), rtol=1e-6)


class HiddenUse(PartlyUsed):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.linear(x, self.never.weight)[:, :3]


def test_a_weight_used_without_its_layer_is_not_taken_for_unused() -> None:
    model = shaken(HiddenUse())
    dataset = [(torch.randn(4).double(), i % 3) for i in range(5)]
    table = self_influence(model, dataset, batch_size=2).result()
    assert table.attrs["fallback"]
    np.testing.assert_allclose(table["score"], by_autograd(model, dataset), rtol=1e-6)


# ---------------------------------------------------------------- checkpoints


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3)).double()


@pytest.fixture
def rows() -> list[tuple[Tensor, int]]:
    rng = torch.Generator().manual_seed(3)
    return [(torch.randn(3, 4, generator=rng).double(), i % 3) for i in range(7)]


def test_every_form_of_checkpoint_gives_the_terms_of_its_weights(rows: Any, tmp_path: Path) -> None:
    states = [small(seed).state_dict() for seed in range(6)]
    save_file(states[1], tmp_path / "one.safetensors")
    torch.save(states[2], tmp_path / "two.pt")
    torch.save({"epoch": 3, "state_dict": states[3]}, tmp_path / "three.ckpt")
    checkpoints = [
        states[0],
        tmp_path / "one.safetensors",
        str(tmp_path / "two.pt"),
        (tmp_path / "three.ckpt", 0.25),
        lambda model: model.load_state_dict(states[4]),
        lambda model: small(5),
        small(5),
    ]
    model = small(9)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    table = self_influence(model, rows, checkpoints=checkpoints).result()
    etas = [1, 1, 1, 0.25, 1, 1, 1]
    for t, (seed, eta) in enumerate(zip([0, 1, 2, 3, 4, 5, 5], etas, strict=True)):
        found = table[f"checkpoint_{t + 1}"]
        np.testing.assert_allclose(found, eta * by_autograd(small(seed), rows), rtol=1e-6)
    terms = table.filter(like="checkpoint_")
    np.testing.assert_allclose(table["score"], terms.sum(axis=1), rtol=1e-12)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_learning_rates_weigh_the_terms(rows: Any) -> None:
    states = [small(seed).state_dict() for seed in (0, 1)]
    truth = [by_autograd(small(seed), rows) for seed in (0, 1)]
    for rates, etas in ((0.1, (0.1, 0.1)), ([0.5, 2.0], (0.5, 2.0))):
        table = self_influence(small(4), rows, checkpoints=states, learning_rates=rates).result()
        expected = etas[0] * truth[0] + etas[1] * truth[1]
        np.testing.assert_allclose(table["score"], expected, rtol=1e-6)


def test_one_checkpoint_needs_no_list(rows: Any) -> None:
    table = self_influence(small(4), rows, checkpoints=small(0).state_dict()).result()
    np.testing.assert_allclose(table["score"], by_autograd(small(0), rows), rtol=1e-6)
    assert list(table) == ["id", "score", "rank", "percentile", "high"]


# ---------------------------------------------------------------- what is left behind


def state_of(model: nn.Module) -> list[Any]:
    modes = [m.training for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    hooks = sum(len(m._forward_hooks) for m in model.modules())
    return [modes, flags, hooks, [v.tolist() for v in model.state_dict().values()]]


@pytest.mark.parametrize("end", ["result", "close", "error"])
def test_the_model_is_put_back_whatever_happens(end: str, rows: Any) -> None:
    model = nn.Sequential(*small(0), nn.Dropout(0.5), nn.BatchNorm1d(3)).double().train()
    model[1].bias.requires_grad_(False)
    model[4].eval()
    before = state_of(model)
    other = {k: v + 1 for k, v in model.state_dict().items()}
    if end == "error":
        rows[5] = (rows[5][0] * torch.nan, 0)
    job = self_influence(model, rows, checkpoints=[other, other], batch_size=2)
    next(job)
    assert state_of(model) != before
    if end == "close":
        job.close()
    elif end == "error":
        with pytest.raises(DiffInfError, match="sample 5 under checkpoint 1 of 2"):
            job.result()
    else:
        job.result()
    assert state_of(model) == before


@pytest.mark.parametrize("how", ["assigned", "replaced"])
def test_tensors_and_modules_that_a_checkpoint_replaced_come_back(how: str, rows: Any) -> None:
    model = small(0)
    before, held = state_of(model), [*model.modules(), *model.parameters()]

    def put(m: nn.Module) -> None:
        if how == "assigned":
            m.load_state_dict(small(1).state_dict(), assign=True)
        else:
            m[3] = small(1)[3]  # type: ignore[index, operator]

    self_influence(model, rows, checkpoints=put).result()
    assert state_of(model) == before
    assert all(a is b for a, b in zip(held, [*model.modules(), *model.parameters()], strict=True))


def test_scores_are_those_of_evaluation_mode(rows: Any) -> None:
    model = nn.Sequential(*small(0)[:3], nn.Dropout(0.9), small(0)[3]).double()
    first, second = (self_influence(model.train(), rows).result() for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    np.testing.assert_allclose(first["score"], by_autograd(model, rows), rtol=1e-6)


# ---------------------------------------------------------------- the table and the events


def test_the_table_ranks_and_names(rows: Any) -> None:
    ids = [f"row-{i}" for i in range(7)]
    events: list[Progress] = []
    job = self_influence(small(0), rows, ids=ids, tau=30, batch_size=3, callback=events.append)
    table = job.result()
    assert table["id"].tolist() == ids and job.result() is table
    order = table["score"].rank(ascending=False).astype(int)
    assert table["rank"].tolist() == order.tolist()
    assert table["high"].sum() == 2 and set(table.loc[table["high"], "rank"]) == {1, 2}
    assert [(e.done, e.total) for e in events] == [(3, 7), (6, 7), (7, 7)]


# ---------------------------------------------------------------- what does not fit


class NoLength:
    def __getitem__(self, i: int) -> Any:
        return i


def mean_loss(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize(
    "change,message",
    [
        ({"dataset": NoLength()}, "map-style"),
        ({"dataset": []}, "empty"),
        ({"model": small(0).requires_grad_(False)}, "no trainable parameter"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"tau": 0}, "tau must be in"),
        ({"ids": ["a"]}, "1 ids for 7 samples"),
        ({"checkpoints": []}, "no checkpoint"),
        ({"checkpoints": [7]}, "not a int"),
        ({"checkpoints": 5}, "not a int"),
        ({"checkpoints": small(1).requires_grad_(False)}, "checkpoint 1 of 1 has no trainable"),
        ({"learning_rates": ["a"]}, "Learning rates need numbers"),
        ({"dataset": DataLoader([(torch.zeros(12).double(), 0)])}, r"DataLoader's \.dataset"),
        ({"device": "cuda:99"}, "cuda:99 cannot be used here"),
        ({"loss": lambda m, b: 0.5}, "returns a float"),
        ({"loss": lambda m, b: torch.zeros(len(b[1])).double()}, "does not depend on any trainable"),
        ({"checkpoints": "gone.pt"}, "gone.pt does not exist"),
        ({"checkpoints": [small(0).state_dict()], "learning_rates": [1, 2]}, "2 learning rates for 1"),
        ({"checkpoints": [(small(0).state_dict(), 1.0)], "learning_rates": 1.0}, "both in"),
        ({"learning_rates": -1.0}, "must be positive"),
        ({"checkpoints": nn.Linear(2, 2).state_dict()}, "checkpoint 1 of 1 do not fit the model"),
        ({"loss": mean_loss}, r"shape \(\) for 7 samples"),
        ({"dataset": [(torch.zeros(12).double(), 3)]}, "run from 3 to 3, but the model has 3"),
        ({"dataset": [(torch.zeros(12).double(), 0.5)]}, "one class index per sample"),
        ({"dataset": [(torch.zeros(12).double(), 0, 1)]}, "neither"),
        ({"dataset": [{"x": torch.zeros(12)}]}, "no 'labels' among x"),
        ({"dataset": [(torch.zeros(12), 0), (torch.zeros(9), 0)]}, "0 to 1 cannot be made a batch"),
        ({"dataset": [(object(), 0)]}, "give collate="),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(change: dict[str, Any], message: str, rows: Any) -> None:
    given = {"model": small(0), "dataset": rows} | change
    with pytest.raises(DiffInfError, match=message):
        self_influence(given.pop("model"), given.pop("dataset"), **given).result()


class Hostile:
    def __reduce__(self) -> Any:
        return (print, ("the file ran code",))


def test_a_pickled_checkpoint_is_refused(rows: Any, tmp_path: Path, capsys: Any) -> None:
    torch.save({"state_dict": Hostile()}, tmp_path / "bad.pt")
    with pytest.raises(DiffInfError, match=r"bad\.pt holds no plain weights"):
        self_influence(small(0), rows, checkpoints=[tmp_path / "bad.pt"]).result()
    assert "ran code" not in capsys.readouterr().out


def test_the_internal_and_the_public_path_are_the_same_machinery(rows: Any) -> None:
    model = small(0)
    x, y = torch.stack([r[0] for r in rows]), torch.tensor([r[1] for r in rows])
    with GradientNorms(model) as norms:
        inside = norms(x, y)
    table = self_influence(model, rows).result()
    np.testing.assert_allclose(table["score"], inside.numpy(), rtol=1e-12)
