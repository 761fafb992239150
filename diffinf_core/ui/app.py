"""Assemble the pages and serve them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import api, glossary
from diffinf_core.ui.compare.page import ComparePage
from diffinf_core.ui.explore import page as explore_page
from diffinf_core.ui.explore.parts import library_link
from diffinf_core.ui.export.page import ExportPage
from diffinf_core.ui.review import page as review_page
from diffinf_core.ui.review.presenter import asking
from diffinf_core.ui.run.page import RunPage
from diffinf_core.ui.session import Session
from diffinf_core.ui.updates import QUIET
from diffinf_core.ui.web.accounts import LOGIN_VARIABLE, Accounts
from diffinf_core.ui.web.below import checked_root
from diffinf_core.ui.web.guard import Hosts
from diffinf_core.ui.web.refusals import show_refusals
from diffinf_core.ui.web.server import (
    Server,
    certificate,
    listen,
    make_app,
    private_folder,
    proxy_address,
)
from diffinf_core.ui.web.token import Token
from diffinf_core.weights.files import assets_folder

#: opened pages of which the server remembers the place; the longest unused is forgotten first
_PAGES = 500
LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: in the order in which they need each other
_SCRIPTS = (
    "page", "early", "viewer", "parts", "glossary", "keys", "touch", "tour",
    "explore", "explore_lasso", "explore_map", "explore_grid", "explore_tau",
)  # fmt: skip


def theme() -> gr.themes.Base:
    """Quiet colours and system fonts; nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.orange,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        # white on orange-500 is too faint to read
        button_primary_background_fill="#b84a10",
        button_primary_background_fill_hover="#9c3d0b",
        button_primary_background_fill_dark="#b84a10",
        button_primary_background_fill_hover_dark="#9c3d0b",
    )


_TOP = """<a class="di-skip" href="#do-accept" id="skip">Skip to the decision</a>
<header class="di-top"><h1>DiffInf</h1><p>Find the pictures whose labels disturb training, repair
them, and judge every repair.</p><div class="di-top-buttons">
<button type="button" id="switch-theme">Dark</button><button type="button" id="show-tour">Tour</button>
<button type="button" id="show-glossary" aria-keyshortcuts="g">Glossary</button>
<button type="button" id="show-keys" aria-keyshortcuts="?">Keys</button>{out}</div></header>{glossary}"""
_OUT = '<form method="post" action="logout"><button>Log out</button></form>'


def build(session: Session) -> gr.Blocks:
    """The whole app for one run."""
    with gr.Blocks(title="DiffInf", analytics_enabled=False) as blocks:
        gr.HTML(_TOP.format(out=_OUT if session.shared else "", glossary=glossary.template()))
        begun = session.ready()
        with gr.Tabs(elem_id="pages", selected="review" if begun else "run") as tabs:
            with gr.Tab("Run", id="run") as run_tab:
                run = RunPage(session, run_tab)
            with gr.Tab("Review", id="review") as review_tab:
                review = review_page.build(session)
            with gr.Tab("Explore", id="explore") as explore_tab:
                explore_page.build(session, explore_tab)
            with gr.Tab("Compare", id="compare") as compare_tab:
                compare = ComparePage(session)
            with gr.Tab("Export", id="export") as export_tab:
                export = ExportPage(session)
        blocks.load(run.load, None, run.outputs, **QUIET)
        # Whoever only reviews does not wait for figures.
        compare_tab.select(compare.load, compare.inputs, compare.outputs, **QUIET)
        export_tab.select(export.load, export.inputs, export.outputs, **QUIET)
        blocks.load(asking(review.queue.load), [review.page_state], review.loaded, **QUIET)
        review_tab.select(asking(review.queue.again), [review.page_state], review.loaded, **QUIET)
        knobs = review.editor
        blocks.load(asking(knobs.load), [review.page_state], knobs.loaded, **QUIET)
        review_tab.select(asking(knobs.load), [review.page_state], knobs.loaded, **QUIET)

        def first_page() -> Any:
            # Not where it is open already: who clicked on another tab meanwhile stays there.
            return gr.Tabs(selected="review") if session.ready() and not begun else gr.skip()

        blocks.load(first_page, outputs=[tabs], **QUIET)
        # Programs get the endpoints of api.py; what a page needs for itself is not for them.
        for event in blocks.fns.values():
            event.api_visibility = "private"
        api.publish(session)
    return blocks


def scripts() -> str:
    """Our own JavaScript, for the head of the page."""
    folder = assets_folder() / "ui"
    texts = ((folder / f"{name}.js").read_text("utf-8") for name in _SCRIPTS)
    return "".join(f"<script>{text}</script>" for text in texts)


def warnings_of(host: str, tls: bool) -> list[str]:
    """What somebody who opens the app to a network should know."""
    if host in LOOPBACK or tls:
        return []
    return [
        f"Warning: http on {host} sends passwords and pictures readable to everybody in between; "
        "give --ssl-cert and --ssl-key, or put a proxy with https before it."
    ]


def serve(
    root: Path,
    port: int,
    host: str = "127.0.0.1",
    block: bool = True,
    allow_hosts: Sequence[str] = (),
    ssl_cert: Path | None = None,
    ssl_key: Path | None = None,
    trusted_proxies: Sequence[str] = (),
    token: bool = True,
    root_path: str = "",
) -> Server:
    """Serve a run; any address but loopback needs a log-in, and loopback without one a ``token``.

    ``allow_hosts`` are further names under which browsers may ask for it; they need one, too.
    ``trusted_proxies`` are addresses or networks of proxies that tell whom they speak for, ``root_path`` is
    the path below which a proxy shows the app. With
    ``block`` it returns after Ctrl+C, else as soon as it answers; port 0 takes a free one.
    """
    accounts = Accounts.of_run(root)
    if host not in LOOPBACK and accounts is None:
        raise DiffInfError(
            f"Serving on {host} without a log-in would show the pictures to the network: add a user "
            f"with 'diffinf users add NAME --run {root}' or set {LOGIN_VARIABLE}=name:password, "
            "or stay on 127.0.0.1."
        )
    if allow_hosts and accounts is None:
        raise DiffInfError(
            f"--allow-host lets browsers of other machines in, through a proxy: add a user with 'diffinf "
            f"users add NAME --run {root}' or set {LOGIN_VARIABLE}=name:password."
        )
    hosts, tls = Hosts(host, allow_hosts), certificate(ssl_cert, ssl_key)
    root_path = checked_root(root_path)
    proxies = [proxy_address(text) for text in trusted_proxies]
    private = private_folder()
    session = Session(root, shared=accounts is not None)
    session.check()
    blocks = build(session)
    # Whoever has no page has no place in the queue either.
    blocks.queue(default_concurrency_limit=4, max_size=64, api_open=False)
    blocks.state_session_capacity = _PAGES
    assets = assets_folder() / "ui"
    look = {
        "theme": theme(),
        "css_paths": sorted(assets.glob("*.css")),
        "head": library_link() + scripts(),
    }
    own = Token() if token and accounts is None else None
    app = make_app(blocks, lambda: session.run, hosts, accounts, look, own, root_path)
    server = Server(app, blocks, listen(host, port), tls, proxies, private, own)
    show_refusals()
    for line in warnings_of(host, bool(tls)):
        print(line, file=sys.stderr, flush=True)
    scheme = "https" if tls else "http"
    shown = f"[{host}]" if ":" in host else host
    address = f"{scheme}://{shown}:{server.port}/{server.query}"
    print(f"DiffInf on {address}  (run {root}; Ctrl+C stops)", flush=True)
    if root_path:
        print(f"Behind the proxy: {root_path}/{server.query}", flush=True)
    if block:
        server.run()
    else:
        server.start()
    return server
