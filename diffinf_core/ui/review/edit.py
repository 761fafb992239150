"""The re-edit panel: other weights for one picture, with a live preview, one edit at a time."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError, Edit
from diffinf_core.ui import markup
from diffinf_core.ui.review import view
from diffinf_core.ui.review.knobs import SHOWN, Controls, RunDefaults
from diffinf_core.ui.review.presenter import Presenter, asking, enter
from diffinf_core.ui.review.state import EDITING, DisplayedPair, PageState
from diffinf_core.ui.session import Session


def _made(known: bool, count: int, of: int) -> str:
    """What an edit that arrived is, the ``count``-th of ``of``."""
    what = "These settings gave a version that is there already." if known else "New version."
    return f"{what} {count} of {of}." if of > 1 else what


#: how the browser says, as the third input, when an edit or Cancel was asked for; see assets/ui/keys.js
_WHEN = (
    "(page_state, showing, now, ...more) => [page_state, showing, window.DiffInf.{0}(), ...more]"
)


class Editor:
    """The panel; ``wire`` connects it to the pair it edits.

    Edits that one visitor asks for wait for each other. Cancel ends all that were asked for before it, by
    the page's own clock: the order in which its requests arrive says nothing.
    """

    def __init__(self, session: Session, presenter: Presenter) -> None:
        self.session, self.presenter = session, presenter
        gr.HTML('<h3 class="di-unseen">Edit again with other weights</h3>')
        self.controls = Controls(self._defaults())
        with gr.Row(elem_classes="di-buttons"):
            self.go = gr.Button("Re-edit", size="sm", variant="primary", elem_id="do-reedit")
            self.several = gr.Button("Try several", size="sm", elem_id="do-several")
            self.halt = gr.Button("Cancel", size="sm", elem_id="reedit-cancel")
        self.now = gr.Textbox(visible="hidden", elem_id="reedit-now")

    def _run(
        self,
        verb: str,
        request: gr.Request,
        page_state: PageState,
        showing: str,
        now: str,
        *values: Any,
    ) -> Iterator[list[Any]]:
        """Stream previews, then the new version, of the pair that the browser showed when it was asked.

        The reviewer may have moved on meanwhile, also before the device was free.
        """
        who, sample = enter(request, page_state), DisplayedPair.read(showing).sample
        if not sample:
            yield self._rendered(page_state, who, None, markup.notice("Nothing to edit here."))
            return
        with page_state.turn:
            if now > page_state.halted:
                page_state.edits.add(now)
        try:
            overrides = Controls.overrides(self._defaults(), values)
            with self.session.edit_lane:
                yield from self._edit(verb, page_state, who, sample, overrides, now)
        except (
            Exception
        ) as error:  # a preview that stays would be a pair that nothing can be done with
            text = str(error)
            if not isinstance(error, DiffInfError):
                traceback.print_exc()
                text = f"unexpected {type(error).__name__}; the terminal shows the details."
            said = markup.notice(f"The edit of {sample} was not made: {text}", "error")
            if page_state.sample == sample:
                yield self._rendered(page_state, who, None, said)
            else:
                yield self.presenter.update(message=said, running="")
        finally:
            with page_state.turn:
                page_state.edits.discard(now)
                page_state.ended = max(now, page_state.ended)

    def _defaults(self) -> RunDefaults:
        """What the run edits with."""
        covariates = False
        if self.session.exists:
            with contextlib.suppress(DiffInfError):  # an edit says what is wrong with the generator
                covariates = self.session.run.repair.keeps_covariates
        return RunDefaults(self.session.repair_settings(), covariates)

    def _edit(
        self,
        verb: str,
        page_state: PageState,
        who: str,
        sample: str,
        overrides: dict[str, Any],
        now: str,
    ) -> Iterator[list[Any]]:
        if now <= page_state.halted:
            # Gradio would empty all that a handler which yields nothing was to fill.
            yield self.presenter.update()
            return
        run, last, said = self.session.run, None, False
        label = str(self.session.run.review.row(sample)["label"])
        known = set(run.pictures.versions(sample))
        several = verb == "several"
        work = run.repair.best_of if several else run.repair.edit
        with page_state.turn:
            # Those asked for before were never handed over by Gradio's queue, as where it is full.
            page_state.edits = {edit for edit in page_state.edits if edit >= now}
            page_state.editing = sample, len(known)
        try:
            count, of = 0, run.repair.tries(overrides) if several else 1
            for event in work(sample, overrides):
                here = page_state.sample == sample
                if isinstance(event, Edit):
                    last, count = event.version, count + 1
                    if count > of:
                        continue  # the proposed one, again
                    text = _made(last in known, count, of)
                    known.add(last)
                    yield self._arrived(page_state, who, sample, last, text)
                elif now <= page_state.halted:
                    # A preview may have overtaken what Cancel drew, which said how it ended.
                    page_state.editing = None
                    if here:
                        yield self._rendered(page_state, who, page_state.version or None, gr.skip())
                    else:
                        yield self.presenter.update(running="")
                    return
                elif here:
                    yield self._shot(page_state, sample, event, label, said)
                    said = True
                else:  # the edit goes on and is kept; only the painting stops
                    step = f", step {event.done} of {event.total}"
                    yield self.presenter.update(running=self.presenter.running(page_state, step))
                    said = False
        finally:
            page_state.editing = None
        if several and page_state.sample == sample:
            text = f"Proposed among {of} settings; each edit is kept as a version."
            yield self._rendered(page_state, who, last, markup.notice(text))

    def _rendered(
        self, page_state: PageState, who: str, version: str | None, said: Any
    ) -> list[Any]:
        """The pair on the table as it is now, with this message beside what there is to say of it."""
        with page_state.turn:
            shown = self.presenter.render_again(page_state, who, version)
        place = Presenter.names.index("message")
        shown[place] = said + shown[place] if isinstance(said, str) else said
        return shown

    def _arrived(
        self, page_state: PageState, who: str, sample: str, version: str, text: str
    ) -> list[Any]:
        with page_state.turn:
            if page_state.sample == sample:
                return self._rendered(page_state, who, version, markup.notice(text))
        name = self.session.run.pictures.described(sample)["file"]
        said = f"The edit of {name} is ready; it is kept as a version there."
        return self.presenter.update(message=markup.notice(said), running="")

    def _shot(
        self, page_state: PageState, sample: str, event: Any, label: str, said: bool
    ) -> list[Any]:
        """A preview. Said once that Cancel ends it, the place of messages is for what is said meanwhile."""
        text = f"editing, step {event.done} of {event.total}"
        key = self.session.run.pictures.data_key
        picture = view.preview(sample, event.images[0], label, text, key)  # this takes a while
        with page_state.turn:
            if page_state.sample != sample:
                return self.presenter.update()
            # What is shown is no version that could be accepted.
            showing = str(replace(page_state.displayed, version=EDITING))
        return self.presenter.update(
            view=picture,
            showing=showing,
            message=gr.skip() if said else markup.notice("Editing; Cancel stops it."),
        )

    def _waiting(self, page_state: PageState, showing: str, now: str) -> list[Any]:
        if not DisplayedPair.read(showing).sample:
            return self.presenter.update()
        with page_state.turn:
            if now <= max(
                page_state.ended, page_state.halted
            ):  # the edit, or Cancel, was faster than this word
                return self.presenter.update()
            page_state.edits.add(now)
        return self.presenter.update(message=markup.notice("Waiting for the device and the model."))

    def _halted(
        self, request: gr.Request, page_state: PageState, showing: str, now: str
    ) -> list[Any]:
        who, editing = enter(request, page_state), page_state.editing
        with page_state.turn:
            page_state.halted = max(now, page_state.halted)
            ended = {edit for edit in page_state.edits if edit <= now}
            page_state.edits -= ended
        asked = len(ended)
        if not asked:
            said, shown = markup.notice("Nothing is being edited."), DisplayedPair.read(showing)
            if shown.version == EDITING and editing is None:  # it failed, or the server restarted
                with page_state.turn:
                    said = self.presenter.entered(page_state, who, shown.sample) + said
                return self._rendered(page_state, who, page_state.version or None, said)
            running = self.presenter.running(page_state)
            return self.presenter.update(message=said, running=running)
        new = 0
        if editing is not None:
            sample, before = editing
            new = len(self.session.run.pictures.versions(sample)) - before
        kept = f"{new} that were finished are kept." if new > 0 else "Nothing was changed."
        text = "Cancelled" + (f" {asked} edits" if asked > 1 else "") + f". {kept}"
        return self._rendered(page_state, who, page_state.version or None, markup.notice(text))

    @property
    def loaded(self) -> list[Any]:
        """What :meth:`load` fills."""
        return self.controls.filled

    def load(self, _request: gr.Request, page_state: PageState) -> list[Any]:
        """The controls with an effect under the run's settings, set to these where the page has others."""
        with contextlib.suppress(DiffInfError):  # the page says so where the pair would be
            self.session.follow()
        defaults = self._defaults()
        with page_state.turn:
            anew, page_state.knobs_at = page_state.knobs_at != defaults, defaults
        return self.controls.loaded(defaults) if anew else [gr.skip()] * len(self.loaded)

    def _set(self, preset: str, showing: str) -> list[Any]:
        """The controls where a preset starts, or the version that the browser shows."""
        pair, pictures = DisplayedPair.read(showing), self.session.run.pictures
        version, name = None, ""
        if preset == SHOWN:
            # there may be none, or it is under way or gone
            with contextlib.suppress(DiffInfError):
                version = pictures.record(pair.sample, pair.version)
                number = pictures.versions(pair.sample).index(pair.version) + 1
                name = f"version {number} of {pictures.described(pair.sample)['file']}"
        return self.controls.start(self._defaults(), preset, version, name)

    def wire(self, page_state: gr.State, showing: gr.Textbox, shown: list[Any]) -> None:
        """``shown`` are the widgets of the pair, of which ``showing`` says which one it is."""
        chosen = self.controls.preset
        chosen.input(self._set, [chosen, showing], self.controls.filled, queue=False)
        asked: list[Any] = [page_state, showing, self.now]
        quick: dict[str, Any] = {
            "queue": False,
            "show_progress": "hidden",
            "trigger_mode": "multiple",
        }
        for verb, trigger in (("one", self.go), ("several", self.several)):

            def edited(
                request: gr.Request,
                page_state_: PageState,
                showing_: str,
                now: str,
                *values: Any,
                verb: str = verb,
            ) -> Iterator[list[Any]]:
                yield from self._run(verb, request, page_state_, showing_, now, *values)

            trigger.click(self._waiting, asked, shown, js=_WHEN.format("asked"), **quick)
            trigger.click(
                edited,
                [*asked, *self.controls.all],
                shown,
                concurrency_id="device",
                concurrency_limit=1,
                show_progress="hidden",
                trigger_mode="multiple",
                js=_WHEN.format("asked"),
            )
        self.halt.click(asking(self._halted), asked, shown, js=_WHEN.format("halted"), **quick)
