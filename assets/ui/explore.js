/* The selection of the Explore page: one set of sample ids for the map and every list. */
window.diExplore = (() => {
  const chosen = new Set();
  const listeners = [];
  let last = null; // the checkbox that was used last, for a range with Shift

  const boxes = (root) => [...root.querySelectorAll("input[data-di-pick]")];

  const sync = () => {
    for (const box of document.querySelectorAll("input[data-di-pick]")) {
      box.checked = chosen.has(box.dataset.diPick);
    }
    for (const all of document.querySelectorAll("input[data-di-pick-page]")) {
      const own = boxes(all.closest("table"));
      const on = own.filter((box) => box.checked).length;
      all.checked = on > 0 && on === own.length;
      all.indeterminate = on > 0 && on < own.length;
    }
    for (const el of document.querySelectorAll("[data-di-count]")) {
      el.textContent = chosen.size.toLocaleString("en");
    }
    document.body.classList.toggle("di-some-picked", chosen.size > 0);
  };

  const changed = () => {
    sync();
    for (const listener of listeners) listener();
  };

  const put = (ids, on) => {
    for (const id of ids) on ? chosen.add(id) : chosen.delete(id);
    changed();
  };

  const ticked = (box, range) => {
    const all = boxes(box.closest("table") || box.closest("ol") || document);
    const [a, b] = [all.indexOf(last), all.indexOf(box)];
    const some = range && a >= 0 ? all.slice(Math.min(a, b), Math.max(a, b) + 1) : [box];
    last = box;
    put(some.map((one) => one.dataset.diPick), box.checked);
  };

  const step = (event, box) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    const all = boxes(box.closest("table") || document);
    const next = all[all.indexOf(box) + by];
    if (next) { event.preventDefault(); next.focus(); }
  };

  /* A list of samples: `trigger` tells the server of a heading, `watch` tells us of new rows. */
  const table = (element, trigger, watch) => {
    element.addEventListener("click", (event) => {
      const heading = event.target.closest("[data-di-sort]");
      if (heading) return trigger("select", { sort: heading.dataset.diSort });
      const both = event.target.closest("[data-di-both]");
      if (both) return put(both.dataset.diBoth.split(" "), true);
      const page = event.target.closest("[data-di-pick-page]");
      if (page) return put(boxes(page.closest("table")).map((b) => b.dataset.diPick), page.checked);
      const box = event.target.closest("[data-di-pick]");
      if (box) ticked(box, event.shiftKey);
    });
    element.addEventListener("keydown", (event) => {
      if (event.target.matches("[data-di-pick]")) step(event, event.target);
    });
    watch("value", () => { last = null; sync(); });
    sync();
  };

  /* Ids of 6 bytes each, packed in base64. */
  const HEX = Array.from({ length: 256 }, (_, b) => b.toString(16).padStart(2, "0"));
  const unpack = (packed) => {
    const raw = window.diDraw.bytes(packed), ids = new Array(raw.length / 6);
    for (let i = 0, k = 0; k < ids.length; k++) {
      ids[k] = HEX[raw[i++]] + HEX[raw[i++]] + HEX[raw[i++]] + HEX[raw[i++]] + HEX[raw[i++]] + HEX[raw[i++]];
    }
    return ids;
  };

  /* Show the list as a table or as a grid. */
  const mode = (name) => {
    document.getElementById("explore-lists")?.classList.toggle("di-as-grid", name === "grid");
  };
  const again = () => document.getElementById("explore-again").click();
  /* Gradio says twice that something was chosen from a list: one answer is enough. */
  let due = 0;
  const filtered = () => {
    clearTimeout(due);
    due = setTimeout(again, 0);
  };
  /* What was drawn around on the map becomes the list, where that is a grid. */
  const only = () => {
    const box = document.querySelector("#table-only input");
    if (!box.checked) box.click();
    else again();
  };
  const drawn = () => {
    if (chosen.size && document.querySelector("#explore-lists.di-as-grid")) only();
  };

  return {
    table,
    unpack,
    mode,
    filtered,
    drawn,
    /* The selection as a grid, whatever is shown now. */
    asGrid: () => {
      if (!chosen.size) return;
      const choice = document.querySelector("#explore-mode input[value=grid]");
      if (!choice.checked) choice.click();
      only();
      document.getElementById("explore-lists").scrollIntoView({ behavior: "smooth", block: "start" });
    },
    /* What a decision or a tag is for: the selection, or the cell under the cursor. */
    acting: () => (chosen.size ? [...chosen].join(" ") : window.diExplore.focused()),
    focused: () => "",
    /* The pair on the Review page. */
    pair: () => document.querySelector("#review-pair .di-pair")?.dataset.sample || "",
    listen: (listener) => listeners.push(listener),
    has: (id) => chosen.has(id),
    size: () => chosen.size,
    picked: () => [...chosen].join(" "),
    /* The selection where a list is to show only that: up to a megabyte that is sent for nothing else. */
    wanted: () => (document.querySelector("#table-only input")?.checked ? [...chosen].join(" ") : ""),
    add: (ids) => put((ids || "").split(" ").filter(Boolean), true),
    put,
    replace: (ids) => { chosen.clear(); put(ids, true); },
    clear: () => { chosen.clear(); changed(); },
    toReview: (sent) => {
      if (sent !== "sent") return;
      const tabs = [...document.querySelectorAll("#pages [role=tab]")];
      tabs.find((tab) => tab.textContent.trim().startsWith("Review"))?.click();
    },
  };
})();

/* What the two pictures share: the drawing library, and arrays. */
window.diDraw = (() => {
  const kinds = { f4: Float32Array, u4: Uint32Array, u2: Uint16Array, u1: Uint8Array };
  let loading = null;
  const root = () => (window.gradio_config?.root || "").replace(/\/$/, "");
  return {
    root,
    dark: () => Boolean(document.querySelector("body.dark, .dark body, html.dark")),
    library: () => (loading ||= new Promise((ready, failed) => {
      const script = document.createElement("script");
      script.src = document.getElementById("di-library").href;
      script.onload = () => ready(window.Plotly);
      script.onerror = () => { loading = null; failed(new Error("the drawing library did not load")); };
      document.head.appendChild(script);
    })),
    bytes: (text) => {
      const raw = atob(text), out = new Uint8Array(raw.length);
      for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
      return out;
    },
    array: (packed) => new kinds[packed.type](window.diDraw.bytes(packed.data).buffer),
    layout: (more) => ({
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: window.diDraw.dark() ? "#a9b4c4" : "#556070", size: 12 },
      showlegend: false,
      ...more,
    }),
    grid: { gridcolor: "rgba(138,148,166,0.25)", zeroline: false },
    element: (tag, name, text) => {
      const made = document.createElement(tag);
      if (name) made.className = name;
      if (text !== undefined) made.textContent = text;
      return made;
    },
  };
})();

/* Read before it is needed, when the page has nothing else to do: it is large. */
setTimeout(() => {
  const idle = window.requestIdleCallback || ((then) => then());
  idle(() => window.diDraw.library().catch(() => {}));
}, 4000);
