/* The distribution of scores: drag the line, or use the slider, to see what another tau would call high. */
window.diTau = (() => {
  const D = window.diDraw, BINS = 80, MOST = 50;
  let root, server, library, plot, slider, number, words;
  let values = null, sorted = null, now = 10, run = null, edges = null, bars = null, logarithmic = false;

  const scale = (v) => (logarithmic ? Math.log10(v) : v);
  /* As the run counts: k = round(tau N / 100), at least one. */
  const count = (tau) => Math.max(1, Math.min(sorted.length, Math.floor((tau * sorted.length) / 100 + 0.5)));
  const threshold = (tau) => sorted[count(tau) - 1];

  const histogram = () => {
    logarithmic = sorted[sorted.length - 1] > 0;
    const low = scale(sorted[sorted.length - 1]), width = (scale(sorted[0]) - low) / BINS || 1;
    bars = new Array(BINS).fill(0);
    edges = bars.map((_, i) => low + (i + 0.5) * width);
    for (const v of values) bars[Math.max(0, Math.min(BINS - 1, Math.floor((scale(v) - low) / width)))] += 1;
    return width;
  };

  const line = (x, dash, colour) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1,
    line: { color: colour, width: dash === "solid" ? 3 : 1.5, dash } });

  const paint = () => {
    const cut = scale(threshold(now)), k = count(now), n = sorted.length;
    library.update(plot, { "marker.color": [edges.map((x) => (x >= cut ? "#c2571a" : "#8a94a6"))] }, {
      shapes: [line(scale(threshold(run.tau)), "dash", "#8a94a6"), line(cut, "solid", "#c2571a")] });
    const same = Math.abs(now - run.tau) < 1e-9;
    words.textContent = `tau = ${+now.toFixed(2)} %: ${k.toLocaleString("en")} of ${n.toLocaleString("en")} samples would be `
      + `high-influence, those with a score of ${threshold(now).toPrecision(4)} or more. `
      + (same ? "That is what the run does." : `The run has ${run.tau} %, ${count(run.tau).toLocaleString("en")} samples.`);
    for (const control of [slider, number]) if (document.activeElement !== control) control.value = +now.toFixed(2);
  };

  const set = (tau) => {
    if (!Number.isFinite(tau)) return;
    now = Math.min(100, Math.max(100 / sorted.length, tau));
    paint();
  };

  const drag = (event) => {
    const axis = plot._fullLayout.xaxis;
    const x = axis.p2d(event.clientX - plot.getBoundingClientRect().left - axis._offset);
    // The first sample below the line; scores fall.
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (scale(sorted[middle]) >= x) low = middle + 1; else high = middle;
    }
    set(Math.min(MOST, Math.max(0.1, Math.round((1000 * low) / sorted.length) / 10)));
  };

  const draw = async () => {
    const width = histogram();
    const title = (logarithmic ? "log10 " : "") + run.estimator.replaceAll("_", " ");
    await library.react(plot, [{ type: "bar", x: edges, y: bars, width, hoverinfo: "none", marker: { line: { width: 0 } } }],
      D.layout({ bargap: 0, margin: { l: 52, r: 8, t: 8, b: 54 }, xaxis: { ...D.grid, title: { text: title, standoff: 8 } },
        yaxis: { ...D.grid, title: { text: "training pictures" } } }), { staticPlot: true, responsive: true });
    paint();
  };

  const load = async (value) => {
    if (!value) return;
    try {
      library = await D.library();
      const found = await server.values(null);
      if (found.error) throw new Error(found.error);
      run = found;
      now = found.tau;
      values = D.array(found.score);
      sorted = values.slice().sort().reverse();
      await draw();
      root.dataset.ready = value;
    } catch (error) {
      words.textContent = `The scores cannot be shown: ${error.message}.`;
    }
  };

  const control = (type, name) => {
    const made = D.element("input");
    Object.assign(made, { type, min: 0.1, max: type === "range" ? MOST : 100, step: 0.1, id: `tau-${type}` });
    made.setAttribute("aria-label", name);
    made.addEventListener("input", () => set(parseFloat(made.value)));
    return made;
  };

  const mount = (element, props, functions, watch) => {
    server = functions;
    root = element.querySelector(".di-tau");
    plot = D.element("div", "di-tau-plot");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", "distribution of scores with the line of tau; use the slider below");
    let held = false;
    plot.addEventListener("pointerdown", (event) => { held = true; plot.setPointerCapture(event.pointerId); drag(event); });
    plot.addEventListener("pointermove", (event) => { if (held) drag(event); });
    for (const end of ["pointerup", "pointercancel"]) plot.addEventListener(end, () => { held = false; });
    slider = control("range", "tau in per cent");
    number = control("number", "tau in per cent, as a number");
    words = D.element("p", "di-quiet", "Loading the scores…");
    words.id = "tau-words";
    words.setAttribute("role", "status");
    const bar = D.element("div", "di-bar"), label = D.element("label", "", "tau, per cent ");
    label.append(slider, number);
    bar.append(label);
    root.append(plot, bar, words);
    watch("value", () => load(props.value));
    load(props.value);
  };

  return { mount, asked: () => String(+now.toFixed(2)) };
})();
