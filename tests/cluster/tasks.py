"""Small tasks whose progress shows in files, for tests that kill what computes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.executor import Computing, ParallelMap


@dataclass(frozen=True)
class Squares:
    """Parcels are (what to do, number); the result is the number's square."""

    folder: str

    @contextmanager
    def open(self) -> Iterator[Callable[[tuple[str, int]], int]]:
        """Nothing to load."""
        yield self._square

    def _square(self, parcel: tuple[str, int]) -> int:
        import ray

        what, number = parcel
        begun = Path(self.folder, f"begun-{number}")
        first = not begun.exists()
        beside = begun.with_suffix(".part")
        beside.write_text(f"{os.getpid()} {ray.get_runtime_context().get_node_id()}")
        beside.replace(begun)
        if what == "dies once" and first:
            os._exit(1)
        if what == "fails":
            raise ValueError(f"{number} is not to be had")
        if what == "is refused":
            raise DiffInfError(f"{number} is no number for this.")
        if what == "waits" and first:
            Path(self.folder, "go").open(
                "rb"
            ).close()  # which lasts until somebody opens it for writing
        Path(self.folder, f"ended-{number}").touch()
        return number * number


def never(_: object) -> Computing:
    """What this process would compute, which it does not."""
    raise AssertionError("only workers compute")


def squares(folder: Path) -> ParallelMap[tuple[str, int]]:
    """Squares by workers; ``go`` in the folder is the pipe at which items wait."""
    os.mkfifo(folder / "go")
    return ParallelMap(
        never, lambda: Squares(str(folder)), lambda item: item, lambda i: f"square {i[1]}"
    )


class Dies:
    """A method whose training ends its process."""

    def train(self, task: object, folder: Path, note: str) -> Iterator[Progress]:
        """Never returns."""
        os._exit(1)
        yield


class Refuses:
    """A method that finds out that it cannot train."""

    def train(self, task: object, folder: Path, note: str) -> Iterator[Progress]:
        """Says so."""
        (folder / "run-1").mkdir()
        (folder / "run-1" / "history.json").write_text("[]")
        raise DiffInfError("It does not go.")
        yield
