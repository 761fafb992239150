"""The ways to an edit, behind one interface: a task in, a picture per step out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from diffinf_core.correction.guidance import GuidedStep, Task, guided_decode
from diffinf_core.correction.inpainting import inpaint
from diffinf_core.correction.latent import optimise

#: Edits a batch, a step per event; the last step's x_0 is the edit, before detail is transferred. Each
#: picture's result depends on its own row alone, and the caller may stop at any step.
Method = Callable[[Task], Iterator[GuidedStep]]

#: by the name that ``repair.method`` gives them
METHODS: dict[str, Method] = {
    "guided": guided_decode,
    "inpaint": inpaint,
    "z_sem": partial(optimise, both=False),
    "z_sem_x_T": partial(optimise, both=True),
}
