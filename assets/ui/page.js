/* What the other scripts share: clicking what Gradio drew, and telling the server something. */
window.DiffInf = (() => {
  const shown = (el) => el && el.offsetParent !== null;
  /* Gradio puts the id on the button itself or on a box around it. */
  const button = (id) => {
    const el = document.getElementById(id);
    const found = el && (el.tagName === "BUTTON" ? el : el.querySelector("button"));
    return shown(found) ? found : null;
  };
  const field = (id) => document.querySelector(`#${id} textarea, #${id} input`);
  let told = 0;
  /* What a click or key inside the pictures means goes to a hidden component; n makes each text new. */
  const tell = (verb, value) => {
    if (window.DiffInf.say) window.DiffInf.say(JSON.stringify({ verb, value, n: ++told }));
  };
  const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private window */ } };
  const recall = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const open = (name) => {
    const tab = [...document.querySelectorAll('#pages button[role="tab"]')]
      .find((el) => el.textContent.trim() === name);
    if (tab) tab.click();
  };
  return { shown, button, field, tell, remember, recall, open };
})();
