// One series: what it sold, what is expected of it; the rows that chart, table and files share.

import { get, post } from "./api.js";
import { $, fill, h, table } from "./dom.js";
import { dayNamed, daysBetween, lender, number, stepName, units } from "./format.js";

const LEVELS = [0.025, 0.1, 0.5, 0.9, 0.975];
const HISTORY_DAYS = 365;

export const body = (key, more = {}) =>
  ({ series: [{ store_id: key.store_id, item_id: key.item_id }], quantiles: LEVELS, ...more });

/** What was sold, what is planned, and what was forecast so many days ahead (null: that is not asked for). */
export async function readPast(key, lead) {
  const path = `v1/series/${encodeURIComponent(key.store_id)}/${encodeURIComponent(key.item_id)}/history`;
  const past = await get(path, { days: HISTORY_DAYS, lead: lead ?? 7 });
  return { sold: past.days, plan: past.planned ?? [], earlier: lead ? past.forecasts : [], warning: null };
}

/** Past and forecast of a series. A past that fails does not hide the forecast. */
export async function readSeries(key, lead) {
  const [past, answer] = await Promise.allSettled([readPast(key, lead), post("v1/forecasts", body(key))]);
  if (answer.status === "rejected") throw answer.reason;
  const [forecast] = answer.value.forecasts;
  return {
    key, answer: answer.value, cutoff: forecast.cutoff, ahead: forecast.days,
    step: daysBetween(forecast.cutoff, forecast.days[0].ds),
    lender: lender(forecast.method),
    changed: null,
    ...past.value ?? { sold: [], plan: [], earlier: [], warning: `What was sold can't be shown. ${past.reason.message}` },
  };
}

/** One row a day or week, `span` days back and all that is ahead; `overrides` count, the first first. */
export function rowsOf(view, span, overrides) {
  const earlier = new Map(view.earlier.map(f => [f.ds, f]));
  const plan = new Map(view.plan.map(p => [p.ds, p]));
  const changed = new Map((view.changed ?? []).map(d => [d.ds, d]));
  const promotion = p => ({ display: p?.display ?? 0, mailer: p?.mailer ?? 0 });
  const past = view.sold.slice(-Math.ceil(span / view.step)).map(d => ({
    ds: d.ds, y: d.y, price: d.price, past: earlier.get(d.ds)?.y_hat ?? null, ...promotion(d) }));
  const ahead = view.ahead.map(d => ({
    ds: d.ds, y: null, price: null, past: null, hat: d.y_hat, ...range(d, ""),
    whatif: changed.get(d.ds)?.y_hat ?? null,
    set: overrides.find(o => o.since <= d.ds && d.ds <= o.until)?.units ?? null,
    ...(changed.has(d.ds) ? range(changed.get(d.ds), "If") : {}), ...promotion(plan.get(d.ds)) }));
  return [...past, ...ahead];
}

const range = (d, suffix) => ({
  [`lo80${suffix}`]: d.quantiles["0.1"], [`hi80${suffix}`]: d.quantiles["0.9"],
  [`lo95${suffix}`]: d.quantiles["0.025"], [`hi95${suffix}`]: d.quantiles["0.975"],
});

const sum = (days, pick) => days.reduce((total, d) => total + (pick(d) ?? 0), 0);

/** The three figures above the chart. */
export function showTotals(view) {
  const { step } = view, before = view.sold.slice(-28 / step), week = view.ahead.slice(0, 7 / step), next = view.ahead[0];
  const tile = (name, value, note) => h("div", {}, h("dt", {}, name), h("dd", {}, value), h("dd", { class: "soft small" }, note));
  fill($("totals"), h("dl", { class: "tiles" },
    before.length > 0 && tile(`Last ${before.length * step} days`, units(sum(before, d => d.y)), "sold"),
    tile(`Next ${week.length * step} days`, units(sum(week, d => d.y_hat)), "expected"),
    tile(`Next ${view.ahead.length * step} days`, units(sum(view.ahead, d => d.y_hat)), "expected"),
    tile(step === 7 ? `Week to ${dayNamed(next.ds)}` : dayNamed(next.ds), units(next.y_hat), `likely ${number(next.quantiles["0.1"])} to ${number(next.quantiles["0.9"])}`)),
  view.warning && h("p", { class: "warning" }, view.warning),
  view.lender && h("p", { class: "warning" }, "This series is not among those that the model learnt. Its forecast is borrowed from "
    + `${view.lender}. Its likely range is wider for it: it holds how far such guesses were off for series that are known.`));
}

const COLUMNS = [
  ["Day", r => r.ds, dayNamed], ["Sold", r => r.y, number], ["Expected", r => r.hat, number],
  ["80 in 100 from", r => r.lo80, number], ["to", r => r.hi80, number],
  ["95 in 100 from", r => r.lo95, number], ["to", r => r.hi95, number],
  ["What if", r => r.whatif, number], ["Set by override", r => r.set, number], ["Forecast earlier", r => r.past, number],
  ["On display", r => r.display, number], ["In mailer", r => r.mailer, number], ["Price", r => r.price, v => v?.toFixed(2) ?? "–"],
];
const filled = rows => COLUMNS.filter(([, pick], i) => i === 0 || rows.some(r => pick(r) !== null && pick(r) !== undefined));

/** Every day in a table that opens at the first day of the forecast. */
export function showFigures(rows, { cutoff, step }) {
  const columns = filled(rows).map(([name, pick, text], i) => ({ name, number: i > 0, text: row => text(pick(row)) }));
  const box = table(`Units a ${stepName(step)}`, columns, rows);
  fill($("figures-body"), box);
  const body = box.querySelector("tbody"), first = body.children[rows.findIndex(r => r.ds > cutoff)];
  box.scrollTop = first.offsetTop - body.offsetTop - 3 * first.offsetHeight;
}

export const sheetOf = (view, rows) => ({
  name: `store ${view.key.store_id} ${view.key.item_id}`,
  columns: ["store", "item", ...FILE_NAMES],
  rows: rows.map(r => [view.key.store_id, view.key.item_id, ...COLUMNS.map(([, pick]) => pick(r) ?? null)]),
});
const FILE_NAMES = ["day", "units sold", "units expected", "80 in 100 from", "80 in 100 to", "95 in 100 from",
  "95 in 100 to", "units expected what if", "units set by override", "units forecast earlier", "products on display", "products in mailer", "price a unit"];
