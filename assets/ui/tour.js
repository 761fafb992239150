/* Five steps through the app on the first visit; the button "Tour" shows them again. And light or dark. */
(() => {
  const { remember, recall, shown } = window.DiffInf;
  const STEPS = [
    ["#review-head", "One pair at a time", "The queue holds the pictures that disturb training most. Here are the assigned label, what is suggested, and why."],
    ["#review-pair", "Original and edit", "The edit should show the assigned label and the same person. Hold B to blink, W for a slider, H for what changed, Z to zoom."],
    ["#do-accept", "One key decides", "A accepts the edit, R rejects it, K keeps picture and label, D drops, a digit relabels. U takes back as many as you like; each decision is on disk before you see it."],
    ["#review-scores", "Scores, before and after", "The judge never takes part in a repair: trust it over h. Point at a name, or click on it, for its meaning; the small plot shows where the edit stands in the queue."],
    ["#reedit-tab", "Not good enough?", "Edit again with other weights; each attempt stays as a version. When you are through, Export writes the data set and Compare retrains on it."],
  ];
  const show = (at) => {
    document.querySelectorAll(".di-spot").forEach((el) => el.classList.remove("di-spot"));
    remember("diffinf-tour", "seen");
    if (at >= STEPS.length) return;
    const [where, title, text] = STEPS[at];
    const target = document.querySelector(where);
    const box = document.createElement("dialog");
    box.className = "di-dialog di-tour";
    box.setAttribute("aria-labelledby", "di-tour-title");
    const last = at === STEPS.length - 1;
    box.innerHTML = `<h2 id="di-tour-title">${title}</h2><p>${text}</p><div class="di-dialog-row">
      <span>${at + 1} of ${STEPS.length}</span><button type="button" data-skip>${last ? "Close" : "Skip"}</button>
      ${last ? "" : '<button type="button" data-next autofocus>Next</button>'}</div>`;
    let next = STEPS.length;
    box.addEventListener("click", (event) => {
      if (event.target.closest("[data-next]")) next = at + 1;
      if (event.target.closest("button")) box.close();
    });
    box.addEventListener("close", () => { box.remove(); show(next); });
    document.body.append(box);
    if (target && shown(target)) {
      target.classList.add("di-spot");
      box.classList.add("di-lit");
      target.scrollIntoView({ block: "nearest" });
      const spot = target.getBoundingClientRect();
      box.showModal();
      const below = spot.bottom + 12 + box.offsetHeight < innerHeight;
      box.style.top = `${below ? spot.bottom + 12 : Math.max(12, spot.top - box.offsetHeight - 12)}px`;
      box.style.left = `${Math.min(Math.max(12, spot.left), innerWidth - box.offsetWidth - 12)}px`;
      box.style.margin = "0";
    } else {
      box.showModal();
    }
  };
  /* The button names what a click gives. */
  const named = () => {
    const button = document.getElementById("switch-theme");
    const next = document.body.classList.contains("dark") ? "Light" : "Dark";
    if (button && button.textContent !== next) button.textContent = next;
  };
  const dark = (on) => { document.body.classList.toggle("dark", on); named(); };
  document.addEventListener("click", (event) => {
    if (event.target.closest("#show-tour")) show(0);
    if (event.target.closest("#switch-theme")) {
      const now = !document.body.classList.contains("dark");
      dark(now);
      remember("diffinf-theme", now ? "dark" : "light");
    }
  });
  const begin = () => {
    named();
    if (!document.querySelector("#review-pair img")) return setTimeout(begin, 400);
    if (!recall("diffinf-tour") && shown(document.getElementById("review-head"))) show(0);
  };
  const theme = () => {
    if (!document.body) return setTimeout(theme, 50);
    const kept = recall("diffinf-theme");
    if (kept && !new URL(window.location).searchParams.has("__theme")) dark(kept === "dark");
    new MutationObserver(named).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  };
  theme();
  begin();
})();
