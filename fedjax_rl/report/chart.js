// Curves with bands and references: hover or touch to read values, click the legend to hide.

const MARGIN = { top: 26, right: 14, bottom: 44 };

class Chart {
  constructor(view, box, state) {
    this.view = view;
    this.box = box;
    this.state = state; // {scale, axis}: what survives a change of view
    this.hidden = view.series.map((series) => !series.visible);
    this.at = null;
    this.build();
  }

  build() {
    this.svg = make("svg", { class: "chart", role: "img", tabindex: "0" });
    this.readout = make("p", { class: "readout" });
    this.legend = make("ul", { class: "legend", "aria-label": "Curves" });
    this.entries = this.view.series.map((series, place) => this.entry(series, place));
    this.meanings();
    this.box.append(this.svg, this.readout, this.legend);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.move(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    this.svg.addEventListener("blur", () => this.move(null));
  }

  entry(series, place) {
    const swatch = make("svg", { width: 28, height: 12, "aria-hidden": "true" },
      make("line", { x1: 1, x2: 27, y1: 6, y2: 6, class: `line c${series.colour} d${series.dash}${series.faint ? " faint" : ""}` }));
    swatch.firstChild.style.strokeWidth = "3px";
    const value = make("span", { class: "value" }), aside = make("small", { class: "aside" });
    const button = make("button", { type: "button", "aria-pressed": String(!this.hidden[place]) },
      swatch, make("span", { class: "label" }, series.name), value, aside);
    button.addEventListener("click", () => {
      this.hidden[place] = !this.hidden[place];
      button.setAttribute("aria-pressed", String(!this.hidden[place]));
      this.draw();
    });
    this.legend.append(make("li", {}, button));
    return { value, aside };
  }

  // What the bands are.
  meanings() {
    for (const [text, filled] of this.view.meanings) {
      const patch = make("rect", { x: 1, y: 1, width: 26, height: 10, class: filled ? "band c6" : "range c6" });
      const swatch = make("svg", { width: 28, height: 12, "aria-hidden": "true" }, patch);
      this.legend.append(make("li", { class: "meaning" }, swatch, text));
    }
  }

  get log() { return this.state.scale !== "linear"; }

  abscissa(series) {
    return this.view.abscissas[series.x[this.state.axis]] || [];
  }

  visible() {
    return this.view.series.filter((_, place) => !this.hidden[place]);
  }

  usable(value) {
    return value !== null && (!this.log || value > 0);
  }

  placed(x) {
    return this.state.scale !== "log-log" || x > 0;
  }

  extent() {
    const xs = [], ys = [];
    for (const series of this.visible()) {
      const x = this.abscissa(series);
      series.y.forEach((value, place) => { if (this.usable(value) && this.placed(x[place])) { xs.push(x[place]); ys.push(value); } });
      for (const end of series.band ? [series.band.low, series.band.high] : []) end.forEach((value) => { if (this.usable(value)) ys.push(value); });
      if (this.usable(series.reference)) ys.push(series.reference);
    }
    if (ys.length && this.view.limits && !this.log) ys.push(...this.view.limits);
    const range = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    return ys.length ? [range(xs), range(ys)] : null;
  }

  draw() {
    const width = this.box.clientWidth;
    if (!width) return; // within something that is closed
    const height = Math.round(Math.min(Math.max(width * 0.56, 230), 340));
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    const extent = this.extent();
    this.svg.setAttribute("aria-label", `${this.view.y_label} against ${this.view.x_labels[this.state.axis]}; arrow keys read values`);
    this.svg.append(make("text", { x: 0, y: 14 }, this.view.y_label));
    if (!extent) {
      const why = this.visible().length && this.log ? "nothing positive to show on a logarithmic axis" : "nothing to show";
      this.svg.append(make("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, why));
      this.scales = null;
      this.show();
      return;
    }
    const [[firstX, lastX], [lowest, highest]] = extent;
    const scale = this.log ? logarithmicScale : linearScale;
    const pad = this.log ? 0 : (highest - lowest) * 0.05;
    const count = Math.round(height / 55);
    const vertical = scale(lowest - pad, highest + pad, height - MARGIN.bottom, MARGIN.top, count);
    const left = Math.max(...vertical.ticks.map((tick) => format(tick).length), 2) * 8.2 + 10;
    const right = width - MARGIN.right;
    const level = this.state.scale === "log-log" ? logarithmicScale : linearScale;
    const horizontal = level(firstX, lastX, left, right, Math.max(2, Math.floor((right - left) / 95)));
    this.scales = { horizontal, vertical, left, right, bottom: height - MARGIN.bottom };
    this.axes(width, height);
    for (const series of this.visible()) this.curve(series);
    this.over = make("g", {});
    this.svg.append(this.over);
    this.show();
  }

  axes(width, height) {
    const { horizontal, vertical, left, right, bottom } = this.scales;
    for (const tick of vertical.ticks) {
      const y = vertical.at(tick);
      this.svg.append(make("line", { class: "tick", x1: left, x2: right, y1: y, y2: y }),
        make("text", { x: left - 6, y: y + 5, "text-anchor": "end" }, format(tick)));
    }
    this.svg.append(make("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
    let free = 0;
    for (const tick of horizontal.ticks) {
      const x = horizontal.at(tick), half = format(tick).length * 4.2;
      if (x - half < free || x + half > width) continue;
      free = x + half + 8;
      this.svg.append(make("text", { x, y: bottom + 18, "text-anchor": "middle" }, format(tick)));
    }
    this.svg.append(make("text", { x: right, y: height - 6, "text-anchor": "end" }, this.view.x_labels[this.state.axis]));
  }

  curve(series) {
    const { horizontal, vertical, left, right } = this.scales;
    const x = this.abscissa(series), kind = `c${series.colour}`;
    const place = (index, values) => `${horizontal.at(x[index]).toFixed(1)} ${vertical.at(values[index]).toFixed(1)}`;
    if (series.band) {
      const { low, high, filled } = series.band;
      for (const run of this.runs(x, [low, high])) {
        const above = run.map((index) => place(index, high));
        const below = run.map((index) => place(index, low)).reverse();
        const d = filled ? `M${above.join("L")}L${below.join("L")}Z` : `M${above.join("L")}M${below.join("L")}`;
        this.svg.append(make("path", { class: `${filled ? "band" : "range"} ${kind}`, d }));
      }
    }
    if (this.usable(series.reference)) {
      const y = vertical.at(series.reference);
      this.svg.append(make("line", { class: `reference ${kind}`, x1: left, x2: right, y1: y, y2: y }));
    }
    for (const run of this.runs(x, [series.y])) {
      const points = run.map((index) => place(index, series.y));
      this.svg.append(make("path", { class: `line ${kind} d${series.dash}${series.faint ? " faint" : ""}`, d: `M${points.join("L")}` }));
      if (series.y.length > 40 && run.length > 1) continue;
      for (const index of run) {
        const [cx, cy] = place(index, series.y).split(" ");
        this.svg.append(make("circle", { class: `dot ${kind}`, cx, cy, r: 3.5 }));
      }
    }
  }

  // Stretches of places where all of the values can be drawn.
  runs(x, values) {
    const found = [];
    let run = [];
    for (let index = 0; index < x.length; index++) {
      if (this.placed(x[index]) && values.every((each) => this.usable(each[index]))) run.push(index);
      else if (run.length) { found.push(run); run = []; }
    }
    if (run.length) found.push(run);
    return found;
  }

  point(event) {
    if (!this.scales) return;
    const box = this.svg.getBoundingClientRect();
    this.move(this.snapped(this.scales.horizontal.back(event.clientX - box.left)));
  }

  snapped(value) {
    let best = null;
    for (const series of this.visible()) {
      const x = this.abscissa(series);
      if (!x.length) continue;
      const candidate = x[nearest(x, value)];
      if (!this.placed(candidate)) continue;
      if (best === null || Math.abs(candidate - value) < Math.abs(best - value)) best = candidate;
    }
    return best;
  }

  step(event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const first = this.visible()[0];
    if (!way || !first || !this.scales) return;
    event.preventDefault();
    const x = this.abscissa(first);
    const place = this.at === null ? (way > 0 ? -1 : x.length) : nearest(x, this.at);
    this.move(x[Math.min(Math.max(place + way, 0), x.length - 1)]);
  }

  move(at) {
    this.at = at;
    this.show();
  }

  // The values under the cursor; without one, the last of every curve.
  show() {
    if (this.over) this.over.replaceChildren();
    const label = this.view.x_labels[this.state.axis];
    this.readout.textContent = this.at === null ? "last values" : `at ${label} ${format(this.at)}`;
    if (this.at !== null && this.scales && this.placed(this.at)) {
      const x = this.scales.horizontal.at(this.at);
      this.over.append(make("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: this.scales.bottom }));
    }
    this.view.series.forEach((series, place) => this.value(series, place));
  }

  value(series, place) {
    const told = this.entries[place], x = this.abscissa(series);
    told.value.textContent = "–";
    told.aside.textContent = "";
    let index = this.at === null ? x.length - 1 : nearest(x, this.at);
    while (this.at === null && index > 0 && series.y[index] === null) index--;
    if (!x.length) return;
    told.value.textContent = format(series.y[index]);
    const aside = [];
    const band = series.band;
    if (band && band.low[index] !== null) aside.push(`${band.name} ${format(band.low[index])} … ${format(band.high[index])}`);
    if (series.reference !== null) aside.push(`${series.reference_name} ${format(series.reference)}`);
    told.aside.textContent = aside.join(", ");
    if (this.at === null || this.hidden[place] || !this.scales || !this.usable(series.y[index]) || !this.placed(x[index])) return;
    this.over.append(make("circle", {
      class: `dot c${series.colour}`, r: 5,
      cx: this.scales.horizontal.at(x[index]), cy: this.scales.vertical.at(series.y[index]),
    }));
  }
}
