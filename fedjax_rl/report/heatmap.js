// Cells of two settings, coloured by a figure; viridis, told apart by colour-blind readers.

const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];

function viridis(share) {
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const first = Math.min(Math.floor(place), VIRIDIS.length - 2), rest = place - first;
  return VIRIDIS[first].map((part, channel) => Math.round(part + rest * (VIRIDIS[first + 1][channel] - part)));
}

class HeatMap {
  constructor(view, box) {
    this.view = view;
    this.box = box;
    this.frame = make("div", { class: "map-box" });
    this.svg = make("svg", { class: "map", role: "group", "aria-label": `${view.name} by ${view.x_label} ${view.y_label}` });
    this.readout = make("p", { class: "readout", "aria-live": "polite" });
    this.frame.append(this.svg);
    box.append(this.frame, this.readout);
    const finite = view.values.flat().filter((value) => value !== null);
    this.low = Math.min(...finite);
    this.high = Math.max(...finite);
    this.rest();
  }

  rest() {
    const good = { true: "; the largest is best", false: "; the smallest is best", null: "" }[String(this.view.maximize)];
    this.readout.textContent = `${format(this.low)} (dark) to ${format(this.high)} (light)${good}`;
  }

  draw() {
    const { columns, rows, values, x_label: across, y_label: up } = this.view;
    if (!this.box.clientWidth) return;
    const left = up ? Math.min(Math.max(...rows.map((row) => row.length)) * 8.2 + 12, 190) : 2;
    const cell = Math.max((this.box.clientWidth - left - 2) / columns.length, 34);
    const longest = Math.max(...columns.map((column) => column.length)) * 8.2;
    const slanted = longest > cell - 6;
    const tall = Math.min(Math.max(cell * 0.6, 34), 64);
    const top = up ? 24 : 4, bottom = top + tall * rows.length;
    const foot = slanted ? Math.min(longest * 0.72, 150) + 14 : 24;
    const width = Math.max(left + cell * columns.length + 2, 60), height = bottom + foot + 24;
    this.svg.replaceChildren();
    for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) this.svg.setAttribute(key, value);
    if (up) this.svg.append(make("text", { x: 0, y: 14 }, up));
    values.forEach((row, down) => {
      const y = bottom - (down + 1) * tall; // the smallest is at the bottom
      if (up) this.svg.append(make("text", { x: left - 8, y: y + tall / 2 + 5, "text-anchor": "end" }, rows[down]));
      row.forEach((value, place) => this.cell(value, place, down, left + place * cell, y, cell, tall));
    });
    columns.forEach((column, place) => {
      const x = left + (place + 0.5) * cell;
      const turned = slanted ? { transform: `rotate(-45 ${x} ${bottom + 16})`, "text-anchor": "end" } : { "text-anchor": "middle" };
      this.svg.append(make("text", { x, y: bottom + 18, ...turned }, column));
    });
    this.svg.append(make("text", { x: width - 2, y: height - 6, "text-anchor": "end" }, across));
  }

  cell(value, place, down, x, y, width, height) {
    const { columns, rows, x_label: across, y_label: up } = this.view;
    const share = value === null ? 0 : this.high > this.low ? (value - this.low) / (this.high - this.low) : 0.5;
    const colour = viridis(share);
    const words = `${across} ${columns[place]}${up ? `, ${up} ${rows[down]}` : ""}: ${format(value)}`;
    const rectangle = make("rect", {
      class: "cell", x, y, width, height, rx: 3, tabindex: 0, role: "img", "aria-label": words,
      fill: value === null ? "none" : `rgb(${colour.join(" ")})`,
    });
    const tell = () => { this.readout.textContent = words; };
    for (const event of ["pointerenter", "pointerdown", "focus"]) rectangle.addEventListener(event, tell);
    for (const event of ["pointerleave", "blur"]) rectangle.addEventListener(event, () => this.rest());
    this.svg.append(rectangle);
    const text = value === null ? "–" : format(value);
    if (text.length * 8.2 > width - 4) return;
    const label = make("text", { class: "in", x: x + width / 2, y: y + height / 2, "aria-hidden": "true", "pointer-events": "none" }, text);
    label.style.fill = value === null ? "var(--quiet)" : 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 130 ? "#000" : "#fff";
    this.svg.append(label);
  }
}
