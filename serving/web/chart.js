// The chart of one series: what sold, what is expected, the likely range, promotions.

import { fill, h, s } from "./dom.js";
import { dayNamed, dayShort, daysBetween, number, stepName, units } from "./format.js";
import { band, dayTicks, levels, line, ticks } from "./scale.js";

const EDGE = { left: 46, right: 14, top: 30, bottom: 62 };
const UNIT_WIDTH = 120;  // what is left of it, at the top, names the unit
const LANE = { top: 10, height: 22 };  // below the floor: how much is on promotion
const LINES = [
  { key: "y", css: "sold", name: "Sold" },
  { key: "past", css: "past", name: "Forecast made earlier" },
  { key: "hat", css: "expected", name: "Expected" },
  { key: "whatif", css: "whatif", name: "What if" },
  { key: "set", css: "set", name: "Set by override", level: true },
];
const promoted = row => (row.display ?? 0) + (row.mailer ?? 0);

/** Draws into a figure and draws again when its width changes; returns {draw(rows, cutoff, step)}. */
export function seriesChart(figure) {
  const legend = h("ul", { class: "legend", "aria-label": "Legend" });
  const tip = h("div", { class: "tip", hidden: true });
  const cursor = h("input", { type: "range", class: "cursor", min: 0, step: 1 });
  const plot = h("div", { class: "plot" });
  fill(figure, legend, plot);
  let shown = { rows: [], cutoff: null, step: 1 }, geometry;

  function draw(rows, cutoff, step) {
    shown = { rows, cutoff, step };
    if (!rows.length || !plot.clientWidth) return;
    geometry = layOut(rows, plot.clientWidth);
    cursor.max = rows.length - 1;
    cursor.value = Math.max(0, rows.findIndex(r => r.ds > cutoff));
    cursor.setAttribute("aria-label", "Day on the chart: use the arrow keys");
    fill(plot, picture(rows, cutoff, step, geometry), cursor, tip);
    fill(legend, ...legendOf(rows, stepName(step)));
    point(null);
  }

  function point(i) {
    const mark = plot.querySelector(".crosshair");
    tip.hidden = i === null;
    mark?.setAttribute("visibility", i === null ? "hidden" : "visible");
    if (i === null) return;
    const row = shown.rows[i], x = geometry.x(i);
    mark.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
    fill(tip, ...words(row));
    const left = x > geometry.width / 2 ? x - tip.offsetWidth - 14 : x + 14;
    tip.style.left = `${Math.max(0, left)}px`;
    cursor.setAttribute("aria-valuetext", tip.textContent);
  }

  plot.addEventListener("pointermove", event => {
    if (!geometry) return;
    const at = event.clientX - plot.getBoundingClientRect().left;
    point(geometry.nearest(at));
  });
  plot.addEventListener("pointerleave", () => point(null));
  cursor.addEventListener("input", () => point(Number(cursor.value)));
  cursor.addEventListener("focus", () => point(Number(cursor.value)));
  cursor.addEventListener("blur", () => point(null));
  new ResizeObserver(() => draw(shown.rows, shown.cutoff, shown.step)).observe(plot);
  return { draw };
}

function layOut(rows, width) {
  const height = width < 560 ? 280 : 430, last = Math.max(1, rows.length - 1);
  const top = Math.max(1, ...rows.flatMap(r => [r.y, r.hat, r.hi95, r.past, r.whatif, r.hi80If, r.set].map(v => v ?? 0)));
  const marks = ticks(top);
  const wide = width - EDGE.left - EDGE.right, high = height - EDGE.top - EDGE.bottom;
  return {
    width, height, marks, floor: EDGE.top + high,
    x: i => EDGE.left + (i / last) * wide,
    y: v => EDGE.top + high * (1 - v / marks.at(-1)),
    nearest: px => Math.min(last, Math.max(0, Math.round(((px - EDGE.left) / wide) * last))),
  };
}

function picture(rows, cutoff, step, g) {
  const of = key => rows.map(r => r[key] ?? null);
  const first = rows.findIndex(r => r.ds > cutoff), half = (g.x(1) - g.x(0)) / 2;
  const split = first > 0 ? g.x(first) - half : null;
  return s("svg", { width: g.width, height: g.height, role: "img", "aria-label": summary(rows, cutoff) },
    ...g.marks.map(v => s("g", {},
      s("line", { class: "grid", x1: EDGE.left, x2: g.width - EDGE.right, y1: g.y(v), y2: g.y(v) }),
      s("text", { class: "axis", x: EDGE.left - 8, y: g.y(v) + 4, "text-anchor": "end" }, number(v)))),
    ...dayTicks(rows.map(r => r.ds), g.x).map(t =>
      s("text", { class: "axis", x: t.x, y: g.height - 6, "text-anchor": "middle" }, t.text)),
    s("text", { class: "note", x: 0, y: 14 }, `units a ${stepName(step)}`),
    s("path", { class: "band95", d: band(of("lo95"), of("hi95"), g.x, g.y) }),
    s("path", { class: "band80", d: band(of("lo80"), of("hi80"), g.x, g.y) }),
    s("path", { class: "bandIf", d: band(of("lo80If"), of("hi80If"), g.x, g.y) }),
    split !== null && s("g", {},
      s("line", { class: "today", x1: split, x2: split, y1: 4, y2: g.floor }),
      split > UNIT_WIDTH && s("text", { class: "note", x: split - 6, y: 14, "text-anchor": "end" }, "sold"),
      s("text", { class: "note", x: split + 6, y: 14 }, "forecast")),
    rows.some(promoted) && s("text", { class: "note", x: 0, y: g.floor + LANE.top + LANE.height - 4 }, "promo"),
    s("path", { class: "promotion", d: promotions(rows, g, half) }),
    ...LINES.map(l => s("path", { class: `line ${l.css}`, d: l.level ? levels(of(l.key), g.x, g.y, half) : line(of(l.key), g.x, g.y) })),
    s("g", { class: "crosshair", visibility: "hidden" },
      s("line", { x1: 0, x2: 0, y1: EDGE.top, y2: g.floor })));
}

/** Small bars in the lane below: how many products are on display or in the mailer that day. */
function promotions(rows, g, half) {
  const most = Math.max(1, ...rows.map(promoted)), wide = Math.max(1, 2 * half - 1);
  return rows.map((row, i) => {
    const high = (promoted(row) / most) * LANE.height;
    return high ? `M${(g.x(i) - wide / 2).toFixed(1)} ${g.floor + LANE.top + LANE.height}v${-high.toFixed(1)}h${wide.toFixed(1)}v${high.toFixed(1)}z` : "";
  }).join("");
}

function legendOf(rows, unit) {
  const has = key => rows.some(r => r[key] !== null && r[key] !== undefined);
  const entry = (css, name) => h("li", {}, h("i", { class: `key ${css}` }), name);
  return [
    ...LINES.filter(l => has(l.key)).map(l => entry(l.css, l.name)),
    has("lo80") && entry("band80", `Likely range, 80 ${unit}s in 100`),
    has("lo95") && entry("band95", `95 ${unit}s in 100`),
    rows.some(promoted) && entry("promotion", "Products on display and in the mailer"),
  ];
}

const range = (low, high) => low === null || low === undefined ? null : `${number(low)} to ${number(high)}`;

function words(row) {
  const pairs = [
    ["Sold", row.y != null && units(row.y)],
    ["Expected", row.hat != null && units(row.hat)],
    ["Set by override", row.set != null && units(row.set)],
    ["What if", row.whatif != null && units(row.whatif)],
    ["What if, 80 in 100", range(row.lo80If, row.hi80If)],
    ["80 in 100", range(row.lo80, row.hi80)],
    ["95 in 100", range(row.lo95, row.hi95)],
    ["Forecast earlier", row.past != null && units(row.past)],
    ["On display", row.display > 0 && number(row.display)],
    ["In mailer", row.mailer > 0 && number(row.mailer)],
  ].filter(([, text]) => text);
  return [h("strong", {}, dayNamed(row.ds)), h("dl", {}, ...pairs.map(([k, v]) =>
    h("div", {}, h("dt", {}, `${k} `), h("dd", {}, `${v} `))))];
}

function summary(rows, cutoff) {
  const ahead = rows.filter(r => r.ds > cutoff && r.hat != null), sold = rows.filter(r => r.y != null);
  const sum = (list, key) => list.reduce((total, r) => total + r[key], 0);
  if (!ahead.length) return "No forecast to draw.";
  const step = stepName(daysBetween(cutoff, ahead[0].ds));
  return `Units a ${step}. Sold ${number(sum(sold, "y") / Math.max(1, sold.length))} a ${step} on average over `
    + `${sold.length} ${step}s up to ${dayShort(cutoff)}; expected ${number(sum(ahead, "hat") / ahead.length)} `
    + `a ${step} over the next ${ahead.length} ${step}s. The table below has every figure.`;
}
