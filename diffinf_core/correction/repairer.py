"""The repairer: everything an edit needs, loaded once; the same code for one picture and for thousands.

The version of an edit is a hash of the picture, its label, the settings, the generator, the predictor and
the perceptors, so that asking for the same edit again is instant.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.classifier.training import device
from diffinf_core.config import RepairConfig
from diffinf_core.correction.cache import InversionCache
from diffinf_core.correction.checks import Checks
from diffinf_core.correction.editing import (
    LabelCondition,
    Preview,
    computed_in,
    denoising_errors,
    edited,
    label_condition,
)
from diffinf_core.correction.edits import METHOD, NewEdit, publish_edit
from diffinf_core.correction.guidance import Inversion, Task, invert
from diffinf_core.correction.judge import JUDGE, judge_name
from diffinf_core.correction.objective import Objective
from diffinf_core.correction.perceptors import (
    NAMES,
    Perceptors,
    chosen,
    files_of,
    load_perceptors,
)
from diffinf_core.correction.probe import FittedProbe
from diffinf_core.correction.search import variants
from diffinf_core.data.lineage import origin
from diffinf_core.data.part import open_training, to_image, to_tensor
from diffinf_core.data.profile import profile_of
from diffinf_core.diffusion.conditions import covariate_indices
from diffinf_core.diffusion.loading import (
    WEIGHTS,
    existing_weights,
    load_autoencoder,
    weights_file,
)
from diffinf_core.diffusion.schedule import SPACING
from diffinf_core.influence.predictor import PREDICTOR, CrossFittedPredictor
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.runs.files import digest, file_digest
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import under_seal
from diffinf_core.runs.workers import in_order
from diffinf_core.weights.files import shipped
from diffinf_core.weights.pretrained import pretrained

#: the generator's vote on what a picture shows, against the checkpoints' log p
SEEN_WEIGHT = 60.0

#: edits that are written to the disk at once
_STORING = 16

#: settings that do not tell versions of an edit apart: of the machine, of the search for settings, and the
#: generator, of which the weights do
NOT_OF_A_VERSION = frozenset({"batch_size", "generator", "tries", "strength", "reached"})


def own_generators(run: Run) -> list[Path]:
    """Where a generator trained for a run lies."""
    roots = dict.fromkeys((run.root, origin(run)))
    return [root / "generator" / WEIGHTS for root in roots]


def _unfinished(weights: Path) -> bool:
    """Whether the training that wrote these was killed before it wrote their card, and can go on."""
    return weights.with_suffix(".ckpt").exists() and not weights.with_suffix(".json").exists()


def find_generator(run: Run) -> Path | None:
    """The generator of a run: configured, else trained in the run's folder, else the demo's; None: there is
    none. :class:`DiffInfError` where the configured one does not exist."""
    if run.config.repair.generator is not None:
        return existing_weights(run.config.repair.generator)
    for own in own_generators(run):
        if own.exists() and not _unfinished(own):
            return own
    own_generator = profile_of(run).generator
    return None if own_generator is None else shipped(own_generator)


def generator_file(run: Run) -> Path:
    """The generator of a run; :class:`DiffInfError` where there is none."""
    found = find_generator(run)
    if found is None:
        raise DiffInfError(
            "There is no generator for these pictures: run 'diffinf train-generator "
            f"--run {origin(run)}', let 'diffinf run' train one by --set generator.train=true, or give "
            "repair.generator=FILE."
        )
    return found


def outside_files(run: Run) -> list[Path]:
    """Every file outside of the stages that an edit may depend on, whether it is there or not."""
    given = run.config.repair.generator
    return [
        *([] if given is None else [weights_file(given)]),
        *own_generators(run),
        *map(shipped, ("generator", "judge", "identity", "parsing", "perceptual", "lpips")),
        *(pretrained(file).path for _, file in NAMES.values()),
    ]


def scores_key(run: Run) -> str:
    """What every edit of a run depends on beside its own settings and perceptors."""
    return digest(
        METHOD,
        PREDICTOR.key(run),
        JUDGE.key(run),
        file_digest(generator_file(run)),
        file_digest(shipped("judge")),
    )


def perceptors_key(run: Run, config: RepairConfig) -> list[str]:
    """The perceptors of an edit: what "auto" means depends on which weights are present."""
    kinds = chosen(config, profile_of(run).perceptors, run.config.data.image_size)
    return [*kinds.values(), *(file_digest(file) for file in files_of(kinds))]


class Repairer:
    """Everything a repair needs, loaded once; holds no state between calls."""

    def __init__(self, run: Run, cache: InversionCache | None = None) -> None:
        self.run = run
        self.device = device()
        self.train = open_training(run)
        file = generator_file(run)
        self.generator = load_autoencoder(file, device=self.device)
        self._generator_key = file_digest(file)
        self._inversions = cache or InversionCache(run.root / "inversions")
        self.generator_name = f"{file.name} {file_digest(file)[:12]}"
        if self.generator.architecture.image_size != self.train.size:
            raise DiffInfError(
                f"The generator {file} draws {self.generator.architecture.image_size} pixels, "
                f"the run has {self.train.size}; train another one, or make a new run with "
                f"--set data.image_size={self.generator.architecture.image_size}."
            )
        self.predictor = CrossFittedPredictor(run).to(self.device)
        self.checks = Checks(run, self.predictor, self.device, self._generator_key)
        self._fitted = FittedProbe(run, self.train, self._generator_key)
        self.key = scores_key(run)
        self._perceptors: dict[str, Perceptors] = {}

    @cached_property
    def condition(self) -> LabelCondition | None:
        """How the data set's classes map to the generator's labels; None where it does not know them."""
        return label_condition(self.generator, self.train.classes)

    def perceptors(self, config: RepairConfig) -> Perceptors:
        """The perceptors that a configuration asks for, loaded once."""
        kinds = chosen(config, profile_of(self.run).perceptors, self.train.size)
        name = str([*kinds.values(), config.face_crop])
        if name not in self._perceptors:
            self._perceptors[name] = load_perceptors(
                kinds, self.generator, self.device, config.face_crop
            )
        return self._perceptors[name]

    def version(self, position: int, config: RepairConfig) -> str:
        """The content address of an edit."""
        settings = config.provenance(NOT_OF_A_VERSION)
        picture = self.train.images([position]).tobytes()
        perceptors = perceptors_key(self.run, config)
        return digest(picture, int(self.train.labels[position]), settings, perceptors, self.key)

    def label_for(self, labels: Tensor, config: RepairConfig) -> Tensor | None:
        """The label condition (B, attributes), -1 for attributes that the data does not label."""
        if not config.use_label or self.condition is None:
            return None
        return self.condition.of(labels)

    def covariates(self, positions: NDArray[np.int64]) -> Tensor | None:
        """The covariates (B, K) of training pictures, which an edit keeps; None where there are none."""
        kept = [a for a in self.generator.architecture.attributes if a.covariate]
        if not kept:
            return None
        indices = covariate_indices(self.train.table.iloc[positions], kept)
        return torch.from_numpy(indices).to(self.device)

    def _with_covariates(
        self, condition: Tensor | None, positions: NDArray[np.int64]
    ) -> Tensor | None:
        if self.condition is None:
            return condition
        return self.condition.with_covariates(condition, self.covariates(positions))

    def negative_condition(self, x: Tensor, config: RepairConfig) -> Tensor | None:
        """The condition of the inversion and negative condition of guidance, as :meth:`label_for`.

        "unknown" is plain classifier-free guidance. "seen" is the class that the original shows:
        conditioned on it, the inversion leaves less of the old expression in x_T; the direction starts
        at that class and not at the average face; and a picture that shows its label already hardly
        changes.
        """
        if not config.use_label or self.condition is None:
            return None
        if config.guide_from == "unknown":
            return self.condition.unknown(len(x), x.device)
        keys = self._seen_keys(x, config)
        cached = self._inversions.seen(keys)
        if cached is None:
            cached = self._seen(x, self.condition, config).tolist()
            self._inversions.keep_seen(keys, cached)
        return self.condition.of(torch.tensor(cached, device=self.device))

    def _keys(self, x: Tensor, *parts: object) -> list[str]:
        """Cache keys of pictures x under this generator."""
        how = [METHOD, SPACING, str(self.generator.precision)]
        return [digest(image.tobytes(), self._generator_key, how, *parts) for image in to_image(x)]

    def _seen_keys(self, x: Tensor, config: RepairConfig) -> list[str]:
        return self._keys(x, "seen", config.seed, INFLUENCE.folder(self.run).key)

    def _inversion_keys(
        self, x: Tensor, condition: Tensor | None, config: RepairConfig
    ) -> list[str]:
        labels = [None] * len(x) if condition is None else condition.tolist()
        how = [config.steps, config.t0]
        return [digest(key, label) for key, label in zip(self._keys(x, how), labels, strict=True)]

    def cached(self, positions: NDArray[np.int64], config: RepairConfig) -> dict[str, bytes]:
        """What the cache of inversions holds of these pictures, for a worker elsewhere."""
        self.generator.precision = computed_in(config.precision, self.device)
        x = self.train.tensors(positions).to(self.device)
        out: dict[str, bytes] = {}
        if config.use_label and self.condition is not None and config.guide_from == "seen":
            keys = self._seen_keys(x, config)
            out = self._inversions.entries(keys)
            if len(out) < len(set(keys)):
                return out  # and so no key of an inversion is known
        condition = self._with_covariates(self.negative_condition(x, config), positions)
        return out | self._inversions.entries(self._inversion_keys(x, condition, config))

    def keep_cached(self, entries: Mapping[str, bytes]) -> None:
        """Store what a worker elsewhere computed for the cache of inversions."""
        self._inversions.update(entries)

    def reads(self, positions: NDArray[np.int64], config: RepairConfig) -> NDArray[np.int64]:
        """The positions of all pictures that an edit of these reads, ascending."""
        people = self.checks.people(self.perceptors(config), config)
        others = [] if people is None else [people.compared(int(p)) for p in positions]
        return np.unique(np.concatenate([positions, *others]))

    def inversion(self, x: Tensor, condition: Tensor | None, config: RepairConfig) -> Inversion:
        """Codes and plain reconstruction of originals, computed once for each t0 and steps."""
        keys = self._inversion_keys(x, condition, config)
        inversion = self._inversions.inversions(keys, self.device)
        if inversion is None:
            inversion = invert(self.generator, x, condition, config)
            self._inversions.keep(keys, inversion)
        return inversion

    def uses_probe(self, config: RepairConfig) -> bool:
        """Whether an edit starts from a code to which the linear probe assigns the label."""
        if not config.use_label or config.probe == "never":
            return False
        return config.probe == "always" or self.condition is None

    def variants(self, config: RepairConfig) -> list[RepairConfig]:
        """The settings that "best of several" tries with this generator."""
        return variants(config, self.condition is not None, self.uses_probe(config))

    def start(self, inversion: Inversion, y: Tensor, config: RepairConfig) -> Inversion:
        """The codes that decoding starts from: the inversion's, or moved towards labels y (B,)."""
        if not self.uses_probe(config):
            return inversion
        probe = self._fitted.load().to(self.device)
        moved = probe.towards(inversion.z_sem, y, config.probe_margin)
        return replace(inversion, z_sem=moved)

    def prepare(self, config: RepairConfig) -> Generator[tuple[str, int, int], None, None]:
        """What an edit needs beyond loading, if it is not there yet: (what, done, total)."""
        for done, total in self.checks.prepare(self.perceptors(config), config):
            yield "embedding the people", done, total
        if self.uses_probe(config):
            for done, total in self._fitted.prepare(self.generator, self.train, self.device):
                yield "fitting the probe", done, total

    @torch.no_grad()
    def _seen(self, x: Tensor, classes: LabelCondition, config: RepairConfig) -> Tensor:
        """The class (B,) that the generator and the checkpoints together see in pictures.

        The generator votes by how well it denoises the picture under each label, the checkpoints by
        their mean probability over the epochs before they memorise.
        """
        relative = denoising_errors(self.generator, x, classes, config.seed)
        return (self._class_probabilities(x).clamp_min(1e-4).log() - SEEN_WEIGHT * relative).argmax(
            1
        )

    def _class_probabilities(self, x: Tensor) -> Tensor:
        """Mean probability (B, K) of each class over the classifier's checkpoints."""
        return torch.stack([net(x).float().softmax(1) for net, _ in self.checks.snapshots]).mean(0)

    @torch.no_grad()
    def label_ratio(
        self, positions: NDArray[np.int64], images: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Probability of the label over that of the strongest other class (B,), by the checkpoints.

        ``images`` (B, S, S, 3) stand for the training pictures at ``positions``.
        """
        y = torch.from_numpy(self.train.labels[positions]).to(self.device)[:, None]
        p = self._class_probabilities(to_tensor(images).to(self.device)).clamp_min(1e-6)
        return (p.gather(1, y)[:, 0] / p.scatter(1, y, 0).amax(1)).cpu().numpy()

    @under_seal
    def repair(
        self, positions: NDArray[np.int64], config: RepairConfig
    ) -> Iterator[Preview | list[Edit]]:
        """Repair a batch: previews step by step, then the published edits, as the last event."""
        yield self.publish((yield from self.edit(positions, config)))

    def publish(self, edits: Sequence[NewEdit]) -> list[Edit]:
        """Store edits; their records. A disk takes many small files best together."""

        def publish(edit: NewEdit) -> Edit:
            publish_edit(self.run, edit.record, edit.image, edit.reconstruction)
            return edit.record

        threads = max(1, min(_STORING, len(edits)))
        return list(in_order(publish, edits, threads, threads, "storing"))

    @under_seal
    def edit(
        self, positions: NDArray[np.int64], config: RepairConfig
    ) -> Generator[Preview, None, list[NewEdit]]:
        """Edit a batch: previews step by step; the edits, which are not stored, are what it returns."""
        for _ in self.prepare(config):
            pass
        began = time.perf_counter()
        x = self.train.tensors(positions).to(self.device)
        y = torch.from_numpy(self.train.labels[positions]).to(self.device)
        perceptors = self.perceptors(config)
        classifier = self.predictor.net

        def influence(pictures: Tensor) -> Tensor:
            return self.predictor.logit(pictures, y, positions)

        objective = Objective(config, perceptors, influence, classifier, x, y)
        self.generator.precision = computed_in(config.precision, self.device)
        label = self._with_covariates(self.label_for(y, config), positions)
        negative = self._with_covariates(self.negative_condition(x, config), positions)
        inversion = self.inversion(x, negative, config)
        start = self.start(inversion, y, config)
        done = yield from edited(Task(self.generator, start, label, negative, objective, config))
        records = self.checks.measure(
            positions, done.final, done.plain, objective.reference, perceptors, config
        )
        seconds = (time.perf_counter() - began) / len(positions)
        edits = []
        for i, position in enumerate(positions):
            sample = self.train.sample(int(position))
            edit_record = Edit(
                sample=sample.id,
                version=self.version(int(position), config),
                label=sample.label,
                settings=config.model_dump(mode="json"),
                generator=self.generator_name,
                identity_name=perceptors.identity_name,
                perceptual_name=perceptors.perceptual_name,
                judge_name=judge_name(self.run),
                losses=done.losses[i],
                seconds=seconds,
                **records[i],
            )
            edits.append(NewEdit(edit_record, done.images[i], done.reconstructions[i]))
        return edits
