"""The page that asks for a name and a password; it loads nothing from anywhere."""

from __future__ import annotations

from html import escape

from diffinf_core.ui.web.refusals import policy_hash

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2733; --paper: #f4f5f8; --card: #ffffff; --line: #8a94a3;
  --accent: #b84a10; --on: #ffffff; --quiet: #556070; --bad: #a31621; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --paper: #12161d; --card: #1c222c;
  --line: #6b7688; --accent: #f2955b; --on: #1a1009; --quiet: #a9b4c4; --bad: #ff8a93; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { width: min(24rem, 100%); background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; padding: 2rem; }
h1 { margin: 0; font-size: 1.5rem; color: var(--accent); }
p { margin: .25rem 0 1.25rem; color: var(--quiet); }
label { display: block; font-weight: 600; margin: 0 0 .25rem; }
input { width: 100%; font: inherit; padding: .6rem .7rem; margin: 0 0 1rem; color: inherit;
  background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
button { width: 100%; font: inherit; font-weight: 600; padding: .7rem; border: 0; cursor: pointer;
  border-radius: 8px; background: var(--accent); color: var(--on); }
input:focus-visible, button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.bad { border-left: 4px solid var(--bad); color: var(--bad); padding: .1rem 0 .1rem .7rem; }
"""


#: nothing runs here, nothing is loaded, and the form goes nowhere else
POLICY = (
    f"default-src 'none'; style-src '{policy_hash(_STYLE)}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def login_page(onward: str = "/", name: str = "", error: str = "") -> str:
    """The page; ``onward`` is where a successful log-in leads."""
    alert = f'<p class="bad" role="alert" id="error">{escape(error)}</p>' if error else ""
    described = ' aria-describedby="error" aria-invalid="true"' if error else ""
    # The cursor is where typing goes on.
    at_name, at_password = ("", " autofocus") if name else (" autofocus", "")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Log in to DiffInf</title><style>{_STYLE}</style></head><body><main>"
        "<h1>DiffInf</h1><p>Log in to review. Every decision is kept under your name.</p>"
        f'{alert}<form method="post" action="login">'
        f'<input type="hidden" name="next" value="{escape(onward)}">'
        '<label for="username">Name</label><input id="username" name="username" required '
        f'autocomplete="username" maxlength="80" value="{escape(name)}"{described}{at_name}>'
        '<label for="password">Password</label><input id="password" name="password" required '
        f'type="password" autocomplete="current-password" maxlength="1000"{described}{at_password}>'
        '<button type="submit">Log in</button></form></main></body></html>'
    )
