// Puts every figure in its place, and lets tables be sorted.

const SCALES = { "linear": "linear", "log": "logarithmic", "log-log": "log–log" };
const KINDS = { Chart, Parallel };

function chooser(name, options, chosen, change) {
  const select = make("select", {});
  options.forEach((option, place) => {
    const entry = make("option", { value: place }, option);
    entry.selected = place === chosen;
    select.append(entry);
  });
  select.addEventListener("change", () => change(Number(select.value)));
  return make("label", {}, name, select);
}

function place(figure, element) {
  const plot = element.querySelector(".plot");
  const maps = [...plot.children]; // views that need no script
  const controls = make("div", { class: "controls" }), box = make("div", {});
  const state = { scale: "linear", axis: 0 };
  let drawn = null;

  function open(index) {
    const view = figure.views[index];
    const chart = view.kind === "Chart";
    controls.replaceChildren();
    box.replaceChildren();
    if (figure.views.length > 1) {
      controls.append(chooser("show", figure.views.map((each) => each.name || figure.title), index, open));
    }
    if (chart) {
      const names = Object.keys(SCALES);
      state.scale = view.scale;
      state.axis = Math.min(state.axis, view.x_labels.length - 1);
      controls.append(chooser("scale", Object.values(SCALES), names.indexOf(view.scale), (place) => { state.scale = names[place]; drawn.draw(); }));
      if (view.x_labels.length > 1) {
        controls.append(chooser("against", view.x_labels, state.axis, (axis) => { state.axis = axis; drawn.at = null; drawn.draw(); }));
      }
    }
    for (const map of maps) map.hidden = Number(map.dataset.view) !== index;
    drawn = view.kind in KINDS ? new KINDS[view.kind](view, box, state) : null;
    drawn?.draw();
  }

  plot.prepend(controls, box);
  open(0);
  let width = plot.clientWidth;
  new ResizeObserver(() => {
    if (plot.clientWidth !== width) { width = plot.clientWidth; drawn?.draw(); }
  }).observe(plot);
}

function sortable(table) {
  const headings = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const worth = (row, column) => {
    const cell = row.cells[column], text = cell.textContent;
    const number = cell.dataset.v !== undefined ? Number(cell.dataset.v) : parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text : number;
  };
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [worth(row, column), row]);
      rows.sort(([one], [other]) => {
        if ((one === "–") !== (other === "–")) return one === "–" ? 1 : -1; // nothing comes last
        const order = typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
        return down ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

const figures = JSON.parse(document.getElementById("figures").textContent);
for (const element of document.querySelectorAll("figure[data-figure]")) {
  place(figures[Number(element.dataset.figure)], element);
}
for (const table of document.querySelectorAll("table.sortable")) sortable(table);
