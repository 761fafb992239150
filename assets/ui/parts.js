/* The panels beside the pictures: one is open, the others are in the page, so that keys reach their buttons. */
(() => {
  const tabs = () => [...document.querySelectorAll(".di-parts [role=tab]")];
  const open = (name) => {
    document.body.dataset.part = name;
    for (const tab of tabs()) {
      const on = tab.dataset.part === name;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
    }
  };
  window.DiffInf.part = open;
  /* Blind mode is a wish of this browser; a cookie tells the server at every request. */
  window.DiffInf.blind = () => {
    const on = document.querySelector("#blind-mode input")?.checked;
    document.cookie = `diffinf-blind=${on ? "on" : "off"}; path=/; max-age=31536000; SameSite=Strict`;
  };
  document.addEventListener("click", (event) => {
    const tab = event.target.closest?.(".di-parts [role=tab]");
    if (tab) open(tab.dataset.part);
  });
  document.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || !event.target.matches?.(".di-parts [role=tab]")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const all = tabs(), next = all[(all.indexOf(event.target) + by + all.length) % all.length];
    open(next.dataset.part);
    next.focus();
  }, true);
  const named = () => {
    const panels = document.querySelectorAll(".di-part");
    if (!panels.length) return setTimeout(named, 200);
    for (const panel of panels) {
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", panel.id.replace("-panel", "-tab"));
    }
  };
  named();
})();
