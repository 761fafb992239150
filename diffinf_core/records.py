"""The nouns that every room shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args

Event = TypeVar("Event")
Result = TypeVar("Result")


class DiffInfError(Exception):
    """Something a user can put right; the message is one clear sentence and is shown as it is."""


class OutdatedError(DiffInfError):
    """Something was decided about ``samples`` after the caller looked at them; nothing was written."""

    def __init__(self, samples: Sequence[str], why: str = "Somebody else decided on") -> None:
        self.samples = tuple(samples)
        what = "this pair" if len(self.samples) == 1 else f"{len(self.samples)} of these pairs"
        super().__init__(f"{why} {what} since you looked; nothing was saved. Look again.")


@dataclass(frozen=True)
class Progress:
    """One event of a slow stage.

    ``done`` and ``total`` count the stage's own unit (batches, images, steps); ``values`` holds
    figures worth plotting; ``note`` is a short text for a person.
    """

    stage: str
    done: int
    total: int
    note: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


class Job(Iterator[Event], Generic[Event, Result]):
    """A slow computation: an iterator over its progress events that ends in a result.

    Nothing runs until the job is iterated over or asked for its :meth:`result`, and nothing runs in
    the background. ``callback(event)`` is called with every event, whichever way the job is driven::

        scores = di.self_influence(model, dataset).result()

        job = di.self_influence(model, dataset)
        for event in job:
            print(f"{event.done} of {event.total}")
        scores = job.result()
    """

    def __init__(
        self,
        events: Generator[Event, None, Result],
        callback: Callable[[Event], object] | None = None,
    ) -> None:
        self._events, self._callback = events, callback
        self._result: list[Result] = []
        self._read: Callable[[], Result] | None = None
        self._error: BaseException | None = None

    @classmethod
    def of(
        cls,
        events: Iterator[Event],
        result: Callable[[], Result],
        callback: Callable[[Event], object] | None = None,
    ) -> Job[Event, Result]:
        """A job of some events; its result is what ``result()`` returns when it is asked for after them."""

        def work() -> Generator[Event, None, Any]:
            yield from events

        job = cls(work(), callback)
        job._read = result
        return job

    def __next__(self) -> Event:
        if self._result or self._error:
            raise StopIteration
        try:
            event = next(self._events)
        except StopIteration as end:
            self._result.append(end.value)
            raise
        except BaseException as error:
            self._error = error
            raise
        if self._callback is not None:
            try:
                self._callback(event)
            except BaseException as error:
                self._events.close()
                self._error = error
                raise
        return event

    def result(self) -> Result:
        """Run what is left and return the result; the same result when asked again.

        Raises what the computation raised, and :class:`DiffInfError` for a job that was closed.
        """
        for _ in self:
            pass
        if self._error is not None:
            raise self._error
        if self._read is not None:
            self._result, self._read = [self._read()], None
        return self._result[0]

    def close(self) -> None:
        """Cancel; a model that the computation changed is put back at once. No effect on an ended job."""
        self._events.close()
        if not self._result and self._error is None:
            self._error = DiffInfError("The job was closed before it had a result.")


@dataclass(frozen=True)
class Sample:
    """One training picture with its assigned label."""

    id: str
    file: str
    label: str
    label_index: int


@dataclass(frozen=True)
class Edit:
    """One version of a repaired picture, with everything needed to judge and to repeat it.

    ``settings`` is the repair configuration it was made with. Probabilities are per class, in class
    order; ``losses`` holds each unweighted term at each step. ``flags`` maps a warning to the
    figures behind it. ``identity_own`` is the mean cosine of the person's other pictures (of the same
    one, disturbed, where there is no other), ``identity_stranger`` that of the nearest stranger to the
    edit. ``sharpness`` is fine detail as a share of the original's; ``changed_area`` the share of
    pixels that changed visibly, ``changed_outside`` the same of what is not the person, and
    ``strongest_change`` how many levels of 255 the lightness changes where it changes most. ``colour_shift``
    is how far the mean colour of the middle moved in L*a*b*, ``colour_shift_floor`` how far a plain
    reconstruction moves it; ``male_before`` and ``male_after`` are a published network's probabilities of
    that sex, where one judges.
    """

    sample: str
    version: str
    label: str
    settings: dict[str, Any]
    generator: str
    identity_name: str
    perceptual_name: str
    judge_name: str
    identity: float | None
    perceptual: float
    perceptual_floor: float
    ssim: float
    l1: float
    h_before: float
    h_after: float
    influence_before: float
    influence_after: float
    judge_before: list[float]
    judge_after: list[float]
    classifier_before: list[float]
    classifier_after: list[float]
    losses: dict[str, list[float]]
    flags: dict[str, str]
    seconds: float
    #: None in the records of earlier versions, and where there is nothing to compare with
    identity_own: float | None = None
    identity_stranger: float | None = None
    sharpness: float | None = None
    changed_area: float | None = None
    strongest_change: float | None = None
    changed_outside: float | None = None
    colour_shift: float | None = None
    colour_shift_floor: float | None = None
    male_before: float | None = None
    male_after: float | None = None
    #: by the judge cross-fitted on the run's labels, where a published one judges
    cross_judge_before: list[float] | None = None
    cross_judge_after: list[float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Prediction:
    """What the run's networks see in an original.

    ``judge`` and ``classifier`` are probabilities per class, in class order; ``h`` is the probability of
    being high-influence under the assigned ``label``.
    """

    sample: str
    label: str
    judge_name: str
    judge: list[float]
    classifier: list[float]
    h: float


#: every warning that an edit can carry, in the order in which they are given
FLAGS = (
    "adversarial",
    "judge disagrees",
    "label lost",
    "identity drift",
    "blurred",
    "background changed",
    "covariate drift",
    "no visible change",
    "extreme change",
)
#: how many values a column may have to cut a data set into groups; with more it names pictures or people
GROUP_SIZES = range(2, 21)
ACTIONS = ("accept", "reject", "keep", "relabel", "drop", "second_look")
#: how a decision came about: by itself, as an independent second opinion, between two that differ
ROLES = ("decide", "second", "adjudicate")
#: what a reviewer saw of a pair beside its pictures: scores, suggestion and predictions, or none of them
MODES = ("open", "blind")


@dataclass(frozen=True)
class Choice:
    """What to decide about one sample; the fields mean what they mean in :class:`Decision`."""

    sample: str
    action: str
    version: str | None = None
    new_label: str | None = None
    comment: str = ""


@dataclass(frozen=True)
class Decision:
    """What a person decided about one sample.

    accept: train on the edit ``version``. reject: the edit is no good, keep the original. keep: the
    original and its label are right. relabel: the original under ``new_label``. drop: leave it out.
    second_look: not decided yet. ``role`` is one of :data:`ROLES`. ``looked``: a person had this pair before
    them when they decided; not so for bulk decisions, rules and programs. ``mode`` is one of :data:`MODES`,
    and "" where nobody looked or an earlier version wrote it.
    """

    sample: str
    action: str
    reviewer: str
    time: str
    version: str | None = None
    new_label: str | None = None
    comment: str = ""
    role: str = "decide"
    looked: bool = False
    mode: str = ""
    #: the reviewers who disagree, where that is why nothing is decided
    between: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The action, or "disagreement" where reviewers disagree and nobody has settled it."""
        return "disagreement" if self.between else self.action


@dataclass(frozen=True)
class Earlier:
    """What an earlier round did to one sample: ``action`` is repaired, relabelled or dropped.

    ``version`` names the edit; ``before`` and ``after`` are the labels of a relabelled sample.
    """

    id: str
    round: int
    action: str
    version: str | None = None
    before: str | None = None
    after: str | None = None


#: what becomes of an edited sample on which nobody has decided: it stays as it is, it takes the
#: proposed edit, or it takes the proposed edit where that has no flag
Undecided = Literal["original", "repaired", "unflagged"]
UNDECIDED: tuple[Undecided, ...] = get_args(Undecided)


@dataclass(frozen=True)
class StandingEdit:
    """The version whose picture stands for a sample, and the folder that holds it.

    ``new`` is False for an edit of an earlier round, which this round's training pictures contain already.
    """

    version: str
    folder: Path
    new: bool = True


@dataclass(frozen=True)
class RefinedSample:
    """What became of one training sample.

    ``assigned`` is the label that the data set came with, ``current`` the one it had when this round began,
    ``label`` the one it has now. ``lineage`` holds what earlier rounds did to it.
    """

    id: str
    file: str
    assigned: str
    current: str
    label: str
    edit: StandingEdit | None = None
    dropped: bool = False
    decision: Decision | None = None
    lineage: tuple[Earlier, ...] = ()

    @property
    def source(self) -> str:
        """original, repaired (the picture is synthetic, whatever the label), or relabelled."""
        if self.edit is not None:
            return "repaired"
        return "original" if self.label == self.assigned else "relabelled"


@dataclass(frozen=True)
class Subset:
    """Some training samples and what they are called, such as "tag 'blurred'"; ``samples`` are sorted."""

    name: str
    samples: tuple[str, ...]


@dataclass(frozen=True)
class RefinedSet:
    """The refined data set D' (equation 13): every training sample, in training order.

    ``open`` are the edited samples on which nobody has decided, ``undecided`` the policy for them, and
    ``earlier`` what earlier rounds did, samples that they dropped included.
    """

    samples: tuple[RefinedSample, ...]
    classes: tuple[str, ...]
    undecided: Undecided
    open: tuple[str, ...] = ()
    earlier: tuple[Earlier, ...] = ()

    @property
    def kept(self) -> tuple[RefinedSample, ...]:
        """The samples that are part of the refined set."""
        return tuple(sample for sample in self.samples if not sample.dropped)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The samples that reviewers of this round left out."""
        return tuple(sample.id for sample in self.samples if sample.dropped)

    def only(self, samples: Iterable[str]) -> RefinedSet:
        """The same of some samples alone."""
        chosen = set(samples)
        return replace(
            self,
            samples=tuple(s for s in self.samples if s.id in chosen),
            open=tuple(s for s in self.open if s in chosen),
            earlier=tuple(change for change in self.earlier if change.id in chosen),
        )

    def counts(self) -> dict[str, int]:
        """Samples by what became of them: original, repaired, relabelled, dropped, undecided."""
        sources = Counter(sample.source for sample in self.kept)
        out = {name: sources[name] for name in ("original", "repaired", "relabelled")}
        return out | {"dropped": len(self.dropped), "undecided": len(self.open)}
