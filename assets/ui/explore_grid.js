/* The grid of thumbnails: only what is in view is in the page, and cells come from the server by the hundred. */
window.diGrid = (() => {
  const D = window.diDraw, E = window.diExplore;
  const WINDOW = 100, KEPT = 12; // cells of one request, and how many requests are remembered
  const GAP = 8, CAPTION = 40, SMALL = 96; // pixels; smaller cells have no caption
  const TALLEST = 8e6; // pixels that every browser can scroll; a longer list scrolls by more at a time
  const SIDES = [64, 96, 128, 256]; // the thumbnails that the server makes
  const KEYS = { accept: "a", reject: "r", keep: "k", drop: "d", second: "s", relabel: "l", undo: "u" };

  let frame, box, pane, words, server, ask;
  let list = { token: "", total: 0 }, side = 128, columns = 1, focus = 0, anchor = 0;
  let windows = new Map(), cells = new Map(), waiting = null;

  const caption = () => (side < SMALL ? 0 : CAPTION);
  const height = () => side + caption() + GAP;
  const rows = () => Math.ceil(list.total / columns);
  const ratio = () => Math.max(1, (rows() * height()) / TALLEST);
  const known = (i) => {
    const found = windows.get(i - (i % WINDOW));
    return Array.isArray(found) ? found[i % WINDOW] : undefined;
  };

  /* The cell itself knows its sample while it waits for news of it. */
  const idAt = (i) => known(i)?.id || cells.get(i)?.dataset.id;

  /* ------------------------------------------------------------ cells from the server */

  const fetchWindow = async (start) => {
    const token = list.token, asked = windows;
    asked.set(start, null);
    const found = await server.cells([token, start, WINDOW]).catch(() => null);
    if (asked !== windows) return; // another list, or anew
    if (!found || found.error) {
      asked.delete(start);
      if (found?.gone) ask("select", { verb: "again" });
      else words.textContent = found?.error || "The server does not answer; scroll to try again.";
      return;
    }
    asked.set(start, found.cells);
    while (asked.size > KEPT) asked.delete(asked.keys().next().value);
    paint();
  };

  /* What is passed over while scrolling is not asked for. */
  const want = (first, last) => {
    clearTimeout(waiting);
    const missing = [];
    for (let w = first - (first % WINDOW); w < last; w += WINDOW) {
      if (!windows.has(w)) missing.push(w);
      else { const kept = windows.get(w); windows.delete(w); windows.set(w, kept); } // used last
    }
    if (missing.length) waiting = setTimeout(() => missing.forEach(fetchWindow), windows.size ? 60 : 0);
  };

  /* ------------------------------------------------------------ drawing */

  const source = (cell) => {
    const wanted = side * (window.devicePixelRatio || 1);
    const from = SIDES.find((s) => s >= wanted) || SIDES[SIDES.length - 1];
    return `${D.root()}/di/thumb/${cell.id}.webp?side=${from}&of=${list.of}`;
  };

  const fill = (el, i) => {
    const cell = known(i);
    if (!cell) return;
    const state = cell.state === "undecided" ? "" : cell.state.replace("_", " ");
    const said = [cell.file, `labelled ${cell.label}`, `rank ${cell.rank}`, cell.high ? "high-influence" : "",
      state, ...cell.tags.map((tag) => `tag ${tag}`)].filter(Boolean).join(", ");
    const url = source(cell);
    if (el.dataset.said === said && el.dataset.from === url) return;
    Object.assign(el.dataset, { said, from: url, id: cell.id });
    el.setAttribute("aria-label", said);
    el.title = said;
    const image = D.element("img");
    Object.assign(image, { alt: "", width: side, height: side, decoding: "async", src: url });
    const line = D.element("span", "di-cell-words");
    line.append(D.element("b", "", cell.label), D.element("span", "", `${state || (cell.high ? "high" : "")}`));
    const tags = D.element("span", "di-cell-tags", cell.tags.join(", "));
    el.replaceChildren(image, D.element("span", "di-tick"), line, tags);
    el.classList.toggle("di-decided", Boolean(state));
  };

  const made = (i) => {
    const el = D.element("div", "di-cell");
    el.id = `di-cell-${i}`;
    el.dataset.at = i;
    el.setAttribute("role", "option");
    el.setAttribute("aria-posinset", i + 1);
    el.setAttribute("aria-label", "loading");
    pane.append(el);
    return el;
  };

  const mark = () => {
    for (const [i, el] of cells) {
      el.setAttribute("aria-selected", String(E.has(el.dataset.id)));
      el.classList.toggle("di-focus", i === focus);
    }
    if (cells.has(focus)) box.setAttribute("aria-activedescendant", `di-cell-${focus}`);
    else box.removeAttribute("aria-activedescendant");
  };

  const paint = () => {
    if (!box.clientWidth) return;
    columns = Math.max(1, Math.floor((box.clientWidth - GAP) / (side + GAP)));
    pane.style.height = `${Math.min(rows() * height(), TALLEST) + GAP}px`;
    const top = box.scrollTop * ratio(), shift = top - box.scrollTop;
    const first = Math.max(0, Math.floor(top / height()) - 1) * columns;
    const last = Math.min(list.total, (Math.ceil((top + box.clientHeight) / height()) + 1) * columns);
    for (const [i, el] of cells) if (i < first || i >= last) { el.remove(); cells.delete(i); }
    for (let i = first; i < last; i++) {
      if (!cells.has(i)) cells.set(i, made(i));
      const el = cells.get(i), x = GAP + (i % columns) * (side + GAP);
      el.style.transform = `translate(${x}px, ${Math.floor(i / columns) * height() - shift + GAP}px)`;
      el.style.width = `${side}px`;
      el.style.height = `${side + caption()}px`;
      el.setAttribute("aria-setsize", list.total);
      fill(el, i);
    }
    mark();
    want(first, last);
  };

  const reveal = (i) => {
    const y = Math.floor(i / columns) * height(), top = box.scrollTop * ratio();
    if (y < top) box.scrollTop = y / ratio();
    else if (y + height() > top + box.clientHeight) box.scrollTop = (y + height() - box.clientHeight) / ratio();
  };

  /* ------------------------------------------------------------ selecting */

  const ids = async (start, end) => {
    const here = Array.from({ length: end - start }, (_, k) => idAt(start + k));
    if (here.every(Boolean)) return here;
    const found = await server.ids([list.token, start, end]);
    return found.ids ? E.unpack(found.ids) : [];
  };
  const range = async (to) => E.put(await ids(Math.min(anchor, to), Math.max(anchor, to) + 1), true);
  const toggle = (i) => {
    const id = idAt(i);
    if (id) E.put([id], !E.has(id));
  };
  const go = (i, extend) => {
    focus = Math.max(0, Math.min(list.total - 1, i));
    if (extend) range(focus); else anchor = focus;
    reveal(focus);
    paint();
  };

  const clicked = (event) => {
    const el = event.target.closest(".di-cell");
    if (!el) return;
    focus = Number(el.dataset.at);
    if (event.shiftKey) range(focus); else { anchor = focus; toggle(focus); }
    mark();
  };

  const bound = () => {
    let own = {};
    try { own = JSON.parse(window.DiffInf.recall("diffinf-keys") || "{}"); } catch { /* the usual ones */ }
    return Object.entries(KEYS).map(([name, usual]) => [own[name] || usual, `explore-${name}`]);
  };

  const key = async (event) => {
    if (event.altKey || (event.target !== box)) return;
    const page = Math.max(1, Math.floor(box.clientHeight / height())) * columns;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page,
      PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (pressed !== "a") return;
      event.preventDefault();
      E.put(await ids(0, list.total), true);
    } else if (step !== undefined) {
      event.preventDefault();
      go(focus + step, event.shiftKey);
    } else if (pressed === " ") {
      event.preventDefault();
      toggle(focus);
    } else if (pressed === "Escape") E.clear();
    else if (pressed === "m") document.getElementById("explore-like")?.click();
    else if (pressed === "t") {
      event.preventDefault();
      window.DiffInf.field("explore-tag")?.focus();
    } else if (!event.repeat) {
      const found = bound().find(([own]) => own === pressed);
      if (found) { event.preventDefault(); document.getElementById(found[1])?.click(); }
    }
  };

  /* ------------------------------------------------------------ the frame */

  const load = (value) => {
    if (!value) return;
    const found = JSON.parse(value), other = found.token !== list.token;
    list = found;
    windows = new Map();
    if (other) {
      for (const el of cells.values()) el.remove();
      cells = new Map();
    }
    if (other && !found.stay) { focus = anchor = 0; box.scrollTop = 0; }
    focus = Math.max(0, Math.min(focus, list.total - 1));
    words.textContent = list.total ? `${list.total.toLocaleString("en")} pictures` : "No sample fits these filters.";
    paint();
  };

  const mount = (element, props, functions, watch, trigger) => {
    server = functions;
    ask = trigger;
    frame = element.querySelector(".di-grid");
    const bar = D.element("div", "di-bar"), label = D.element("label", "", "Size "), slider = D.element("input");
    Object.assign(slider, { type: "range", min: 48, max: 256, step: 8, value: side, id: "grid-size" });
    slider.addEventListener("input", () => {
      const seen = Math.floor((box.scrollTop * ratio()) / height()) * columns;
      side = Number(slider.value);
      paint();
      box.scrollTop = (Math.floor(seen / columns) * height()) / ratio();
      paint();
    });
    label.append(slider);
    words = D.element("p", "di-quiet");
    words.setAttribute("role", "status");
    words.id = "grid-words";
    bar.append(label, words);
    box = D.element("div", "di-cells");
    Object.assign(box, { tabIndex: 0, id: "grid-cells" });
    box.setAttribute("role", "listbox");
    box.setAttribute("aria-multiselectable", "true");
    box.setAttribute("aria-label", "pictures; arrows move, Space selects, Shift extends");
    pane = D.element("div", "di-pane");
    pane.setAttribute("role", "presentation");
    box.append(pane);
    frame.append(bar, box);
    box.addEventListener("scroll", paint, { passive: true });
    box.addEventListener("click", clicked);
    box.addEventListener("mousedown", (event) => { if (event.shiftKey) event.preventDefault(); });
    box.addEventListener("keydown", key);
    new ResizeObserver(paint).observe(box);
    E.listen(mark);
    E.focused = () => (frame.offsetParent ? idAt(focus) || "" : "");
    watch("value", () => load(props.value));
    load(props.value);
  };

  return { mount, held: () => [cells.size, windows.size] };
})();
