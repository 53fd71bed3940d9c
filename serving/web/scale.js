// Where things lie in a chart: axes with round numbers, and paths with gaps.

import { dayShort, daysBetween, monthOf, weekday } from "./format.js";

/** Round tick values from 0 to just above `top`. */
export function ticks(top, wanted = 4) {
  const rough = Math.max(top, 1e-9) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find(m => m * power >= rough);
  const count = Math.ceil(top / step - 1e-9) || 1;
  return Array.from({ length: count + 1 }, (_, k) => Number((k * step).toPrecision(12)));
}

/** Labels of the time axis: Mondays (or weeks) of a short span, months of a long one, none too close. */
export function dayTicks(days, x, apart = 58) {
  const byMonth = daysBetween(days[0], days.at(-1)) >= 120, weekly = days.length > 1 && daysBetween(days[0], days[1]) === 7;
  const out = [];
  days.forEach((ds, i) => {
    if (byMonth ? !i || monthOf(ds) === monthOf(days[i - 1]) : !weekly && weekday(ds) !== 1) return;
    const at = x(i);
    if (out.length && at - out.at(-1).x < (byMonth ? 36 : apart)) return;
    out.push({ x: at, text: byMonth ? monthOf(ds) : dayShort(ds) });
  });
  return out;
}

/** SVG path through the points of `values`, broken where one is null. */
export function line(values, x, y) {
  let path = "", pen = "M";
  values.forEach((v, i) => {
    if (v === null || v === undefined) { pen = "M"; return; }
    path += `${pen}${x(i).toFixed(1)} ${y(v).toFixed(1)}${pen === "M" ? "h.1" : ""}`;  // a lone day is a dot
    pen = "L";
  });
  return path;
}

/** SVG path of a level stroke as wide as its day, `half` to each side, for each value. */
export const levels = (values, x, y, half) => values.map((v, i) => v === null || v === undefined ? ""
  : `M${(x(i) - half).toFixed(1)} ${y(v).toFixed(1)}h${(2 * half).toFixed(1)}`).join("");

/** SVG path around the area between two rows of values, where both are known. */
export function band(low, high, x, y) {
  const at = low.map((v, i) => i).filter(i => low[i] != null && high[i] != null);
  if (!at.length) return "";
  const point = (i, v) => `${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
  return `M${at.map(i => point(i, high[i])).join("L")}`
    + `L${at.reverse().map(i => point(i, low[i])).join("L")}Z`;
}
