// What the tests of the page measure in a browser.

// Text smaller than so many CSS pixels.
function smallText(smallest) {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent, element = walk.currentNode.parentElement;
    if (!text.trim() || element.closest("script, noscript")) continue;
    const size = parseFloat(getComputedStyle(element).fontSize);
    if (size < smallest) found.push([element.tagName, text, size]);
  }
  return found;
}

// The channels of a computed colour, 0 to 255, and its opacity where it has one.
function channels(colour) {
  const numbers = colour.match(/[\d.]+/g).map(Number);
  if (!colour.startsWith("color(")) return numbers;
  return [...numbers.slice(0, 3).map((part) => 255 * part), ...numbers.slice(3)];
}

// Relative luminance, as WCAG 2 defines it.
function luminance(colour) {
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const [red, green, blue] = colour.map((part) => linear(part / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function ground(element) {
  for (let each = element; each; each = each.parentElement) {
    const own = channels(getComputedStyle(each).backgroundColor);
    if (own[3] === undefined || own[3] > 0.99) return own;
  }
  return [255, 255, 255];
}

// Text with less contrast than this.
function paleText(least) {
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest("script, noscript, svg.map")) continue;
    const style = getComputedStyle(element);
    const text = luminance(channels(element instanceof SVGElement ? style.fill : style.color));
    const behind = luminance(ground(element));
    const contrast = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
    if (contrast < least) found.push([element.tagName, element.textContent, contrast]);
  }
  return found;
}

// Title, drawn curves or cells, width and height of every figure that is not put away.
function figuresDrawn() {
  const open = [...document.querySelectorAll("figure")];
  return open.filter((figure) => !figure.closest("details:not([open])")).map((figure) => {
    const drawing = figure.querySelector("svg.chart, svg.map, .map-box:not([hidden]) table");
    const box = drawing.getBoundingClientRect();
    const count = drawing.querySelectorAll("path.line, tbody td").length;
    return [figure.querySelector("figcaption").textContent, count, box.width, box.height];
  });
}

function choose(figure, select, option) {
  const chosen = document.querySelectorAll("figure")[figure].querySelectorAll("select")[select];
  chosen.value = option;
  chosen.dispatchEvent(new Event("change"));
}

function ticks(figure) {
  const texts = document.querySelectorAll("figure")[figure].querySelectorAll("svg.chart text");
  return [...texts].map((text) => text.textContent);
}

function column(table, place) {
  const rows = [...document.querySelectorAll("table:not(.map)")[table].tBodies[0].rows];
  return rows.map((row) => row.cells[place].textContent);
}
