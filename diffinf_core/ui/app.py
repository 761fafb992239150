"""Assemble the pages and serve them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import compare_page, export_page, ranking_page, review_page, run_page
from diffinf_core.ui.session import Session
from diffinf_core.weights import assets_folder

LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: "name:password" pairs, comma-separated
LOGIN_VARIABLE = "DIFFINF_LOGIN"


def theme() -> gr.themes.Base:
    """Quiet colours and system fonts; nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.orange,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def build(session: Session) -> gr.Blocks:
    """The whole app for one run."""
    with gr.Blocks(title="DiffInf") as blocks:
        gr.HTML(
            '<header class="di-top"><h1>DiffInf</h1><p>Find the pictures whose labels disturb '
            "training, repair them, and judge every repair.</p></header>"
        )
        pages: dict[str, Any] = {}
        with gr.Tabs(elem_id="pages") as tabs:
            with gr.Tab("Review", id="review") as review_tab:
                pages["review"] = review_page.build(session)
            with gr.Tab("Run", id="run"):
                pages["run"] = run_page.build(session)
            with gr.Tab("Ranking", id="ranking") as ranking_tab:
                pages["ranking"] = ranking_page.build(session)
            with gr.Tab("Compare", id="compare") as compare_tab:
                pages["compare"] = compare_page.build(session)
            with gr.Tab("Export", id="export") as export_tab:
                pages["export"] = export_page.build(session)
        for load in pages.values():
            given = getattr(load, "inputs", None)
            blocks.load(load, given, load.outputs, queue=False, show_progress="hidden")
        refreshed = (
            (ranking_tab, "ranking"),
            (compare_tab, "compare"),
            (export_tab, "export"),
        )
        for tab, name in refreshed:
            tab.select(pages[name], outputs=pages[name].outputs, queue=False)
        review = pages["review"]
        # The queue is read anew when a run finishes while the page is open elsewhere.
        again, given = review.again
        review_tab.select(again, given, outputs=review.outputs, queue=False)

        def first_page() -> Any:
            return gr.Tabs(selected="review" if session.ready() else "run")

        blocks.load(first_page, outputs=[tabs], queue=False, show_progress="hidden")
    return blocks


def login() -> list[tuple[str, str]] | None:
    """Users from the environment, or None."""
    text = os.environ.get(LOGIN_VARIABLE, "")
    pairs = text.split(",") if text else []
    users = [tuple(pair.split(":", 1)) for pair in pairs]
    if any(len(pair) < 2 or not all(pair) for pair in users):
        raise DiffInfError(f"{LOGIN_VARIABLE} must hold name:password pairs, comma-separated.")
    return users or None  # type: ignore[return-value]


def serve(root: Path, port: int, host: str = "127.0.0.1", block: bool = True) -> gr.Blocks:
    """Serve a run; any address but loopback needs a log-in."""
    users = login()
    if host not in LOOPBACK and users is None:
        raise DiffInfError(
            f"Serving on {host} without a log-in would show the pictures to the network: "
            f"set {LOGIN_VARIABLE}=name:password, or stay on 127.0.0.1."
        )
    session = Session(root)
    blocks = build(session)
    blocks.queue(default_concurrency_limit=4)
    assets = assets_folder() / "ui"
    print(f"DiffInf on http://{host}:{port}  (run {root}; Ctrl+C stops)", flush=True)
    try:
        blocks.launch(
            server_name=host,
            server_port=port,
            auth=users,
            theme=theme(),
            css_paths=[assets / "diffinf.css"],
            head=f"<script>{(assets / 'diffinf.js').read_text()}</script>",
            footer_links=[],
            share=False,
            quiet=True,
            enable_monitoring=False,
            max_file_size="1mb",
            prevent_thread_lock=not block,
        )
    except OSError as error:
        raise DiffInfError(
            f"Port {port} cannot be used ({error}); choose another --port."
        ) from error
    return blocks
