/* Selecting in a drawing of many points: a lasso or a box, and the point under the pointer. The
   drawing library could do both, but tests every point at every movement; here it only draws. */
window.diLasso = (() => {
  const NEAR = 8, CLICK = 4; // pixels

  /* Whether (x, y) lies inside of a polygon of [x, y] pairs, by the even-odd rule. */
  const inside = (x, y, polygon) => {
    let odd = false;
    for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
      const [ax, ay] = polygon[i], [bx, by] = polygon[j];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  };

  /* Positions of the points (xs, ys) inside of a polygon. */
  const within = (xs, ys, polygon) => {
    const [px, py] = [0, 1].map((k) => polygon.map((p) => p[k]));
    const [left, right, low, high] = [Math.min(...px), Math.max(...px), Math.min(...py), Math.max(...py)];
    const out = [];
    for (let i = 0; i < xs.length; i++) {
      const x = xs[i], y = ys[i];
      if (x >= left && x <= right && y >= low && y <= high && inside(x, y, polygon)) out.push(i);
    }
    return out;
  };

  /* `tool` gives lasso, box or pan; `points` the arrays x and y; `selected` is told positions and
     whether to add them, `pointed` the position under the pointer. */
  const attach = (plot, { tool, points, selected, pointed }) => {
    const overlay = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    overlay.setAttribute("class", "di-lasso");
    overlay.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    overlay.append(line);
    plot.parentElement.append(overlay);
    let path = null, waiting = false;

    const at = (event) => {
      const box = plot.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const axes = () => [plot._fullLayout.xaxis, plot._fullLayout.yaxis];
    const data = ([x, y]) => {
      const [xa, ya] = axes();
      return [xa.p2d(x - xa._offset), ya.p2d(y - ya._offset)];
    };
    const area = (event) => event.target.closest?.(".nsewdrag");
    const ours = (event) => area(event) && tool() !== "pan" && event.button === 0;

    const nearest = ([x, y]) => {
      const { x: xs, y: ys } = points(), [xa, ya] = axes();
      const [cx, cy] = data([x, y]), [sx, sy] = [xa._m, ya._m]; // pixels per unit
      let best = -1, least = NEAR * NEAR;
      for (let i = 0; i < xs.length; i++) {
        const dx = (xs[i] - cx) * sx, dy = (ys[i] - cy) * sy, d = dx * dx + dy * dy;
        if (d < least) { least = d; best = i; }
      }
      return best;
    };
    const point = (event) => { const i = nearest(at(event)); if (i >= 0) pointed(i); };

    const shape = () => {
      if (tool() !== "box") return path;
      const [[a, b], [c, d]] = [path[0], path[path.length - 1]];
      return [[a, b], [c, b], [c, d], [a, d]];
    };
    const paint = () => line.setAttribute("points", path ? shape().map((p) => p.join(",")).join(" ") : "");

    plot.addEventListener("mousedown", (event) => { if (ours(event)) event.stopPropagation(); }, true);
    plot.addEventListener("pointerdown", (event) => {
      if (!ours(event)) return;
      event.preventDefault();
      plot.setPointerCapture(event.pointerId);
      path = [at(event)];
    }, true);
    plot.addEventListener("pointermove", (event) => {
      if (path) {
        path.push(at(event));
        paint();
      } else if (area(event) && !waiting) {
        waiting = true;
        requestAnimationFrame(() => { waiting = false; if (plot._fullLayout) point(event); });
      }
    });
    plot.addEventListener("pointerup", (event) => {
      if (!path) return;
      const xs = path.map((p) => p[0]), ys = path.map((p) => p[1]);
      const moved = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
      const { x, y } = points();
      if (moved < CLICK) point(event);
      else selected(within(x, y, shape().map(data)), event.shiftKey);
      path = null;
      paint();
    });
    plot.addEventListener("pointercancel", () => { path = null; paint(); });
  };

  return { attach, within };
})();
