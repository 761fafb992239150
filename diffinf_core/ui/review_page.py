"""Review: one pair at a time, one key per decision, everything undoable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError, Edit
from diffinf_core.ui import markup
from diffinf_core.ui.session import Session

STATES = [
    "undecided",
    "all",
    "decided",
    "accept",
    "reject",
    "keep",
    "relabel",
    "drop",
    "second_look",
]
FLAGS = [
    "all",
    "flagged",
    "unflagged",
    "adversarial",
    "judge disagrees",
    "label lost",
    "identity drift",
    "blurred",
    "background changed",
    "no visible change",
]
SORTS = [
    "most suspicious first",
    "judge agrees least",
    "identity lowest",
    "largest change",
]


def reviewer_of(request: gr.Request | None) -> str:
    """Who decides: the logged-in user, or the one person at this machine."""
    return (request.username if request else None) or "local"


def build(session: Session) -> Callable[..., list[Any]]:
    """Build the page inside the current tab; returns what to refresh on load."""
    with gr.Row(equal_height=True):
        state = gr.Dropdown(STATES, value="undecided", label="Show", elem_id="filter-state")
        label = gr.Dropdown(["all"], value="all", label="Label", elem_id="filter-label")
        flag = gr.Dropdown(FLAGS, value="all", label="Flag", elem_id="filter-flag")
        sort = gr.Dropdown(SORTS, value=SORTS[0], label="Order", elem_id="filter-sort")
    head = gr.HTML(elem_id="review-head")
    ids = gr.State([])
    at = gr.State(0)
    # What this visitor looks at right now, changed in place: an edit that is still streaming reads
    # it, and stops painting over a pair that the visitor has moved on to.
    key = gr.State("")
    live = gr.State({"sample": ""})
    # The pair on the screen as the browser knows it; a key for another pair is not taken.
    showing = gr.Textbox(visible="hidden", elem_id="review-showing")
    with gr.Row():
        with gr.Column(scale=3, min_width=480):
            view = gr.HTML(elem_id="review-pair")
            with gr.Row(elem_classes="di-buttons"):
                accept = gr.Button(
                    "Accept edit (A)", size="sm", variant="primary", elem_id="do-accept"
                )
                reject = gr.Button("Reject edit (R)", size="sm", elem_id="do-reject")
                keep = gr.Button("Keep original (K)", size="sm", elem_id="do-keep")
                drop = gr.Button("Drop (D)", size="sm", elem_id="do-drop")
                second = gr.Button("Second look (S)", size="sm", elem_id="do-second")
            with gr.Row(elem_classes="di-buttons"):
                relabel = gr.Button("Relabel to (L)", size="sm", elem_id="do-relabel")
                new_label = gr.Dropdown(
                    [], show_label=False, container=False, elem_id="new-label", min_width=120
                )
                back = gr.Button("← Back", size="sm", elem_id="go-back", min_width=80)
                forward = gr.Button("Next →", size="sm", elem_id="go-next", min_width=80)
                undo = gr.Button("Undo (U)", size="sm", elem_id="do-undo", min_width=80)
                redo = gr.Button("Redo (Y)", size="sm", elem_id="do-redo", min_width=80)
            comment = gr.Textbox(
                placeholder="Comment, kept with the next decision",
                show_label=False,
                container=False,
                max_length=2000,
                elem_id="comment",
            )
            message = gr.HTML(elem_id="review-message")
        with gr.Column(scale=2, min_width=360):
            version = gr.Radio([], label="Versions of this edit", elem_id="versions")
            table = gr.HTML(elem_id="review-scores")
            with gr.Accordion("Re-edit with other weights", open=False, elem_id="reedit-panel"):
                c = session.engine.config.repair
                w_id = gr.Slider(0, max(10, c.w_id), c.w_id, step=0.1, label="w_id: same person")
                struct = gr.Slider(
                    0,
                    max(5, c.lambda_struct),
                    c.lambda_struct,
                    step=0.1,
                    label="lambda_struct: same layout",
                )
                perc = gr.Slider(
                    0,
                    max(5, c.lambda_perc),
                    c.lambda_perc,
                    step=0.1,
                    label="lambda_perc: same look",
                )
                w_si = gr.Slider(
                    0, max(5, c.w_si), c.w_si, step=0.1, label="w_si: less influential"
                )
                guidance = gr.Slider(
                    0,
                    max(8, c.guidance),
                    c.guidance,
                    step=0.25,
                    label="guidance: towards the label",
                )
                t0 = gr.Slider(
                    min(100, c.t0), max(900, c.t0), c.t0, step=50, label="t0: room for change"
                )
                with gr.Row():
                    go = gr.Button("Re-edit (E)", size="sm", variant="primary", elem_id="do-reedit")
                    several = gr.Button("Try several", size="sm", elem_id="do-several")
                    halt = gr.Button("Cancel", size="sm", elem_id="reedit-cancel")
    shown = [head, view, table, version, new_label, message, showing]

    def empty(text: str, kind: str = "empty") -> list[Any]:
        none = gr.update(choices=[], value=None)
        return [markup.notice(text, kind), "", "", none, none, "", ""]

    def show(
        live_: dict[str, str],
        order: list[str],
        place: int,
        chosen: str | None = None,
        said: str = "",
    ) -> list[Any]:
        """The widgets of one pair; ``chosen`` is a version, default the decided one or the run's."""
        live_["sample"] = ""
        if not order:
            return empty("Nothing here. Change the filters, or look at 'all'.")
        try:
            return _pair(live_, order, place, chosen, said)
        except DiffInfError as error:
            return empty(str(error))

    def _pair(
        live_: dict[str, str], order: list[str], place: int, chosen: str | None, said: str
    ) -> list[Any]:
        place = min(max(place, 0), len(order) - 1)
        sample = order[place]
        engine = session.engine
        row = session.row(sample)
        decision = engine.decisions().get(sample)
        versions = engine.versions(sample)
        if chosen not in versions:
            chosen = decision.version if decision and decision.version else str(row["version"])
        edit = engine.edit(sample, chosen)
        picture, plain = engine.pictures(sample, chosen)
        classes = list(engine.training.classes)
        names = [(_version_name(i, engine.edit(sample, v)), v) for i, v in enumerate(versions)]
        guess = str(row["judge_class_before"])
        others = [k for k in classes if k != edit.label]
        top = markup.headline(
            place + 1,
            len(order),
            edit.label,
            int(row["rank"]),
            decision,
            str(row["suggestion"]),
            str(row["reason"]),
        )
        live_["sample"] = sample
        return [
            top,
            markup.pair(engine.original(sample), plain, picture, edit.label),
            markup.scores(edit, classes, float(row["percentile"])),
            gr.update(choices=names, value=chosen),
            gr.update(choices=others, value=guess if guess in others else others[0]),
            said,
            sample,
        ]

    def _version_name(index: int, edit: Edit) -> str:
        """What sets a version apart from the run's own settings."""
        usual = session.engine.config.repair.model_dump(mode="json")
        silent = {"batch_size", "generator", "tries", "precision", "seed"}
        other = [
            f"{key} {value:g}" if isinstance(value, int | float) else f"{key} {value}"
            for key, value in edit.settings.items()
            if key not in silent and value != usual.get(key)
        ]
        return f"{index + 1}: {', '.join(other) or 'as configured'}"

    def refilter(live_: dict[str, str], *chosen: str) -> list[Any]:
        try:
            order = session.filtered(*chosen)
        except DiffInfError as error:
            return [[], 0, *empty(str(error))]
        return [order, 0, *show(live_, order, 0)]

    def step(live_: dict[str, str], order: list[str], place: int, by: int) -> list[Any]:
        place = min(max(place + by, 0), max(0, len(order) - 1))
        return [place, *show(live_, order, place)]

    def decide(
        action: str,
        live_: dict[str, str],
        order: list[str],
        place: int,
        seen: str,
        version_: str | None,
        new_label_: str | None,
        comment_: str,
        request: gr.Request,
    ) -> list[Any]:
        if not order:
            return [place, "", *empty("Nothing to decide here.")]
        if order[place] != seen:
            # The key was meant for a pair that is no longer the current one.
            return [place, comment_, *show(live_, order, place)]
        try:
            session.row(seen)
            session.engine.decide(
                seen, action, reviewer_of(request), version_, new_label_, comment_
            )
        except DiffInfError as error:
            said = markup.notice(str(error), "error")
            return [place, comment_, *show(live_, order, place, version_, said)]
        last = place == len(order) - 1
        place = place if last else place + 1
        said = markup.notice("That was the last pair of this filter.") if last else ""
        return [place, "", *show(live_, order, place, None, said)]

    def take_back(
        live_: dict[str, str], order: list[str], place: int, verb: str, request: gr.Request
    ) -> list[Any]:
        engine = session.engine
        call = engine.undo if verb == "undo" else engine.redo
        try:
            sample = call(reviewer_of(request))
        except DiffInfError as error:
            said = markup.notice(str(error), "error")
            return [order, place, *show(live_, order, place, None, said)]
        if sample is None:
            said = markup.notice(f"Nothing to {verb}.")
            return [order, place, *show(live_, order, place, None, said)]
        text = "Taken back." if verb == "undo" else "Decided again."
        try:
            session.row(sample)
        except DiffInfError:
            said = markup.notice(f"{text} Sample {sample} is not in the present queue.")
            return [order, place, *show(live_, order, place, None, said)]
        if sample not in order:
            order = [sample, *order]
        place = order.index(sample)
        return [order, place, *show(live_, order, place, None, markup.notice(text))]

    def reedit(
        verb: str, live_: dict[str, str], order: list[str], place: int, *values: float
    ) -> Iterator[list[Any]]:
        keys = ("w_id", "lambda_struct", "lambda_perc", "w_si", "guidance", "t0")
        overrides: dict[str, Any] = dict(zip(keys, values, strict=True))
        overrides["t0"] = int(overrides["t0"])
        same = [gr.skip()] * len(shown)
        if not order:
            yield [markup.notice("Nothing to edit here."), *same[1:]]
            return
        sample, last = order[place], None
        try:
            original = session.engine.original(sample)
            label_ = str(session.row(sample)["label"])
            engine = session.engine
            work = engine.best_of if verb == "several" else engine.repair_one
            with session.edit_lane:
                for event in work(sample, overrides):
                    if live_["sample"] != sample:
                        yield same  # the edit goes on and is kept; only the painting stops
                    elif isinstance(event, Edit):
                        last = event.version
                        said = markup.notice("New version; the earlier ones are kept.")
                        yield show(live_, order, place, last, said)
                    else:
                        text = f"editing, step {event.done} of {event.total}"
                        shot = markup.pair(original, None, event.images[0], label_, text)
                        yield [same[0], shot, *same[2:]]
            if verb == "several" and live_["sample"] == sample:
                said = markup.notice(
                    "Proposed among all that were tried; each is kept as a version."
                )
                yield show(live_, order, place, last, said)
        except DiffInfError as error:
            if live_["sample"] == sample:
                yield show(live_, order, place, None, markup.notice(str(error), "error"))

    filters = [state, label, flag, sort]
    for control in filters:
        control.input(refilter, inputs=[live, *filters], outputs=[ids, at, *shown], queue=False)
    back.click(lambda v, o, p: step(v, o, p, -1), [live, ids, at], [at, *shown], queue=False)
    forward.click(lambda v, o, p: step(v, o, p, 1), [live, ids, at], [at, *shown], queue=False)
    given = [live, ids, at, showing, version, new_label, comment]
    buttons = {
        "accept": accept,
        "reject": reject,
        "keep": keep,
        "drop": drop,
        "second_look": second,
        "relabel": relabel,
    }
    for action, button in buttons.items():

        def handler(
            live_: dict[str, str],
            order: list[str],
            place: int,
            seen: str,
            version_: str | None,
            new_label_: str | None,
            comment_: str,
            request: gr.Request,
            action: str = action,
        ) -> list[Any]:
            return decide(
                action, live_, order, place, seen, version_, new_label_, comment_, request
            )

        button.click(
            handler,
            given,
            [at, comment, *shown],
            queue=False,
            trigger_mode="multiple",
            api_name=f"decide_{action}",
        )

    def undo_(
        live_: dict[str, str], order: list[str], place: int, request: gr.Request
    ) -> list[Any]:
        return take_back(live_, order, place, "undo", request)

    def redo_(
        live_: dict[str, str], order: list[str], place: int, request: gr.Request
    ) -> list[Any]:
        return take_back(live_, order, place, "redo", request)

    undo.click(undo_, [live, ids, at], [ids, at, *shown], queue=False)
    redo.click(redo_, [live, ids, at], [ids, at, *shown], queue=False)
    version.input(
        lambda v, o, p, chosen: show(v, o, p, chosen),
        [live, ids, at, version],
        shown,
        queue=False,
    )
    running: list[dict[str, Any]] = []
    for verb, trigger in (("one", go), ("several", several)):

        def edited(
            live_: dict[str, str], order: list[str], place: int, *values: float, verb: str = verb
        ) -> Iterator[list[Any]]:
            yield from reedit(verb, live_, order, place, *values)

        running.append(
            trigger.click(
                edited,
                [live, ids, at, w_id, struct, perc, w_si, guidance, t0],
                shown,
                concurrency_id="device",
                concurrency_limit=1,
                show_progress="hidden",
                api_name="reedit" if verb == "one" else "try_several",
            )
        )

    def halted(live_: dict[str, str], order: list[str], place: int) -> list[Any]:
        return show(live_, order, place, None, markup.notice("Cancelled; nothing was changed."))

    halt.click(halted, [live, ids, at], shown, cancels=running, queue=False)

    def load(live_: dict[str, str]) -> list[Any]:
        return again(live_, [], 0, "", "undecided", "all", "all", SORTS[0])

    def again(
        live_: dict[str, str], order: list[str], place: int, known: str, *chosen: str
    ) -> list[Any]:
        try:
            now = session.queue_key()
            if order and now == known:  # back from another page: the same pair
                return [*[gr.skip()] * 4, *show(live_, order, place)]
            labels = ["all", *session.engine.training.classes]
            order = session.filtered(*chosen)
        except DiffInfError as error:
            return [gr.skip(), [], 0, "", *empty(str(error))]
        return [gr.update(choices=labels), order, 0, now, *show(live_, order, 0)]

    load.inputs = [live]  # type: ignore[attr-defined]
    load.outputs = [label, ids, at, key, *shown]  # type: ignore[attr-defined]
    load.again = (again, [live, ids, at, key, *filters])  # type: ignore[attr-defined]
    return load
