/* Keys of the Review page. A key clicks the button with its id, so mouse and keyboard do the same.
   Keys can be changed in the sheet that "?" opens; the choice stays in this browser. */
(() => {
  const { shown, button, field, tell, remember, recall } = window.DiffInf;
  /* Anything but undo, redo and a step is meant for the pair on the screen. */
  const FREE = new Set(["do-undo", "do-redo", "go-back", "go-next"]);
  /* When an edit was asked for is the time of its key or click, however long that waits its turn here and in
     Gradio: Cancel ends what was asked for before it, by the clock of this page. */
  const EDITS = new Set(["do-reedit", "do-several"]);
  let asked = null, halted = null;
  const clock = (time) => String(Math.round(time ?? performance.now())).padStart(12, "0");
  window.DiffInf.asked = () => clock(asked);
  window.DiffInf.halted = () => clock(halted);
  /* An edit can be asked for while its panel is closed. */
  const pressable = (id) => button(id) || (EDITS.has(id) && shown(document.getElementById("review-head"))
    ? document.getElementById(id) : null);
  const press = (id) => {
    const now = performance.now();
    window.DiffInf.settled(() => {
      if (EDITS.has(id)) asked = now;
      pressable(id)?.click();
    }, !FREE.has(id));
  };
  const click = (id) => () => {
    if (!pressable(id)) return false;
    press(id);
    return true;
  };
  const view = (verb) => () => window.DiffInf.view[verb]();
  const version = (by) => () => {
    const all = () => [...document.querySelectorAll("#versions [data-version]")];
    window.DiffInf.settled(() => {
      const at = all().findIndex((el) => el.getAttribute("aria-pressed") === "true"), next = all()[at + by];
      if (next) tell("version", next.dataset.version);
    }, true);
    return all().length > 0;
  };
  /* name: [key, what it does, how, button that shows the key] */
  const ACTIONS = {
    accept: ["a", "accept the edit", click("do-accept"), "do-accept"],
    reject: ["r", "reject the edit, keep the original", click("do-reject"), "do-reject"],
    keep: ["k", "keep: picture and label are right", click("do-keep"), "do-keep"],
    drop: ["d", "drop the picture from the data set", click("do-drop"), "do-drop"],
    second: ["s", "needs a second look", click("do-second"), "do-second"],
    relabel: ["l", "relabel to the class beside the button", click("do-relabel"), "do-relabel"],
    undo: ["u", "take the last decision back", click("do-undo"), "do-undo"],
    redo: ["y", "decide it again", click("do-redo"), "do-redo"],
    back: ["ArrowLeft", "pair before", click("go-back"), "go-back"],
    next: ["ArrowRight", "next pair", click("go-next"), "go-next"],
    newer: ["]", "next version of this edit", version(1), null],
    older: ["[", "version before", version(-1), null],
    beside: ["v", "two versions side by side, and back", () => {
      const several = document.querySelectorAll("#versions [data-version]").length > 1;
      if (several) window.DiffInf.settled(() => tell("beside", ""), true);
      return several;
    }, null],
    reedit: ["e", "edit, or edit again, with the weights of the panel", click("do-reedit"), "do-reedit"],
    blink: ["b", "blink: the original in the edit's place while held", view("blink"), null],
    slide: ["w", "slider between original and edit, and back", view("slide"), null],
    heat: ["h", "large map of what changed, and back", view("heat"), null],
    zoomIn: ["z", "zoom in, all pictures in step", view("zoomIn"), null],
    zoomOut: ["x", "zoom out", view("zoomOut"), null],
    whole: ["0", "whole picture", view("whole"), null],
    comment: ["c", "write a comment", () => { const el = field("comment"); if (el) el.focus(); return Boolean(el); }, null],
    glossary: ["g", "what the notation means", () => window.DiffInf.glossary(), "show-glossary"],
    help: ["?", "this sheet", () => { sheet(); return true; }, "show-keys"],
  };
  const DECIDES = new Set(["accept", "reject", "keep", "drop", "second", "relabel"]);
  const saved = () => { try { return JSON.parse(recall("diffinf-keys") || "{}"); } catch { return {}; } };
  let keys = {};
  const bind = () => {
    const own = saved();
    keys = {};
    for (const [name, [usual]] of Object.entries(ACTIONS)) {
      keys[name] = typeof own[name] === "string" && own[name] ? own[name] : usual;
    }
  };
  const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "space" };
  const named = (key) => NAMES[key] || (key.length === 1 ? key.toUpperCase() : key);
  const label = () => {
    for (const [name, [, , , id]] of Object.entries(ACTIONS)) {
      const el = id && button(id);
      if (el && el.dataset.key !== named(keys[name])) {
        el.dataset.key = named(keys[name]);
        el.setAttribute("aria-keyshortcuts", keys[name]);
      }
    }
  };
  const typing = (el) => el && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName)
    && !/^(radio|checkbox|range|button)$/.test(el.type || ""));
  const of = (event) => (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  /* the digits that relabel, as the pair on the screen says */
  const digits = () => document.querySelector("#review-head .di-head")?.dataset.keys || "";
  const dialog = () => document.querySelector("dialog[open]");

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && typing(event.target)) return event.target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || dialog() || typing(event.target)) return;
    const key = of(event);
    if (/^Arrow|^Home|^End|^Page/.test(key) && /radio|range/.test(event.target.type || "")) return;
    const review = shown(document.getElementById("review-head"));
    /* the pictures are not those of the pair that a decision would be on */
    const relabels = review && /^[0-9]$/.test(key) && digits().includes(key);
    if (relabels && window.DiffInf.stale()) return;
    if (relabels) {
      window.DiffInf.settled(() => tell("relabel", key), true);
      return event.preventDefault();
    }
    for (const [name, [, , act]] of Object.entries(ACTIONS)) {
      if (keys[name] !== key || !(review || name === "help" || name === "glossary")) continue;
      if (review && window.DiffInf.stale() && DECIDES.has(name)) return;
      if (act(event)) event.preventDefault();
      return;
    }
  });
  document.addEventListener("keyup", (event) => { if (of(event) === keys.blink) window.DiffInf.view.blinkOff(); });
  window.addEventListener("blur", () => window.DiffInf.view.blinkOff());

  /* ------------------------------------------------------------ the sheet of keys */
  const sheet = () => {
    const box = document.createElement("dialog");
    box.className = "di-dialog";
    box.setAttribute("aria-labelledby", "di-keys-title");
    const rows = Object.entries(ACTIONS).map(([name, [, text]]) =>
      `<tr><th scope="row">${text}</th><td><button type="button" data-name="${name}"><kbd></kbd></button></td></tr>`);
    box.innerHTML = `<h2 id="di-keys-title">Keys</h2><p>Click a key to choose another one.
      A digit relabels to the class beside which it stands. Keys are ignored while you type; Escape leaves a field.</p>
      <table>${rows.join("")}</table><p role="status" class="di-keys-said"></p>
      <div class="di-dialog-row"><button type="button" data-reset>Reset to defaults</button>
      <button type="button" data-close autofocus>Close</button></div>`;
    const said = box.querySelector(".di-keys-said");
    const draw = () => box.querySelectorAll("[data-name]").forEach((el) => {
      el.firstElementChild.textContent = named(keys[el.dataset.name]);
      el.setAttribute("aria-label", `${ACTIONS[el.dataset.name][1]}: ${named(keys[el.dataset.name])}, change`);
    });
    let waiting = null;
    box.addEventListener("click", (event) => {
      const el = event.target.closest("button");
      if (!el) return;
      if ("close" in el.dataset) return box.close();
      if ("reset" in el.dataset) { remember("diffinf-keys", "{}"); bind(); draw(); label(); said.textContent = "The default keys are back."; return; }
      waiting = el.dataset.name;
      said.textContent = `Press the new key for: ${ACTIONS[waiting][1]}.`;
    });
    box.addEventListener("keydown", (event) => {
      if (!waiting || /^(Tab|Shift|Control|Alt|Meta)$/.test(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      const key = of(event), name = waiting;
      waiting = null;
      if (key === "Escape") { said.textContent = "Nothing changed."; return; }
      const other = Object.keys(keys).find((n) => n !== name && keys[n] === key);
      if (other || /^[1-9]$|^Enter$/.test(key)) {
        said.textContent = `${named(key)} is taken${other ? `: ${ACTIONS[other][1]}` : ""}; nothing changed.`;
        return;
      }
      remember("diffinf-keys", JSON.stringify({ ...saved(), [name]: key }));
      bind(); draw(); label();
      said.textContent = `${named(key)}: ${ACTIONS[name][1]}.`;
    });
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    draw();
    box.showModal();
  };
  bind();
  /* Buttons come and go with the pages. */
  setInterval(label, 700);
  document.addEventListener("click", (event) => {
    if (event.target.closest("#show-keys")) sheet();
    const chosen = event.target.closest("#versions [data-version]");
    if (chosen) window.DiffInf.settled(() => tell("version", chosen.dataset.version), true);
    const other = event.target.closest("#versions [data-beside]");
    if (other) window.DiffInf.settled(() => tell("beside", other.dataset.beside), true);
    const past = event.target.closest("[data-goto]");
    if (past) window.DiffInf.settled(() => tell("goto", past.dataset.goto), false);
    const named = event.target.closest("[data-press]")?.dataset.press;
    if (named === "reedit-cancel") document.getElementById(named)?.click();
    else if (named) press(named);
  });
  /* The mouse waits as keys do. */
  const deciding = () => new Set([...DECIDES].map((name) => ACTIONS[name][3]));
  window.addEventListener("click", (event) => {
    if (event.target.closest?.("#reedit-cancel, [data-press='reedit-cancel']")) halted = performance.now();
    const el = event.isTrusted && event.target.closest?.("[id^=do-], [id^=go-]");
    if (!el || !button(el.id)) return;
    const ignored = window.DiffInf.stale() && deciding().has(el.id);
    if (window.DiffInf.free() && !ignored) {
      /* it goes its way, and what comes next waits for it */
      if (EDITS.has(el.id)) asked = performance.now();
      return window.DiffInf.settled(() => {});
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!ignored) press(el.id);
  }, true);
})();
