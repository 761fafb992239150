/* The pictures of a pair: blink, slider, map of the change, zoom in step, the next pairs fetched ahead. */
(() => {
  const root = () => document.getElementById("review-pair");
  const state = { zoom: 1, x: 50, y: 50 };
  const draw = () => {
    const el = root();
    if (!el) return;
    el.style.setProperty("--zoom", state.zoom);
    el.style.setProperty("--x", `${state.x}%`);
    el.style.setProperty("--y", `${state.y}%`);
    el.classList.toggle("di-zoomed", state.zoom > 1);
  };
  const zoom = (factor) => {
    state.zoom = Math.min(8, Math.max(1, state.zoom * factor));
    if (state.zoom === 1) state.x = state.y = 50;
    draw();
    return true;
  };
  const mode = (name) => {
    const el = root();
    if (!el) return false;
    for (const other of ["di-slide", "di-heat-large"]) el.classList.toggle(other, other === name && !el.classList.contains(name));
    captioned();
    return true;
  };
  /* The caption says what its place shows now. */
  const captioned = () => {
    const caption = document.querySelector("#review-pair .di-edit figcaption");
    if (!caption || !document.querySelector("#review-pair .di-over")) return;
    caption.dataset.usual ??= caption.textContent;
    const el = root().classList;
    const text = el.contains("di-blink") ? "original" : el.contains("di-slide") ? "original left of the line, edit right of it" : caption.dataset.usual;
    if (caption.textContent !== text) caption.textContent = text;
  };
  const blink = (on) => { const el = root(); if (el) el.classList.toggle("di-blink", on); captioned(); return Boolean(el); };
  window.DiffInf.view = {
    blink: () => blink(true),
    blinkOff: () => blink(false),
    slide: () => mode("di-slide"),
    heat: () => mode("di-heat-large"),
    zoomIn: () => zoom(1.5),
    zoomOut: () => zoom(1 / 1.5),
    whole: () => zoom(0),
  };
  document.addEventListener("input", (event) => {
    const cut = event.target.closest(".di-cut");
    if (cut) root().style.setProperty("--cut", `${cut.value}%`);
  });
  document.addEventListener("wheel", (event) => {
    const stack = event.target.closest && event.target.closest("#review-pair .di-stack");
    /* A plain wheel scrolls the page; with Ctrl, or once zoomed, it zooms where the pointer is. */
    if (!stack || !(event.ctrlKey || state.zoom > 1)) return;
    event.preventDefault();
    if (state.zoom === 1) {
      const box = stack.getBoundingClientRect();
      state.x = 100 * (event.clientX - box.left) / box.width;
      state.y = 100 * (event.clientY - box.top) / box.height;
    }
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2);
  }, { passive: false });
  document.addEventListener("click", (event) => {
    const copy = event.target.closest && event.target.closest("[data-copy]");
    if (!copy || !navigator.clipboard) return;
    navigator.clipboard.writeText(copy.dataset.copy).then(() => {
      copy.textContent = "copied";
      setTimeout(() => { copy.textContent = "copy"; }, 1200);
    });
  });
  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const stack = event.target.closest && event.target.closest("#review-pair .di-stack");
    if (stack && state.zoom > 1) drag = { x: event.clientX, y: event.clientY, size: stack.clientWidth };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const share = 100 / (drag.size * (state.zoom - 1));
    state.x = Math.min(100, Math.max(0, state.x - (event.clientX - drag.x) * share));
    state.y = Math.min(100, Math.max(0, state.y - (event.clientY - drag.y) * share));
    drag = { ...drag, x: event.clientX, y: event.clientY };
    draw();
  });
  document.addEventListener("pointerup", () => { drag = null; });

  /* Gradio changes the source of a picture in place, and the one before stays until the new one is there:
     that would show somebody else under this name. */
  const blank = (image) => {
    if (image.complete) return image.classList.remove("di-loading");
    image.classList.add("di-loading");
    const done = () => { if (image.complete) image.classList.remove("di-loading"); };
    image.addEventListener("load", done, { once: true });
    image.addEventListener("error", done, { once: true });
  };
  /* A preview may arrive after its pair was left: what is above the pictures says whose they have to be. */
  let late = null;
  const compare = () => {
    const pair = document.querySelector("#review-pair .di-pair");
    const head = document.querySelector("#review-head .di-head");
    const stale = Boolean(pair && head && pair.dataset.sample !== head.dataset.sample);
    root().classList.toggle("di-stale", stale);
    clearTimeout(late);
    if (stale) late = setTimeout(() => window.DiffInf.tell("redraw", ""), 1000);
  };
  window.DiffInf.stale = () => Boolean(document.querySelector("#review-pair.di-stale"));

  /* What changed, for those who do not see it: the region itself must not be replaced. */
  const live = document.createElement("p");
  live.className = "di-unseen";
  live.setAttribute("aria-live", "polite");
  const announce = () => {
    const head = document.querySelector("#review-head .di-head");
    const text = head ? [...head.children].map((el) => el.textContent.trim()).join(", ") : "";
    if (!live.isConnected) document.body.append(live);
    if (live.textContent !== text) live.textContent = text;
  };

  /* A new pair: fetch the next ones, and let the address name this one. */
  let sample = "";
  const arrived = () => {
    const pair = document.querySelector("#review-pair .di-pair");
    if (pair) pair.querySelectorAll("img").forEach(blank);
    const cut = pair?.querySelector(".di-cut"), at = parseFloat(root().style.getPropertyValue("--cut"));
    if (cut && Number.isFinite(at)) cut.value = at; // the knob of a new pair stands where the cut is
    compare();
    captioned();
    announce();
    document.getElementById("do-accept")?.setAttribute("aria-disabled", String(!pair?.querySelector(".di-edit")));
    if (!pair || pair.dataset.sample === sample) return;
    sample = pair.dataset.sample;
    const address = new URL(window.location);
    address.searchParams.set("sample", sample);
    history.replaceState(history.state, "", address);
    for (const source of (pair.dataset.ahead || "").split(" ")) {
      if (source) new Image().src = source;
    }
  };
  const watch = () => {
    const el = root(), head = document.getElementById("review-head");
    if (!el || !head) return setTimeout(watch, 200);
    const seen = { childList: true, subtree: true, characterData: true, attributes: true,
      attributeFilter: ["src", "data-sample", "data-ahead"] };
    new MutationObserver(() => { arrived(); draw(); }).observe(el, seen);
    new MutationObserver(() => { compare(); announce(); }).observe(head, seen);
    arrived();
  };
  watch();
})();
