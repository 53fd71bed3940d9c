// Why this number: what drives the forecast, and why it is another than in the last run.

import { post } from "./api.js";
import { $, empty, failed, fill, h, loading } from "./dom.js";
import { fileButtons } from "./files.js";
import { day, dayNamed, dayShort, decimal, lender, number, signed, units, whole } from "./format.js";

const CAUSES = {
  "new actuals": "New sales", "revised data": "Corrected sales", "changed plan": "Changed promotion plan", "new model": "New model version",
};

export function why() {
  const body = $("why-body"), tools = $("why-tools"), files = h("span", { class: "files" });
  let view, turn = 0;

  function show(next) {
    view = next;
    const select = h("select", { id: "why-day", onchange: load },
      h("option", { value: "" }, `all ${view.ahead.length * view.step} days`),
      ...view.ahead.map(d => h("option", { value: d.ds }, dayNamed(d.ds))));
    fill(tools, h("label", {}, "Of ", select), files);
    load();
  }

  async function load() {
    const mine = ++turn, ds = $("why-day").value || null;
    loading(body, 6);
    try {
      const answer = await post("v1/explanations", { store_id: view.key.store_id, item_id: view.key.item_id, ...(ds && { ds }) });
      if (mine !== turn) return;
      fill(body, ...drivers(answer), ...changes(answer));
      fileButtons(files, () => sheet(answer));
    } catch (error) {
      if (mine === turn) { fill(files); failed(body, error, load); }
    }
  }

  /** There is no forecast; an answer that is still on its way is dropped. */
  function clear() {
    turn += 1;
    fill(tools);
    empty(body, "There is no forecast to explain.");
  }

  return { show, clear };
}

const when = a => a.since === a.until ? `on ${dayShort(a.since)}` : `from ${dayShort(a.since)} to ${dayShort(a.until)}`;

function drivers(a) {
  return [
    h("p", {}, h("strong", {}, units(a.y_hat)), ` expected ${when(a)}`),
    a.analogues && h("p", { class: "soft small" }, `A borrowed forecast: what drives it is that of ${lender(a.analogues)}.`),
    steps("An average series and day", a.base, a.drivers.map(d => [capital(d.name), d.units]), a.y_hat, "This forecast"),
  ];
}

const causes = changed => changed.parts.map(p => [CAUSES[p.cause] ?? p.cause, p.units]);

function sheet(a) {
  const rows = [["An average series and day", a.base], ...a.drivers.map(d => [capital(d.name), d.units]), ["This forecast", a.y_hat]]
    .map(row => [...row, a.since, a.until]);
  const changed = !a.changed ? [] : [[`Forecast of ${a.changed.previous_cutoff}`, a.changed.previous], ...causes(a.changed),
    ["Forecast now", a.changed.current]].map(row => [...row, a.changed.since, a.changed.until]);
  return { name: `why store ${a.store_id} ${a.item_id}`, columns: ["what", "units", "from", "to"], rows: [...rows, ...changed] };
}

function changes({ changed }) {
  if (!changed) return [h("h3", {}, "Since the last run"), h("p", { class: "soft small" }, "There is no run before this one to compare with.")];
  return [
    h("h3", {}, `Since the run of ${day(changed.previous_cutoff)}`),
    h("p", { class: "small soft" }, Math.abs(changed.units) < .05 ? `The forecast has not changed ${when(changed)}.`
      : `What is expected ${when(changed)} went from ${number(changed.previous)} to ${number(changed.current)} units.`),
    steps("Forecast then", changed.previous, causes(changed), changed.current, "Forecast now"),
  ];
}

/** A waterfall: where it starts, what each part adds or takes, where it ends. */
function steps(startName, start, parts, end, endName) {
  let at = start;
  const spans = parts.map(([name, amount]) => {
    const span = { name, amount, from: Math.min(at, at + amount), to: Math.max(at, at + amount) };
    at += amount;
    return span;
  });
  const low = Math.min(0, start, end, ...spans.map(s => s.from)), high = Math.max(start, end, ...spans.map(s => s.to), low + 1e-9);
  const bar = (from, to, css) => {
    const node = h("i", { class: css });
    node.style.left = `${((from - low) / (high - low)) * 100}%`;
    node.style.width = `${Math.max(.4, ((to - from) / (high - low)) * 100)}%`;
    return h("span", { class: "track", "aria-hidden": "true" }, node);
  };
  const text = Math.max(start, end) < 100 ? decimal : whole;
  const row = (name, node, text, css) => h("li", { class: css }, h("span", {}, name), node, h("span", { class: "number" }, text));
  return h("ul", { class: "steps" },
    row(startName, bar(Math.min(0, start), Math.max(0, start), "whole"), text(start), "end"),
    ...spans.map(s => row(s.name, bar(s.from, s.to, s.amount >= 0 ? "more" : "less"), signed(s.amount, text), Math.abs(s.amount) < .05 ? "none" : null)),
    row(endName, bar(Math.min(0, end), Math.max(0, end), "whole"), text(end), "end"));
}

const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
