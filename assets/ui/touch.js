/* Touch on the pictures of a pair: hold to blink, swipe right to accept and left to reject. */
(() => {
  const HOLD = 220, FAR = 70; // ms until a touch is a hold; pixels until it is a swipe
  let touch = null;
  const end = () => {
    if (!touch) return;
    clearTimeout(touch.timer);
    if (touch.held) window.DiffInf.view.blinkOff();
    touch = null;
  };
  const zoomed = () => document.getElementById("review-pair")?.classList.contains("di-zoomed");
  document.addEventListener("touchstart", (event) => {
    end();
    const stack = event.target.closest?.("#review-pair .di-stack");
    if (!stack || event.touches.length > 1 || zoomed() || window.DiffInf.stale()) return;
    const at = event.touches[0];
    touch = { x: at.clientX, y: at.clientY, held: false, timer: 0 };
    touch.timer = setTimeout(() => { touch.held = true; window.DiffInf.view.blink(); }, HOLD);
  }, { passive: true });
  document.addEventListener("touchmove", (event) => {
    if (!touch || touch.held) return;
    const at = event.touches[0];
    if (Math.hypot(at.clientX - touch.x, at.clientY - touch.y) > 12) clearTimeout(touch.timer);
  }, { passive: true });
  document.addEventListener("touchcancel", end);
  document.addEventListener("touchend", (event) => {
    if (!touch) return;
    const at = event.changedTouches[0], across = at.clientX - touch.x, down = at.clientY - touch.y;
    const swiped = !touch.held && Math.abs(across) > FAR && Math.abs(across) > 2 * Math.abs(down);
    end();
    if (!swiped) return;
    const id = across > 0 ? "do-accept" : "do-reject";
    window.DiffInf.settled(() => window.DiffInf.button(id)?.click(), true);
  });
  /* A long touch opens no menu of the browser over the pictures. */
  document.addEventListener("contextmenu", (event) => {
    if (touch && event.target.closest?.("#review-pair .di-stack")) event.preventDefault();
  });
})();
