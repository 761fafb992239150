"""The repair stage on a tiny finished run: records, content addresses, judge, flags."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffinf_core.config import RepairConfig, change, make_config
from diffinf_core.correction.cache import InversionCache
from diffinf_core.correction.editing import Preview
from diffinf_core.correction.edits import NewEdit, edit_folder, load_edit, versions_of
from diffinf_core.correction.repairer import Repairer
from diffinf_core.correction.stage import REPAIR
from diffinf_core.diffusion.figures import ssim
from diffinf_core.influence.gradients import gradient_norms_by_vmap
from diffinf_core.influence.stage import ranking
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.runs.run import Run


@pytest.fixture(scope="module")
def repairer(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Repairer:
    root = tmp_path_factory.mktemp("stage") / "run"
    shutil.copytree(finished_run, root)
    return Repairer(Run.open(root))


def high(run: Run) -> list[int]:
    return np.flatnonzero(ranking(run)["high"].to_numpy()).tolist()


def test_every_high_influence_sample_has_a_whole_record(finished_run: Path) -> None:
    run = Run.open(finished_run)
    table = ranking(run)
    for sample in table.loc[table["high"], "id"]:
        (version,) = versions_of(run, sample)
        edit = load_edit(run, sample, version)
        folder = edit_folder(run, sample, version)
        with Image.open(folder / "edit.png") as image:
            assert image.size == (64, 64)
            assert "not a photograph" in image.text["Synthetic"]
        assert (folder / "reconstruction.png").exists()
        assert sum(edit.judge_before) == pytest.approx(1)
        assert {len(v) for v in edit.losses.values()} == {run.config.repair.steps}
        assert set(edit.losses) >= {"identity", "structure", "perceptual", "influence"}
        assert 0 <= edit.h_after <= 1 and -1 <= edit.identity <= 1
        assert "demo" in edit.identity_name and edit.perceptual_name == "LPIPS-Alex v0.1"


def test_batch_and_single_repair_give_the_same_picture(
    repairer: Repairer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = repairer.run.config.repair.model_copy(update={"steps": 2})
    positions = np.array(high(repairer.run)[:3])
    together = [e for e in repairer.repair(positions, config) if isinstance(e, Preview)][-1]
    monkeypatch.setattr(repairer, "_inversions", InversionCache(tmp_path / "empty"))
    for i, position in enumerate(positions):
        (*_, last, _) = repairer.repair(np.array([position]), config)
        assert isinstance(last, Preview)
        difference = np.abs(together.images[i].astype(int) - last.images[0].astype(int))
        assert difference.max() <= 1  # sums in another order, rounded


def test_version_changes_with_what_it_depends_on_and_with_nothing_else(repairer: Repairer) -> None:
    base = RepairConfig()
    position = high(repairer.run)[0]
    version = repairer.version(position, base)
    assert repairer.version(position, base.model_copy(update={"batch_size": 3})) == version
    for other in ({"w_id": 2.0}, {"guidance": 2.0}, {"t0": 500}, {"transfer": "none"}):
        assert repairer.version(position, base.model_copy(update=other)) != version
    assert repairer.version(high(repairer.run)[1], base) != version


def test_a_kill_between_steps_leaves_no_version(repairer: Repairer) -> None:
    config = RepairConfig(steps=4, w_id=1.7)
    position = high(repairer.run)[0]
    events = repairer.repair(np.array([position]), config)
    next(events)
    events.close()
    sample = str(repairer.train.ids[position])
    assert repairer.version(position, config) not in versions_of(repairer.run, sample)
    assert not list((repairer.run.root / "edits" / sample).glob(".*"))


def test_self_influence_of_an_original_is_the_stored_score(repairer: Repairer) -> None:
    positions = np.array(high(repairer.run)[:2])
    x, y = repairer.train.tensors(positions), torch.from_numpy(repairer.train.labels[positions])
    stored = ranking(repairer.run)["score"].to_numpy()[positions]
    np.testing.assert_allclose(repairer.checks.self_influence(x, y), stored, rtol=2e-3)
    slow = sum(
        eta * gradient_norms_by_vmap(net, x, y).double().numpy()
        for net, eta in repairer.checks.snapshots
    )
    np.testing.assert_allclose(slow, stored, rtol=2e-3)


def test_label_is_told_by_name_whatever_the_class_order(repairer: Repairer) -> None:
    names = repairer.train.classes
    label = repairer.label_for(torch.arange(len(names)), RepairConfig())
    assert label is not None
    attribute = repairer.generator.architecture.attributes[0]
    assert [attribute.classes[i] for i in label[:, 0]] == list(names)
    assert (label[:, 1] == -1).all()
    assert repairer.label_for(torch.arange(2), RepairConfig(use_label=False)) is None


def test_ids_from_a_page_cannot_leave_the_run(finished_run: Path) -> None:
    run = Run.open(finished_run)
    for sample, version in (("../../etc", "0" * 16), ("0" * 12, "../../passwd"), ("", "")):
        with pytest.raises(DiffInfError, match="There is no edit"):
            edit_folder(run, sample, version)


def test_ssim_of_itself_is_one_and_falls_with_noise() -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(ssim(x, x), torch.ones(3))
    near, far = ssim(x, x + 0.1 * torch.randn_like(x)), ssim(x, torch.randn_like(x))
    assert (near < 0.999).all() and (far < near).all()


def test_folder_data_without_a_generator_is_told_what_to_do(tmp_path: Path) -> None:
    from diffinf_core.correction.repairer import generator_file

    config = make_config("demo", {"data": {"source": "folder", "path": str(tmp_path)}})
    with pytest.raises(DiffInfError, match="train-generator"):
        generator_file(Run.prepare(tmp_path / "run", config))


def test_a_batch_that_was_stored_in_part_is_computed_whole_again(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture's last bits depend on its batch: a killed run may not shift the batches."""
    run = Run.open(run_copy)
    run.config = change(run.config, {"repair": {"batch_size": 3, "w_id": 1.3}})
    made: list[list[int]] = []
    edit, publish = Repairer.edit, Repairer.publish

    def noting(self: Repairer, positions: np.ndarray, config: RepairConfig) -> Any:
        made.append(positions.tolist())
        return edit(self, positions, config)

    def killed(self: Repairer, edits: list[NewEdit]) -> list[Edit]:
        publish(self, edits[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(Repairer, "edit", noting)
    monkeypatch.setattr(Repairer, "publish", killed)
    with pytest.raises(KeyboardInterrupt):
        list(REPAIR.compute(run))
    monkeypatch.setattr(Repairer, "publish", publish)
    for _ in REPAIR.compute(run):
        pass
    first, again, *_ = made
    assert first == again and len(first) == 3
    everyone = [p for batch in made[1:] for p in batch]
    assert sorted(everyone) == sorted(high(run)), "each picture once more, in the same batches"
    assert not list(REPAIR.folder(run).path.glob("batches-*")), "only while it is computed"
