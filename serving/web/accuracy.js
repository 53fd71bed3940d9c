// How good the forecasts were, by store and by item, beside the naive forecast.

import { get } from "./api.js";
import { $, empty, failed, fill, h, loading, table } from "./dom.js";
import { day, decimal, item, money, NONE, number, percent, signed, stepName } from "./format.js";
import { fileButtons } from "./files.js";

const INSIDE = "coverage 80 inside";
const LEVELS = { store: "By store", department: "By department", item: "By item" };
const OWN = { store: key => key.store_id, department: key => key.item_id.split("|")[0], item: key => key.item_id };
const FIRST = 10;
const AGO = { day: "weekday of last week", week: "week of last year" };  // what the naive forecast repeats
const inHundred = share => share === null || share === undefined ? NONE : decimal(share * 100);

/** The section; `context.key()` is the series on show, whose rows are marked. */
export function accuracy(context) {
  const body = $("accuracy-body"), tools = $("accuracy-tools");
  let level = "store", all = false, read = {};

  async function load() {
    loading(body, 5);
    try {
      const asked = ["total", ...Object.keys(LEVELS)];
      const answers = await Promise.all(asked.map(l => get("v1/accuracy", { level: l })));
      read = Object.fromEntries(asked.map((l, i) => [l, answers[i]]));
      draw();
    } catch (error) { failed(body, error, load); }
  }

  function draw() {
    if (!read.total) return;
    const served = context.version(), version = judged(read.total.rows, served);
    const [whole] = pairs(read.total.rows, version), rows = pairs(read[level].rows, version), step = stepName(context.step());
    drawTools(rows);
    if (!whole) { empty(body, "No forecast has met its sales yet. Come back when the first week is over."); return; }
    const chosen = rows.find(isChosen);
    const first = all ? rows : rows.slice(0, FIRST);
    if (chosen && !first.includes(chosen)) first.push(chosen);
    fill(body, staircase(whole, read.total.figures, context, step),
      h("p", { class: "soft small" }, `Sums of whole weeks from ${day(read.total.since)} to ${day(read.total.until)}. The naive `
        + `forecast repeats the same ${AGO[step]}. Largest value first.`,
      version !== served && ` These forecasts are of model ${version}${served ? `: none of model ${served} has met its sales yet` : ""}.`),
      table("Accuracy and bias", columns(level, context.currency(), step).filter(c => !c.given || rows.some(c.given)), first, row => isChosen(row) ? "chosen" : null),
      rows.length > FIRST && h("button", { type: "button", class: "quiet", "aria-expanded": String(all),
        onclick: () => { all = !all; draw(); } }, all ? "Show the largest only" : `Show all ${rows.length}`));
  }

  const isChosen = row => context.key() !== null && row.id === OWN[level](context.key());

  function drawTools(rows) {
    const pick = (value, name) => h("button", { type: "button", "aria-pressed": String(level === value),
      onclick: () => { level = value; all = false; draw(); } }, name);
    const files = h("span", { class: "files" });
    fileButtons(files, () => ({
      name: `accuracy by ${level}`,
      columns: [level, "units sold", "value", "units off in 100", "naive units off in 100", "lean in 100", "days in likely range in 100", "model"],
      rows: rows.map(r => [r.id, r.ours.units, r.ours.value, ...[r.ours.wape, r.naive, r.ours.bias, r.ours.coverage_80]
        .map(v => v === null || v === undefined ? null : v * 100), r.ours.model]),
    }));
    fill(tools, h("span", { class: "segments", role: "group", "aria-label": "Rows" },
      ...Object.entries(LEVELS).filter(([l]) => read[l]?.rows.length).map(([l, name]) => pick(l, name))), files);
  }

  return { load, draw };
}

/** The served version, or the newest one whose forecasts have met their sales while its own have not. */
const judged = (rows, served) => rows.some(r => r.model === served) ? served
  : String(Math.max(...rows.map(r => r.model).filter(m => /^\d+$/.test(m)).map(Number)));

/** Rows of a version, each with the naive forecast's error over the same weeks: [{id, ours, naive}]. */
const pairs = (rows, version) => rows.filter(r => r.model === version).map(r => ({
  id: r.store_id ?? r.item_id ?? r.department ?? "all", ours: r, naive: r.value_added === null ? null : r.wape + r.value_added }));

function columns(level, currency, step) {
  return [
    { name: level.charAt(0).toUpperCase() + level.slice(1), text: r => level === "store" ? r.id : item(r.id) },
    { name: "Sold, units", number: true, text: r => number(r.ours.units) },
    { name: "Value", number: true, text: r => money(r.ours.value, currency) },
    { name: "Off in 100 units", number: true, text: r => errorBar(r) },
    { name: "Naive", number: true, text: r => inHundred(r.naive) },
    { name: "Better than naive", number: true, text: r => gain(r.ours.value_added) },
    { name: "Leans", text: r => lean(r.ours.bias) },
    { name: `${step === "day" ? "Days" : "Weeks"} in likely range`, number: true, given: r => r.ours.coverage_80 !== null, text: r => percent(r.ours.coverage_80) },
  ];
}

const meter = (css, share, left = 0) => {
  const bar = h("i", { class: css });
  bar.style.width = `${Math.min(100, share * 100)}%`;
  bar.style.left = `${left * 100}%`;
  return bar;
};

const errorBar = r => h("span", { class: "barred" },
  h("span", { class: "track", "aria-hidden": "true" }, meter("fill", Math.min(1, r.ours.wape ?? 0))), inHundred(r.ours.wape));

const gain = added => added === null ? NONE
  : h("span", { class: added >= 0 ? "good" : "poor" }, `${added >= 0 ? "▲" : "▼"} ${decimal(Math.abs(added * 100))}`);

function lean(bias) {
  if (bias === null || bias === undefined) return NONE;
  const share = Math.min(.5, Math.abs(bias)), much = Math.abs(bias) < .02;
  const word = much ? "even" : bias > 0 ? "too high" : "too low";
  return h("span", { class: "barred" },
    h("span", { class: "track middle", "aria-hidden": "true" }, meter("fill", share, bias < 0 ? .5 - share : .5)),
    `${much ? "" : `${signed(bias * 100, decimal)} `}${word}`);
}

/** Naive, model, override: how far off each was. */
function staircase({ ours, naive }, figures, context, unit) {
  const overrides = context.overrides(), inside = figures.find(f => f.model === ours.model && f.metric === INSIDE);
  const step = (name, share, note) => share !== null && share !== undefined && h("li", {},
    h("span", {}, name), h("span", { class: "track", "aria-hidden": "true" }, meter("fill", share / Math.max(naive ?? share, share))),
    h("strong", {}, `${decimal(share * 100)} in 100`), h("span", { class: "soft small" }, note));
  const scored = overrides.filter(o => o.value_added !== null && o.value_added !== undefined);
  const added = scored.reduce((total, o) => total + o.value_added, 0);
  return h("ul", { class: "stairs", "aria-label": "Units off in 100 sold, all stores together, week by week" },
    step("Naive forecast", naive, `same ${AGO[unit]}`),
    step(ours.model === context.version() ? "This forecast" : `Model ${ours.model}`, ours.wape, ours.bias === null ? "" : Math.abs(ours.bias) < .02 ? "neither too high nor too low" : `${decimal(Math.abs(ours.bias) * 100)} in 100 too ${ours.bias > 0 ? "high" : "low"} on the whole`),
    h("li", {}, h("span", {}, "Overrides"), h("span", { class: "soft small wide" }, scored.length
      ? `${scored.length} are over: ${number(Math.abs(added))} units ${added >= 0 ? "nearer than" : "farther off than"} the forecast`
      : "none is over yet; each is scored when its days are")),
    inside && h("li", {}, h("span", {}, "Likely range"), h("span", { class: "soft small wide" },
      `held ${number(inside.value * 100)} of 100 ${unit}s; at least 80 are meant`)));
}
