/* Gradio takes a tenth of a second and more to bring an answer into a page of some hundred widgets. A new pair
   is put on the screen as soon as its answer is here; Gradio then finds what it wanted to draw. What is pressed
   meanwhile waits, one after the other, and a decision is dropped where the pair it was meant for is gone. */
(() => {
  const NAMES = ["review-head", "review-pair", "versions", "review-scores", "review-message"];
  const SHOWING = NAMES.length; // comes after them in the answer
  const LATE = 1500; // ms after which Gradio has had its time
  const BEGUN = 200; // ms in which a click becomes a request, if it becomes one
  let expected = null, painted = 0;
  let asked = 0, open = 0; // requests that draw the pair: in all, and without an answer yet

  const paint = (data) => {
    const first = data.findIndex((value) => typeof value === "string" && value.startsWith('<div class="di-head"'));
    if (first < 0) return;
    const held = document.activeElement?.closest?.("#versions [data-version]")?.dataset.version;
    NAMES.forEach((name, i) => {
      const value = data[first + i], place = document.querySelector(`#${name} .prose`);
      if (place && typeof value === "string" && place.innerHTML !== value) place.innerHTML = value;
    });
    if (held) [...document.querySelectorAll("#versions [data-version]")].find((el) => el.dataset.version === held)?.focus();
    expected = data[first + SHOWING];
    painted = performance.now();
  };

  /* Gradio's own work would keep the pictures from the screen: it begins after them. */
  const seen = async () => {
    await Promise.all([...document.querySelectorAll("#review-pair img")].map((i) => i.decode().catch(() => {})));
    await new Promise(requestAnimationFrame);
  };

  /* Whether a request's answer draws the pair: also a filter's, or that of the page itself as it opens. */
  let drawing = null; // numbers of Gradio's functions
  const draws = (given) => {
    try {
      if (!drawing) {
        const { components, dependencies } = window.gradio_config;
        const head = components.find((one) => one.props?.elem_id === "review-head").id;
        drawing = new Set(dependencies.filter((one) => one.outputs.includes(head)).map((one) => one.id));
      }
      return drawing.has(JSON.parse(given[1].body).fn_index);
    } catch { return false; }
  };
  const address = (given) => String(given[0]?.url || given[0]);
  const about = (given) => address(given).includes("/gradio_api/run/predict") && draws(given);

  const say = (text) => {
    const place = document.querySelector("#review-message .prose");
    if (place) place.innerHTML = `<div class="di-notice di-error" role="alert">${text}</div>`;
  };
  /* Gradio shows nothing of a refusal that is not its own. Whoever is logged out gets the page for it. */
  const send = async (given) => {
    let answer = null;
    try { answer = await ask(...given); } finally {
      const ours = /\/gradio_api\/(run\/predict|queue\/join)/.test(address(given));
      if (ours && answer?.status === 401) location.reload();
      else if (ours && !answer?.ok && draws(given)) {
        /* without an answer Gradio gives the page up */
        const [why, then] = answer ? [`answered with error ${answer.status}`, "Try it again."]
          : ["cannot be reached", "Reload the page once it is back."];
        say(`The server ${why}; what you did last may not be saved. ${then}`);
      }
    }
    return answer;
  };

  /* Gradio gets answers in the order in which they came: one whose pictures take longer would else draw over a
     later one. */
  let handed = Promise.resolve();
  const inTurn = (work) => (handed = Promise.all([handed, work]).then(() => {}));

  const ask = window.fetch;
  const answered = async (given, drawsPair) => {
    const answer = await send(given);
    try {
      if (answer.ok && answer.url.includes("/gradio_api/run/predict") && document.getElementById("review-head")?.offsetParent) {
        const text = await answer.clone().text();
        const drawn = text.includes("di-head");
        if (drawn) paint(JSON.parse(text).data);
        if (drawn || drawsPair) await inTurn(drawn && Promise.race([seen(), new Promise((late) => setTimeout(late, 150))]));
      }
    } catch { /* Gradio draws it in its own time */ }
    return answer;
  };
  window.fetch = async (...given) => {
    if (!about(given)) return answered(given);
    asked += 1;
    open += 1;
    try { return await answered(given, true); } finally { open -= 1; }
  };

  const known = () => document.querySelector("#review-showing textarea, #review-showing input")?.value;
  const ready = () => open === 0 && (expected === null || known() === undefined || known() === expected
    || performance.now() > painted + LATE);
  const until = (test, end = Infinity) => new Promise((done) => {
    const look = () => (test() || performance.now() > end ? done() : requestAnimationFrame(look));
    look();
  });
  const sample = () => document.querySelector("#review-head .di-head")?.dataset.sample;

  let chain = Promise.resolve(), waiting = 0;
  window.DiffInf.free = () => waiting === 0 && ready();
  /* Do something about the pair once what was done before is answered and Gradio knows of the pair on the
     screen. With `bound`, only where that is still the pair that was on the screen when it was asked for. */
  window.DiffInf.settled = (act, bound) => {
    const meant = sample();
    const perform = () => {
      const before = asked;
      act();
      return until(() => asked > before, performance.now() + BEGUN);
    };
    const turn = async () => {
      await until(ready);
      if (!bound || sample() === meant) await perform();
    };
    const begun = window.DiffInf.free() ? perform() : chain.then(turn);
    waiting += 1;
    chain = begun.catch(() => {}).finally(() => { waiting -= 1; });
  };

  /* What an edit streams passes an answer that is held back, which then draws the line on an edit that is over: as
     long as the line stands still, the server is asked whether it is. */
  const STILL = 3000;
  let line = "", since = 0;
  setInterval(() => {
    const now = document.querySelector("#review-running .prose")?.textContent.trim() || "";
    if (now !== line) [line, since] = [now, performance.now()];
    if (!line || performance.now() < since + STILL || !window.DiffInf.free()) return;
    since = performance.now();
    window.DiffInf.tell("editing", "");
  }, 500);
})();
