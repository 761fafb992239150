/* The map of embeddings: 70,000 points in WebGL, coloured, hovered, and selected by box or lasso. */
window.diMap = (() => {
  const D = window.diDraw, E = window.diExplore;
  /* Okabe and Ito's colours first: they differ for every kind of colour vision. */
  const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800",
    "#7f6bb5", "#8c564b", "#17a2a2", "#e377c2", "#6b8e23", "#b03060", "#4682b4", "#c49c94",
    "#2f4f4f", "#ff9896", "#9acd32", "#5d5da8", "#8a94a6"];
  const QUIET = "#8a94a6", HIGH = "#d55e00";
  const SUSPICION = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779",
    "#6ece58", "#b5de2b", "#fde725"];
  const FEW = 5000; // points that are drawn where there is no WebGL

  let root, server, library, plot, legend, card, colour, notice;
  let known = "", points = null, states = null, by = "label", only = null, shown = -1;
  /* A trace per colour: one colour for 70,000 points is much cheaper than a list of them. */
  let tool = "lasso";
  let parts = []; // of each trace: code, colour, and positions of its points

  let gl = null; // whether there is WebGL, once somebody asked
  const webgl = () => (gl ??= Boolean(document.createElement("canvas").getContext("webgl")));

  const columns = () => [
    ...points.columns.filter((c) => c.name === "label"),
    ...points.columns.filter((c) => c.name === "high-influence"),
    { name: "score", ramp: true },
    states,
    ...points.columns.filter((c) => c.name === "flag"),
    ...points.columns.filter((c) => !["label", "high-influence", "flag"].includes(c.name)),
  ];
  const column = () => columns().find((c) => c.name === by) || columns()[0];

  const shade = (found, code) => {
    const value = found.values[code];
    if (found.name === "high-influence") return value === "others" ? QUIET : HIGH;
    if (found.name === "flag" && value.startsWith("no ")) return value === "no edit" ? QUIET : COLOURS[2];
    if (found.name === "decision") return value === "undecided" ? QUIET : COLOURS[code - 1];
    return COLOURS[code % COLOURS.length];
  };

  const strongest = () => { // positions by rank, where only some can be drawn
    const order = [...points.rank.keys()].sort((a, b) => points.rank[a] - points.rank[b]);
    return order.slice(0, FEW);
  };

  const divide = () => {
    const found = column(), n = points.n;
    const colours = found.ramp ? SUSPICION : found.values.map((_, i) => shade(found, i));
    const code = found.ramp
      ? (i) => Math.min(colours.length - 1, Math.floor((1 - (points.rank[i] - 1) / n) * colours.length))
      : (i) => found.array[i];
    parts = colours.map((colour, i) => ({ code: i, colour, at: [] }));
    for (const i of webgl() || n <= FEW ? points.rank.keys() : strongest()) parts[code(i)].at.push(i);
    parts = parts.filter((part) => part.at.length);
  };

  const strength = (part) => (only === null ? 0.75 : part.code === only ? 0.95 : 0.05);
  const traces = () => parts.map((part) => ({
    type: webgl() ? "scattergl" : "scatter", mode: "markers", hoverinfo: "none",
    x: Float32Array.from(part.at, (i) => points.x[i]), y: Float32Array.from(part.at, (i) => points.y[i]),
    marker: { color: part.colour, size: points.n > 20000 ? 3 : points.n > 4000 ? 4 : 6, opacity: strength(part) },
    unselected: { marker: { opacity: 0.08 } },
  }));

  const paintLegend = () => {
    const found = column();
    legend.replaceChildren();
    if (found.ramp) {
      legend.append(D.element("span", "", "least suspicious"), D.element("span", "di-ramp"),
        D.element("span", "", "most suspicious (by rank)"));
      return;
    }
    const counts = new Array(found.values.length).fill(0);
    for (const code of found.array) counts[code] += 1;
    found.values.forEach((value, i) => {
      if (!counts[i]) return;
      const button = D.element("button", "di-key");
      button.type = "button";
      button.setAttribute("aria-pressed", String(only === i));
      button.title = "show only this, and back";
      const dot = D.element("span", "di-dot");
      dot.style.background = shade(found, i);
      button.append(dot, `${value.replace("_", " ") || "(empty)"} ${counts[i].toLocaleString("en")}`);
      button.addEventListener("click", () => { only = only === i ? null : i; emphasise(); });
      legend.append(button);
    });
  };

  const emphasise = () => {
    paintLegend();
    library.restyle(plot, { "marker.opacity": parts.map(strength) });
  };

  const sayPicked = () => {
    const button = card.querySelector(".di-pick");
    if (button) button.textContent = E.has(points.ids[shown]) ? "Take out of the selection" : "Select";
  };

  const paintSelection = () => {
    sayPicked();
    if (!plot.data) return;
    const of = ({ at }) => at.flatMap((i, k) => (E.has(points.ids[i]) ? [k] : []));
    const selected = parts.map((part) => (E.size() ? of(part) : null));
    library.restyle(plot, { selectedpoints: selected });
  };

  /* Whether a position can be seen: what is not drawn, or faded by the legend, is not selected. */
  const seen = () => {
    const mask = new Uint8Array(points.n);
    for (const part of parts) if (only === null || part.code === only) for (const i of part.at) mask[i] = 1;
    return (i) => mask[i] === 1;
  };

  const fact = (name, value) => {
    const row = D.element("div");
    row.append(D.element("dt", "", name), D.element("dd", "", value));
    return row;
  };
  const named = (name) => {
    const found = columns().find((c) => c.name === name);
    return (i) => found.values[found.array[i]].replace("_", " ");
  };
  const files = new Map();
  let asking = null;

  const show = (i) => {
    shown = i;
    const id = points.ids[i];
    const image = D.element("img", "di-portrait");
    image.src = `${D.root()}/di/thumb/${id}.webp?side=96`;
    image.alt = `picture labelled ${named("label")(i)}`;
    const list = D.element("dl");
    const file = fact("file", files.get(id) || "…");
    list.append(file, fact("label", named("label")(i)), fact("score", points.score[i].toPrecision(4)),
      fact("rank", `${points.rank[i].toLocaleString("en")} of ${points.n.toLocaleString("en")}`),
      fact("influence", named("high-influence")(i) === "others" ? "not high" : "high"),
      fact("decision", named("decision")(i)));
    const button = D.element("button", "di-pick");
    button.type = "button";
    button.addEventListener("click", () => { E.put([id], !E.has(id)); });
    card.replaceChildren(image, list, button);
    sayPicked();
    clearTimeout(asking);
    if (!files.has(id)) {
      // Only where the pointer rests: a sweep over the map asks for nothing.
      asking = setTimeout(async () => {
        const found = await server.file(id);
        files.set(id, found.file || found.error);
        if (shown === i) file.lastChild.textContent = files.get(id);
      }, 120);
    }
  };

  const axis = (i) => {
    const share = points.share?.[i];
    const words = ["first", "second"][i];
    return { ...D.grid, showticklabels: false,
      title: { text: share == null ? "" : `${words} component, ${(100 * share).toFixed(0)} % of variance`, standoff: 6 } };
  };

  const draw = async () => {
    divide();
    if (!webgl() && points.n > FEW) {
      notice.textContent = `This browser has no WebGL, so the map shows the ${FEW.toLocaleString("en")} most suspicious samples only.`;
    }
    const layout = D.layout({ dragmode: "pan", hovermode: false, xaxis: axis(0), yaxis: axis(1),
      margin: { l: 34, r: 8, t: 34, b: 34 }, uirevision: known,
      modebar: { orientation: "h", bgcolor: "rgba(0,0,0,0)", color: "#8a94a6", activecolor: "#c2571a" } });
    const buttons = ["zoomIn2d", "zoomOut2d", "resetScale2d"];
    await library.react(plot, traces(), layout, { displaylogo: false, displayModeBar: true, plotGlPixelRatio: window.devicePixelRatio || 1,
      modeBarButtons: [buttons], scrollZoom: true, responsive: true, doubleClick: "reset" });
    if (E.size()) paintSelection();
  };

  const unpack = (found) => {
    const ids = E.unpack(found.ids);
    const out = { ids, n: ids.length, share: found.share };
    for (const name of ["x", "y", "score", "rank"]) out[name] = D.array(found[name]);
    out.columns = found.columns.map((c) => ({ ...c, array: D.array(c.codes) }));
    return out;
  };

  const options = () => {
    colour.replaceChildren(...columns().map((c) => {
      const option = D.element("option", "", c.name);
      option.value = c.name;
      return option;
    }));
    colour.value = column().name;
  };

  const load = async (value) => {
    root.hidden = !value;
    if (!value) { known = ""; return; }
    const [method, samples] = value.split(" ");
    try {
      notice.textContent = "Loading the map…";
      library = await D.library();
      const marked = await server.states(null);
      if (marked.error) throw new Error(marked.error);
      states = { ...marked, array: D.array(marked.codes) };
      if (`${method} ${samples}` !== known) {
        const found = await server.points(method);
        if (found.error) throw new Error(found.error);
        points = unpack(found);
        known = `${method} ${samples}`;
        only = null;
        card.replaceChildren(D.element("p", "di-quiet", "Point at a sample to see it."));
      }
      notice.textContent = "Draw around points to select them; with Shift to add. By keyboard: filter the table below and select there.";
      options();
      paintLegend();
      await draw();
      root.dataset.ready = value;
    } catch (error) {
      notice.textContent = `The map cannot be shown: ${error.message}.`;
    }
  };

  const mount = (element, props, functions, watch) => {
    server = functions;
    root = element.querySelector(".di-map");
    const bar = D.element("div", "di-bar"), label = D.element("label", "", "Colour by ");
    colour = D.element("select");
    colour.id = "map-colour";
    colour.addEventListener("change", () => { by = colour.value; only = null; paintLegend(); draw(); });
    label.append(colour);
    const tools = D.element("fieldset", "di-tools");
    tools.append(D.element("legend", "di-unseen", "what dragging on the map does"));
    for (const name of ["lasso", "box", "pan"]) {
      const choice = D.element("label"), radio = D.element("input");
      Object.assign(radio, { type: "radio", name: "di-tool", value: name, checked: name === tool });
      radio.addEventListener("change", () => { tool = name; });
      choice.append(radio, name);
      tools.append(choice);
    }
    notice = D.element("p", "di-quiet");
    notice.setAttribute("role", "status");
    bar.append(label, tools, notice);
    const frame = D.element("div", "di-map-plot");
    plot = D.element("div");
    frame.append(plot);
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", "map of the training pictures; the table below lists the same samples");
    card = D.element("aside", "di-point");
    card.setAttribute("aria-label", "the sample under the pointer");
    legend = D.element("div", "di-legend");
    root.append(bar, frame, card, legend);
    window.diLasso.attach(plot, { tool: () => tool, points: () => points, pointed: show,
      selected: (at, add) => {
        const ids = at.filter(seen()).map((i) => points.ids[i]);
        add ? E.put(ids, true) : E.replace(ids);
        E.drawn();
      } });
    E.listen(paintSelection);
    watch("value", () => load(props.value));
    load(props.value);
  };

  /* The colours that a saved view asks for, as soon as there is a map. */
  const paintBy = (name) => {
    if (!name || name === by) return;
    [by, only] = [name, null];
    if (points) { options(); paintLegend(); draw(); }
  };

  return { mount, plot: () => plot, colour: () => by, paint: paintBy };
})();
