// A forecast that a person sets, with a reason and an end; scored when its days are over.

import { get, post } from "./api.js";
import { $, failed, fill, h, table } from "./dom.js";
import { fileButtons } from "./files.js";
import { addDays, day, number, NONE, series, stepName, units } from "./format.js";

const REASONS = ["Unplanned promotion", "Event nearby", "Delivery problem", "New or dropped goods", "Weather", "Other"];

/** The section; `redraw` is called when what is set has changed. */
export function override(context, redraw) {
  const body = $("override-body"), list = h("div", { id: "overrides", "aria-live": "polite" }), said = h("div", { "aria-live": "polite" });
  let view = null, known = [], problem = null;

  function show(next) {
    view = next;
    const days = view.ahead.map(d => d.ds);
    const date = (id, label, value, most, step = 1) => h("label", { class: "field" }, label,
      h("input", { type: "date", id, required: true, min: days[0], max: most, step, value }));
    const text = (id, label, attributes) => h("label", { class: "field" }, label, h("input", { id, required: true, ...attributes }));
    const form = h("form", { id: "override-form", class: "fields", novalidate: true, onsubmit: save },
      date("override-since", "From", days[0], days.at(-1), view.step), date("override-until", "To", days[0], days.at(-1), view.step),
      text("override-units", `Units a ${stepName(view.step)}`, { type: "number", min: 0, max: 1e6, step: "any" }),
      h("label", { class: "field" }, "Reason", h("select", { id: "override-why" }, ...REASONS.map(r => h("option", {}, r)))),
      h("label", { class: "field wide" }, "In a sentence", h("input", { id: "override-note", required: true, minlength: 3, maxlength: 400 })),
      date("override-expires", "Counts until", addDays(days.at(-1), 1), null),
      h("button", { class: "main" }, "Set"));
    fill(said);  // it was said of the series before
    fill(body, h("p", { class: "soft" }, `For ${series(view.key)}. The forecast itself stays as it is; what you set is kept beside it with `
      + "your reason, and scored against what is sold, so that it shows which overrides were worth it."), form, said, list);
    drawList();
  }

  async function save(event) {
    event.preventDefault();
    const form = event.target, { key, step } = view, wrong = [...form.elements].find(e => e.willValidate && !e.checkValidity());
    for (const e of form.elements) if (e.willValidate) e.setAttribute("aria-invalid", String(e === wrong));
    if (wrong) {
      fill(said, h("p", { class: "warning" }, `${wrong.closest("label").firstChild.textContent}: ${wrong.validationMessage}`));
      wrong.focus();
      return;
    }
    const value = id => $(`override-${id}`).value;
    try {
      const made = await post("v1/overrides", {
        store_id: key.store_id, item_id: key.item_id, since: value("since"), until: value("until"),
        units: Number(value("units")), reason: `${value("why")}: ${value("note")}`, expires_at: `${value("expires")}T00:00:00Z`,
      });
      known = [{ ...made, active: true }, ...known];
      if (form.isConnected) fill(said, h("p", { class: "done" }, `Set: ${number(made.units)} units a ${stepName(step)}, ${daysOf(made)}.`));
      if (view) { drawList(); redraw(); }
    } catch (error) {
      if (form.isConnected) failed(said, error, () => form.requestSubmit());
      else fill(said, h("p", { class: "warning" }, `Nothing was set for ${series(key)}. ${error.message}`));
    }
  }

  /** There is no forecast that could be set aside. */
  function clear() {
    view = null;
    fill($("override-tools"));
    fill(said);
    fill(body, h("p", { class: "empty" }, "There is no forecast to override."), said);
  }

  /** All overrides; Accuracy shows what they added. */
  async function load() {
    try {
      ({ overrides: known } = await get("v1/overrides"));
      problem = null;
    } catch (error) { problem = error; }
    if (view) { drawList(); redraw(); }
    return known;
  }

  function drawList() {
    const own = ofSeries();
    fileButtons($("override-tools"), () => sheet(view.key, own));
    if (problem) { failed(list, problem, load); return; }
    if (!own.length) { fill(list, h("p", { class: "empty small" }, "No override for this series.")); return; }
    fill(list, table("Overrides of this series", [
      { name: "Days", text: daysOf },
      { name: `Set, units a ${stepName(view.step)}`, number: true, text: o => number(o.units) },
      { name: "Forecast, units", number: true, text: o => number(o.baseline) },
      { name: "Sold, units", number: true, text: o => number(o.actual) },
      { name: "Worth it?", text: o => o.value_added === null || o.value_added === undefined ? "not over yet"
        : o.value_added >= 0 ? `yes, ${units(o.value_added)} nearer` : `no, ${units(-o.value_added)} farther off` },
      { name: "Why", text: o => o.reason }, { name: "By", text: o => o.author ?? NONE },
      { name: "Counts until", text: o => `${day(o.expires_at.slice(0, 10))}${o.active ? "" : ", over"}` },
    ], own));
  }

  const ofSeries = () => known.filter(o => o.store_id === view.key.store_id && o.item_id === view.key.item_id);

  /** Those of the series on show that still count, newest first. */
  const active = () => view ? ofSeries().filter(o => o.active) : [];

  return { show, clear, load, active, known: () => known };
}

const daysOf = o => o.since === o.until ? day(o.since) : `${day(o.since)} to ${day(o.until)}`;

const sheet = (key, own) => ({
  name: `overrides store ${key.store_id} ${key.item_id}`,
  columns: ["store", "item", "from", "to", "units set", "units forecast", "units sold", "units nearer than the forecast", "reason", "by", "counts until"],
  rows: own.map(o => [o.store_id, o.item_id, o.since, o.until, o.units, o.baseline ?? null, o.actual ?? null, o.value_added ?? null, o.reason, o.author ?? null, o.expires_at]),
});
