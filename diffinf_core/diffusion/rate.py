"""How fast a generator learns, from the first step to the last, under a number of steps or a time budget."""

from __future__ import annotations

from typing import Any

#: relative decrease of the held-out loss that counts as better
_BETTER = 0.002
#: the step of a decay whose begin depends on the clock
_NOT_YET = 2**62


class RateSchedule:
    """The learning rate: linear warm-up, a plateau, and a linear decay to one hundredth.

    The decay begins at the configured step, or earlier where the held-out loss has stalled. With a time
    budget it begins when the plateau's part of the time is spent, and takes as many steps as fit into the
    rest at the speed so far; from then on it no longer depends on a clock. ``warmup_steps`` of a first phase
    come before; after ``patience`` held-out losses without a better one, 0: never, the decay begins.
    """

    def __init__(
        self,
        steps: int,
        decay_fraction: float,
        minutes: float | None = None,
        warmup_steps: int = 0,
        patience: int = 0,
    ) -> None:
        self._decay_fraction, self._minutes = decay_fraction, minutes
        self._warmup_steps, self._patience = warmup_steps, patience
        self.decay_from = round(steps * (1 - decay_fraction))
        self._decay_steps = steps - self.decay_from
        if minutes is not None:
            self.decay_from = _NOT_YET
        self.best, self.waited = float("inf"), 0

    @property
    def timed(self) -> bool:
        """Whether the number of steps depends on how long they take, and is not known yet."""
        return self.decay_from == _NOT_YET

    def record_time(self, seconds: float, done: int) -> bool:
        """Take the time that ``done`` steps took; whether the decay begins because of it."""
        if self._minutes is None or not self.timed or done <= self._warmup_steps:
            return False
        if seconds < 60 * self._minutes * (1 - self._decay_fraction):
            return False
        self.decay_from = done - self._warmup_steps
        left = max(0.0, 60 * self._minutes - seconds)
        self._decay_steps = max(1, round(done * left / max(seconds, 1e-9)))
        return True

    @property
    def total(self) -> int:
        """Steps of both phases until the decay ends."""
        return self._warmup_steps + self.decay_from + self._decay_steps

    def estimated_total(self, seconds: float, done: int) -> int:
        """The same, by the speed of the ``done`` steps so far while the time budget decides."""
        if not self.timed or self._minutes is None:
            return self.total
        return max(done + 1, round(done * 60 * self._minutes / seconds))

    def time_left(self, seconds: float) -> str:
        """A remark for the progress while the number of steps is not known; else empty."""
        if not self.timed or self._minutes is None:
            return ""
        return f"about {max(0.0, self._minutes - seconds / 60):.0f} minutes left"

    def factor(self, step: int) -> float:
        """The rate of a step, as a fraction of the peak."""
        step_of_phase = step - self._warmup_steps
        if step_of_phase < 0:
            # Phase one ends at full speed; only the end of phase two anneals.
            return min(1.0, (step + 1) / 100)
        left = 1 - (step_of_phase - self.decay_from) / max(1, self._decay_steps)
        return min(1.0, (step_of_phase + 1) / 100) * max(0.01, min(1.0, left))

    def record(self, validation: float, done: int) -> bool:
        """Take a held-out loss after ``done`` steps; whether the decay begins early because of it."""
        if validation < self.best * (1 - _BETTER):
            self.best, self.waited = validation, 0
        else:
            self.waited += 1
        reached = done - self._warmup_steps
        stalled = 0 < self._patience <= self.waited and reached < self.decay_from
        if stalled and not self.timed:
            self.decay_from = reached
        return stalled and not self.timed

    def state(self) -> dict[str, Any]:
        """What :meth:`load` takes up again."""
        return {
            "decay_from": self.decay_from,
            "decay_steps": self._decay_steps,
            "best": self.best,
            "waited": self.waited,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`, also one of an earlier version, which had no time budget."""
        self.decay_from = state["decay_from"]
        self._decay_steps = state.get("decay_steps", self._decay_steps)
        self.best, self.waited = state["best"], state["waited"]
