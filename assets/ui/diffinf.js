/* Keys of the Review page. A key clicks the button with its id, so mouse and keyboard do the same. */
(() => {
  const keys = {
    a: "do-accept", r: "do-reject", k: "do-keep", d: "do-drop", s: "do-second", l: "do-relabel",
    u: "do-undo", y: "do-redo", e: "do-reedit", ArrowLeft: "go-back", ArrowRight: "go-next",
  };
  const typing = (el) => el && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName)
    && el.type !== "radio" && el.type !== "checkbox");
  const button = (id) => {
    const el = document.getElementById(id);
    const found = el && (el.tagName === "BUTTON" ? el : el.querySelector("button"));
    return found && found.offsetParent !== null ? found : null;
  };
  const blink = (on) => {
    const pair = document.getElementById("review-pair");
    if (pair) pair.classList.toggle("di-blink", on);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "b") return blink(true);
    if (event.repeat || !(key in keys)) return;
    if (key.startsWith("Arrow") && /radio|range/.test(event.target.type || "")) return;
    const target = button(keys[key]);
    if (target) { event.preventDefault(); target.click(); }
  });
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") blink(false); });
  window.addEventListener("blur", () => blink(false));
})();
