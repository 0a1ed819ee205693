"use strict";
// Numbers, scales and elements that every figure needs.

const VECTORS = "http://www.w3.org/2000/svg";

function make(name, attributes, ...children) {
  const vector = ["svg", "path", "line", "circle", "rect", "text", "g", "title"].includes(name);
  const element = vector ? document.createElementNS(VECTORS, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children); // strings become text, never markup
  return element;
}

function format(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e15 || size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  for (const [unit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) return Number((value / (letter === "k" ? 1e3 : unit)).toPrecision(4)) + " " + letter;
  }
  return String(Number(value.toPrecision(4)));
}

// A scale from numbers to pixels: {at, back, ticks}.
function linearScale(low, high, start, end, count) {
  if (low === high) { const pad = Math.abs(low) * 0.1 || 1; low -= pad; high += pad; }
  const rough = (high - low) / Math.max(count, 1);
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough * 0.999);
  const ticks = [];
  for (let index = Math.ceil(low / step - 1e-9); index <= high / step + 1e-9; index++) {
    ticks.push(Number((index * step).toPrecision(12)));
  }
  return {
    at: (value) => start + ((value - low) / (high - low)) * (end - start),
    back: (pixel) => low + ((pixel - start) / (end - start)) * (high - low),
    ticks,
  };
}

function logarithmicScale(low, high, start, end, count) {
  let [first, last] = [Math.log10(low), Math.log10(high)];
  if (last - first < 0.02) { first -= 0.1; last += 0.1; }
  const within = (tick) => Math.log10(tick) >= first - 1e-9 && Math.log10(tick) <= last + 1e-9;
  let ticks = [];
  const skip = Math.max(1, Math.ceil((last - first) / Math.max(count, 1)));
  for (let decade = Math.floor(first); decade <= last; decade++) {
    const factors = last - first < 2.2 ? [1, 2, 5] : [1];
    if (decade % skip === 0) ticks.push(...factors.map((factor) => Number((factor * Math.pow(10, decade)).toPrecision(12))));
  }
  ticks = ticks.filter(within);
  if (ticks.length < 2) ticks = linearScale(Math.pow(10, first), Math.pow(10, last), 0, 1, count).ticks.filter((tick) => tick > 0);
  return {
    at: (value) => start + ((Math.log10(value) - first) / (last - first)) * (end - start),
    back: (pixel) => Math.pow(10, first + ((pixel - start) / (end - start)) * (last - first)),
    ticks,
  };
}

// The place of the number nearest to a value in an ascending list.
function nearest(numbers, value) {
  let low = 0, high = numbers.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < value) low = middle; else high = middle;
  }
  return Math.abs(numbers[high] - value) < Math.abs(numbers[low] - value) ? high : low;
}
