/* The notation on demand: a button, or the key of keys.js; and the way from the top of the page to the decision. */
(() => {
  window.DiffInf.glossary = () => {
    const list = document.getElementById("di-glossary");
    if (!list) return false;
    const box = document.createElement("dialog");
    box.className = "di-dialog";
    box.setAttribute("aria-labelledby", "di-glossary-title");
    box.innerHTML = `<h2 id="di-glossary-title">Glossary</h2>${list.innerHTML}
      <div class="di-dialog-row"><button type="button" autofocus>Close</button></div>`;
    box.addEventListener("click", (event) => { if (event.target.closest("button")) box.close(); });
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    box.showModal();
    box.scrollTop = 0;
    return true;
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#show-glossary")) window.DiffInf.glossary();
    if (!event.target.closest?.("#skip")) return;
    event.preventDefault();
    const decide = () => window.DiffInf.button("do-accept");
    if (!decide()) window.DiffInf.open("Review");
    const focus = (left) => (decide() ? decide().focus() : left && setTimeout(focus, 100, left - 1));
    focus(30);
  });
})();
