"""Edits within the region where a label shows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.config import RepairConfig
from diffinf_core.correction.colour import colour_shift
from diffinf_core.correction.guidance import Inversion, Task, changed, guided_decode, invert
from diffinf_core.correction.inpainting import _noise, edit_region, inpaint, main_pieces
from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.regions import label_regions
from diffinf_core.diffusion.sampling import eps_for, step_to
from diffinf_core.diffusion.schedule import abar, times
from diffinf_core.records import DiffInfError

SIZE = 16
CONFIG = RepairConfig(
    method="inpaint", steps=3, t0=600, guidance=4.0, step_size=0.0, transfer="delta",
    mask_quantile=0.8,
)  # fmt: skip


def make(inpaints: bool = True) -> DiffusionAutoencoder:
    torch.manual_seed(4)
    model = DiffusionAutoencoder(
        Architecture(
            image_size=SIZE, z_dim=16, patch=1, widths=(16, 24), embed=32, encoder_width=16,
            attributes=(Attribute(name="kind", classes=("a", "b")),), inpaints=inpaints,
        )
    )  # fmt: skip
    for p in model.parameters():  # fresh networks end in zeros
        torch.nn.init.normal_(p, 0, 0.08)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator() -> DiffusionAutoencoder:
    return make()


def task(
    generator: DiffusionAutoencoder,
    config: RepairConfig = CONFIG,
    n: int = 2,
    covariate: int | None = None,
) -> Task:
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(n, 3, SIZE, SIZE, generator=rng) * 1.6 - 0.8
    objective: Any = SimpleNamespace(
        reference=SimpleNamespace(x=x),
        terms=lambda made: {"dark": made.mean((1, 2, 3))},
        loss=lambda terms: terms["dark"],
    )
    none, label = torch.full((n, 1), -1), torch.ones(n, 1, dtype=torch.long)
    if covariate is not None:
        kept = torch.full((n, 1), covariate)
        none, label = torch.cat([none, kept], 1), torch.cat([label, kept], 1)
    inversion = invert(generator, x, none, config)
    return Task(generator, inversion, label, none, objective, config)


def region_of(here: Task) -> Tensor:
    *_, first = guided_decode(here)
    assert isinstance(here.generator, DiffusionAutoencoder) and here.label is not None
    plain = here.inversion.reconstruction
    return edit_region(here.generator, here.label, first.x0, plain, here.config.mask_quantile)


def test_nothing_outside_of_the_region_changes_and_something_inside_does(
    generator: DiffusionAutoencoder,
) -> None:
    here = task(generator)
    made = list(inpaint(here))
    assert [s.done for s in made] == list(range(1, 7)) and {s.total for s in made} == {6}
    region = region_of(here)
    outside = (region == 0).expand(-1, 3, -1, -1)
    assert 0.2 < outside.float().mean() < 0.8
    x, pictures = here.objective.reference.x, here.pictures(made[-1].x0)
    torch.testing.assert_close(pictures[outside], x[outside])
    assert (pictures - x).abs()[~outside].mean() > 1e-3
    assert made[-1].terms == {} and not made[-1].x0.requires_grad


def test_the_second_decoding_knows_the_original_around_the_region(
    generator: DiffusionAutoencoder,
) -> None:
    here = task(generator)
    *_, last = inpaint(here)
    deaf = make()
    deaf.unet.stem.weight[:, 3:] = 0  # the surroundings say nothing to it
    *_, without = inpaint(replace(here, generator=deaf))
    assert not torch.allclose(last.x0, without.x0, atol=1e-4)
    # the first decoding is the same for both: it is shown nothing
    assert torch.equal(region_of(here), region_of(replace(here, generator=deaf)))


def test_the_objective_moves_the_second_decoding_within_the_region(
    generator: DiffusionAutoencoder,
) -> None:
    here = task(generator)
    *_, plain = inpaint(here)
    pulled = replace(here, config=CONFIG.model_copy(update={"step_size": 3.0}))
    made = list(inpaint(pulled))
    assert all(s.terms == {} for s in made[:3]) and all("dark" in s.terms for s in made[3:])
    assert made[-1].x0.mean() < plain.x0.mean() - 1e-3
    outside = (region_of(here) == 0).expand(-1, 3, -1, -1)
    torch.testing.assert_close(made[-1].x0[outside], plain.x0[outside])


def test_the_region_is_where_the_picture_and_its_class_change(
    generator: DiffusionAutoencoder,
) -> None:
    plain = torch.zeros(2, 3, SIZE, SIZE)
    edit = torch.ones_like(plain)
    edit[:, :, 8:] = 0.1
    model = make()
    model.regions[0, :, :8] = 0.1
    got = edit_region(model, torch.tensor([[0], [1]]), edit, plain, 0.7)
    assert not got[:, :, 11:].any()  # nothing changes there
    assert not got[0, :, :, :5].any() and bool((got[0, :, :6, 9:] == 1).all())


def test_a_cell_apart_is_no_part_of_the_region_however_strongly_it_changes() -> None:
    plain = torch.zeros(1, 3, SIZE, SIZE)
    edit = torch.zeros_like(plain)
    edit[:, :, 10:, 4:12] = 1.0
    edit[:, :, 3, 3] = 2.0
    got = edit_region(make(), torch.tensor([[0]]), edit, plain, 0.7)
    assert not got[:, :, :7].any() and bool((got[:, :, 11:, 5:11] == 1).all())


def test_separate_pieces_in_which_the_class_usually_changes_little_are_left_out() -> None:
    plain, edit = torch.zeros(2, 3, SIZE, SIZE), torch.zeros(2, 3, SIZE, SIZE)
    edit[:, :, 13:, 3:13] = 0.8  # below, where the class changes
    edit[:, :, :3, 3:13] = 1.0  # and above, as large and stronger
    edit[1, :, 3:13, 5:11] = 0.9  # joined by a bridge in the second picture
    model = make()
    model.regions[0, :9] = 0.4
    got = edit_region(model, torch.tensor([[0], [0]]), edit, plain, 0.6)
    assert not got[0, :, :7].any() and bool((got[0, :, 13:, 5:11] > 0.5).all())
    assert bool((got[1, :, :3, 5:11] > 0).all()) and bool((got[1, :, 13:, 5:11] > 0.5).all())


def test_pieces_are_weighed_by_where_they_are_and_hang_together_by_corners() -> None:
    mask, usual = torch.zeros(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    mask[0, :, 1:3, 1:3] = mask[0, :, 1:3, 5:7] = 0.7  # two eyes
    mask[0, :, 5:, 1:7] = 0.7  # and a large piece where little changes usually
    usual[0, :, 4:] = 0.4
    mask[1, :, 2, 2] = mask[1, :, 3, 3] = mask[1, :, 4, 4] = 1  # one piece
    usual[1, :, 4:] = 0.4
    want = mask.clone()
    want[0, :, 5:] = 0
    assert torch.equal(main_pieces(mask, usual), want)  # of the third, where nothing is, nothing


def test_without_a_label_it_is_guided_decoding(generator: DiffusionAutoencoder) -> None:
    here = replace(task(generator), label=None, negative=None)
    *_, usual = guided_decode(here)
    *_, made = inpaint(here)
    assert torch.equal(made.x0, usual.x0) and made.total == CONFIG.steps


def test_a_generator_that_does_not_inpaint_is_refused_in_a_sentence() -> None:
    with pytest.raises(DiffInfError, match=r"not trained to inpaint: set repair\.method=guided"):
        task(make(False))


def test_both_decodings_take_their_direction_without_the_code_by_the_fraction_asked_for(
    generator: DiffusionAutoencoder,
) -> None:
    model = make()
    model.architecture = model.architecture.model_copy(update={"label_alone": True})
    made = {}
    for fraction in (None, 1.0, 0.5, 0.0):
        config = CONFIG.model_copy(update={"without_code": fraction})
        steps = list(inpaint(replace(task(model), config=config)))
        made[fraction] = (steps[CONFIG.steps - 1].x0, steps[-1].x0)
    assert all(torch.equal(a, b) for a, b in zip(made[None], made[1.0], strict=True))
    for a, b in ((1.0, 0.5), (0.5, 0.0)):
        assert all((x - y).abs().max() > 1e-4 for x, y in zip(made[a], made[b], strict=True))
    # a generator that was trained with the code always there takes all of it with the code
    *_, usual = inpaint(task(generator))
    torch.testing.assert_close(made[0.0][1], usual.x0)


@pytest.mark.parametrize("method", ["inpaint", "guided"])
def test_a_generator_that_knows_no_label_without_the_code_is_refused_in_a_sentence(
    method: str, generator: DiffusionAutoencoder
) -> None:
    config = CONFIG.model_copy(update={"method": method, "without_code": 0.5})
    with pytest.raises(DiffInfError, match=r"leave repair\.without_code and"):
        task(generator, config)


def test_guidance_of_covariates_needs_a_generator_that_has_some(
    generator: DiffusionAutoencoder,
) -> None:
    with pytest.raises(DiffInfError, match="no covariates to keep"):
        task(generator, CONFIG.model_copy(update={"covariate_guidance": 1.0}))


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_every_prediction_keeps_covariates_by_the_guidance_asked_for(guidance: float) -> None:
    model = make()
    kinds = (
        *model.architecture.attributes,
        Attribute(name="sex", classes=("f", "m"), covariate=True),
    )
    torch.manual_seed(5)
    over = {"attributes": kinds, "label_alone": True}
    model = DiffusionAutoencoder(model.architecture.model_copy(update=over)).eval()
    for p in model.requires_grad_(False).parameters():
        torch.nn.init.normal_(p, 0, 0.08)
    here = task(model, CONFIG.model_copy(update={"guidance": guidance}), covariate=1)
    kept = replace(here, config=here.config.model_copy(update={"covariate_guidance": 2.0}))
    z, x = here.inversion.z_sem, here.original
    plain, _ = here.predict(x, 300, z)
    moved, _ = kept.predict(x, 300, z)
    unknown, sex = torch.full((2, 2), -1), torch.tensor([[-1, 1], [-1, 1]])
    dropped = torch.zeros_like(z)
    direction = model.predict(x, 300, dropped, sex)[0] - model.predict(x, 300, dropped, unknown)[0]
    torch.testing.assert_close(moved - plain, 2.0 * direction, atol=1e-4, rtol=1e-4)
    *_, a = inpaint(here)
    *_, b = inpaint(kept)
    assert (a.x0 - b.x0).abs().max() > 1e-3


def test_the_regions_of_classes_are_where_edits_to_them_change_pictures() -> None:
    """Of a model that paints the upper half for one class and the left half for the other."""

    class Painter:
        architecture = SimpleNamespace(attributes=(SimpleNamespace(classes=("a", "b")),))

        def encode(self, x: Tensor, x0: Tensor) -> Tensor:
            return x.mean((1, 2, 3))[:, None]

        def invert(self, x0: Tensor, *_: object) -> Tensor:
            return x0

        def decode(self, x_T: Tensor, *_: object) -> Tensor:
            return x_T

        def predictor(self, z: Tensor, label: Tensor, guidance: float, plain: Tensor) -> Any:
            assert plain.eq(-1).all()

            def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
                x0 = x.clone()
                half = (slice(None), slice(None), slice(SIZE // 2))
                (x0 if label[0, 0] == 0 else x0.transpose(2, 3))[half] += 1
                return x0[: len(x_t)], torch.zeros_like(x_t)

            return predict

    x = torch.zeros(5, 3, SIZE, SIZE)
    painter: Any = Painter()
    *_, (seen, got) = label_regions(painter, x, x, None)
    assert seen == len(x)
    torch.testing.assert_close(got.mean((1, 2)), torch.ones(2))
    torch.testing.assert_close(got[0], got[1].T)
    assert bool((got[0, 1:7, 1:-1] > 1.8).all()) and not got[0, 9:].any()


def test_an_inversion_is_left_as_it_was(generator: DiffusionAutoencoder) -> None:
    here = task(generator)
    kept = Inversion(*(v.clone() for v in vars(here.inversion).values()))
    list(inpaint(here))
    for name, value in vars(kept).items():
        assert torch.equal(getattr(here.inversion, name), value)


def test_the_mean_colour_is_kept_where_that_is_asked_for(generator: DiffusionAutoencoder) -> None:
    free = task(generator)
    kept = task(generator, CONFIG.model_copy(update={"keep_colour": True}))
    x = free.objective.reference.x
    *_, last = inpaint(free)
    assert (colour_shift(x, free.pictures(last.x0)) > 0.2).all()
    assert (colour_shift(x, kept.pictures(last.x0)) < 0.01).all()


MEAN = CONFIG.model_copy(update={"decode_from": "mean", "refine_t0": 0})


def test_without_noise_nothing_of_the_inverted_picture_is_in_the_region(
    generator: DiffusionAutoencoder,
) -> None:
    here = task(generator, MEAN)
    region = region_of(here)
    made = list(inpaint(here))
    assert [s.done for s in made] == list(range(1, 7))
    assert [s.drawn for s in made] == 3 * [False] + 3 * [True]
    outside = (region == 0).expand(-1, 3, -1, -1)
    assert torch.equal(made[-1].x0[outside], here.original[outside])
    # the same by hand, from the original, its code and the region alone
    schedule = times(MEAN.steps, MEAN.t0)
    known = (region == 0).float()
    around = torch.cat([known * here.original, known], 1)
    h = abar(schedule[-1], here.original).sqrt() * here.original
    assert here.label is not None and here.negative is not None
    for i in reversed(range(MEAN.steps)):
        t = schedule[i + 1]
        z = here.inversion.z_sem
        guided, _ = generator.guide(h, t, z, here.label, here.negative, here.guidance, around)
        x0 = here.original + region * (guided - here.original)
        h = step_to(x0, eps_for(h, x0, t), schedule[i])
    torch.testing.assert_close(made[-1].x0, x0)


def test_the_objective_moves_a_drawing_without_noise_too(generator: DiffusionAutoencoder) -> None:
    # so much of the picture, and so strongly, that its colours change
    strong = MEAN.model_copy(update={"mask_quantile": 0.3, "guidance": 12.0})
    here = task(generator, strong)
    *_, plain = inpaint(here)
    *_, pulled = inpaint(replace(here, config=strong.model_copy(update={"step_size": 3.0})))
    assert "dark" in pulled.terms
    assert here.drawn(pulled.x0).mean() < here.drawn(plain.x0).mean() - 1e-3


def test_a_drawing_leaves_the_original_where_its_colour_is_the_same(
    generator: DiffusionAutoencoder,
) -> None:
    here = task(generator, MEAN)
    x = here.objective.reference.x
    rng = torch.Generator().manual_seed(3)
    grain = 0.3 * torch.randn(x.shape, generator=rng)
    grain = grain - F.avg_pool2d(grain, 9, 1, 4, count_include_pad=False)
    assert changed(x + grain, x).mean() > 0.5
    # grain alone is no change; another colour is one, of the same lightness too, and is taken as it is drawn
    assert torch.equal(here.drawn(x + grain), x)
    drawn = x + grain
    drawn[:, :, 5:11, 5:11] += torch.tensor([0.6, -0.419, 0.587])[:, None, None]
    got = here.drawn(drawn)
    torch.testing.assert_close(got[:, :, 6:10, 6:10], drawn[:, :, 6:10, 6:10])
    kept = replace(here, config=MEAN.model_copy(update={"keep_colour": True}))
    assert (colour_shift(x, got) > 1).all() and (
        colour_shift(x, kept.drawn(drawn)) < colour_shift(x, got) / 3
    ).all()


REFINED = MEAN.model_copy(update={"refine_t0": 200})


def test_a_drawing_from_the_mean_is_noised_and_denoised_within_its_region(
    generator: DiffusionAutoencoder,
) -> None:
    here = task(generator, REFINED)
    *_, soft = inpaint(replace(here, config=MEAN))
    made = list(inpaint(here))
    assert [s.done for s in made] == list(range(1, 9)) and {s.total for s in made} == {8}
    torch.testing.assert_close(made[5].x0, soft.x0)
    region = region_of(here)
    outside = (region == 0).expand(-1, 3, -1, -1)
    assert torch.equal(made[-1].x0[outside], here.original[outside])
    # by hand: what the network predicts under the label, unguided, twice
    known = (region == 0).float()
    around = torch.cat([known * here.original, known], 1)
    x0, schedule = soft.x0, times(2, 200)
    h = abar(200, x0).sqrt() * x0 + (1 - abar(200, x0)).sqrt() * _noise(here)
    for i in (1, 0):
        t = schedule[i + 1]
        predicted, _ = generator.predict(h, t, here.inversion.z_sem, here.label, around)
        x0 = here.original + region * (predicted - here.original)
        h = step_to(x0, eps_for(h, x0, t), schedule[i])
        torch.testing.assert_close(made[7 - i].x0, x0)
    # the objective acts there, too
    pulled = replace(here, config=REFINED.model_copy(update={"step_size": 3.0}))
    assert all("dark" in step.terms for step in list(inpaint(pulled))[3:])
    # at the lowest level there is one step
    *_, least = inpaint(replace(here, config=MEAN.model_copy(update={"refine_t0": 1})))
    assert least.done == least.total == 7


def test_the_noise_of_a_drawing_is_its_pictures_own_and_the_seeds(
    generator: DiffusionAutoencoder,
) -> None:
    both, one = task(generator, REFINED, n=2), task(generator, REFINED, n=1)
    noise = _noise(both)
    assert torch.equal(noise[:1], _noise(one))
    assert (noise[0] - noise[1]).abs().mean() > 0.5
    seeded = replace(one, config=REFINED.model_copy(update={"seed": 1}))
    assert (noise[:1] - _noise(seeded)).abs().mean() > 0.5
