// Lines through upright axes, coloured by the last of them; the first line is in front.

class Parallel {
  constructor(view, box) {
    this.view = view;
    this.frame = make("div", { class: "upright" });
    this.svg = make("svg", { class: "map parallel", role: "img", "aria-label": `${view.axes.join(", ")} of ${view.colours.length} configurations; the tables have the numbers` });
    this.frame.append(this.svg);
    this.box = box;
    box.append(this.frame);
  }

  draw() {
    const { axes, ticks, heights, colours } = this.view;
    if (!this.box.clientWidth) return;
    const widest = Math.max(...axes.map((name) => name.length), ...ticks.flat().map(([, text]) => text.length)) * 8.2 + 16;
    const step = Math.max((this.box.clientWidth - widest) / (axes.length - 1), widest);
    const width = step * (axes.length - 1) + widest, height = 320, bottom = height - 36;
    const x = (axis) => widest / 2 + axis * step, y = (share) => bottom - share * (bottom - 14);
    for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) this.svg.setAttribute(key, value);
    this.svg.replaceChildren();
    [...heights.keys()].reverse().forEach((place) => {
      const points = heights[place].map((share, axis) => `${x(axis).toFixed(1)} ${y(share).toFixed(1)}`);
      const line = make("path", { class: "line", d: `M${points.join("L")}` });
      line.style.stroke = colours[place];
      line.style.strokeWidth = place ? "1.5px" : "4px";
      this.svg.append(line);
    });
    axes.forEach((name, axis) => {
      this.svg.append(make("line", { class: "axis", x1: x(axis), x2: x(axis), y1: y(1), y2: bottom }),
        make("text", { x: x(axis), y: height - 8, "text-anchor": "middle" }, name));
      for (const [share, text] of ticks[axis]) this.svg.append(make("text", { x: x(axis) + 5, y: y(share) + 5 }, text));
    });
  }
}
