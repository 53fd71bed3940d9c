// The planner's page: what is read when, and which series is on show.

import { get, allSeries, remember } from "./api.js";
import { accuracy } from "./accuracy.js";
import { seriesChart } from "./chart.js";
import { $, failed, fill, h, loading } from "./dom.js";
import { showExceptions } from "./exceptions.js";
import { fileButtons } from "./files.js";
import { day, series } from "./format.js";
import { OUTCOMES, repeats, showModel } from "./model.js";
import { orders } from "./orders.js";
import { override } from "./override.js";
import { searchBox } from "./search.js";
import { readPast, readSeries, rowsOf, sheetOf, showFigures, showTotals } from "./series.js";
import { whatIf } from "./whatif.js";
import { why } from "./why.js";

const page = { status: {}, view: null, key: null, step: 1 };
const context = {
  key: () => page.key, currency: () => page.status.currency ?? "", version: () => page.status.model_version,
  step: () => page.step,
  overrides: () => overriding.known(),
};
const chart = seriesChart($("chart"));
const search = searchBox(key => go(key));
const trying = whatIf(() => draw());
const accurate = accuracy(context), explaining = why();
const overriding = override(context, () => draw());
let ordering = { show() {}, clear() {} }, reading = 0;  // until the status says the currency

const link = key => `?${new URLSearchParams({ store: key.store_id, item: key.item_id })}`;
const rows = () => rowsOf(page.view, Number($("span").value), overriding.active());
const lead = () => Number($("lead").value) || null;

function go(key) {
  history.pushState(null, "", link(key));
  $("series").scrollIntoView({ block: "start" });
  $("series").focus({ preventScroll: true });
  return show(key);
}

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  return asked.get("store") && asked.get("item") ? { store_id: asked.get("store"), item_id: asked.get("item") } : null;
}

async function show(key) {
  const mine = ++reading;
  page.key = key;
  fill($("series-title"), series(key));
  document.title = `${series(key)} – Shelfcast`;
  if (!page.view) loading($("totals"), 2);
  $("chart").classList.add("waiting");
  try {
    const view = await readSeries(key, lead());
    if (mine !== reading) return;
    Object.assign(page, { view, step: view.step });
  } catch (error) {
    if (mine === reading) nothing(error, key);
    return;
  }
  $("series").classList.remove("without");
  fileButtons($("series-files"), () => sheetOf(page.view, rows()));
  showTotals(page.view);
  accurate.draw();
  overriding.show(page.view);  // before the chart is drawn: its override is this series'
  trying.show(page.view);
  explaining.show(page.view);
  ordering.show();
  banner(page.view.answer);
}

/** Only what is known without a forecast; `key` is null when there is no series at all. */
function nothing(error, key) {
  page.view = null;
  $("series").classList.add("without");
  failed($("totals"), error, () => key ? show(key) : location.reload());
  accurate.draw();
  for (const part of [ordering, explaining, overriding]) part.clear();
}

/** Another choice of "Earlier forecasts": what a planner has begun elsewhere on the page stays. */
async function showEarlier() {
  const view = page.view, asked = lead();
  if (view?.key !== page.key) { if (page.key) show(page.key); return; }
  $("chart").classList.add("waiting");
  let past;
  try {
    past = await readPast(view.key, asked);
  } catch (error) {
    past = { earlier: [], warning: `What was forecast earlier can't be shown. ${error.message}` };
  }
  if (view !== page.view || asked !== lead()) return;
  Object.assign(view, past);
  showTotals(view);
  draw();
}

function draw() {
  if (!page.view) return;
  const all = rows();
  $("chart").classList.remove("waiting");
  chart.draw(all, page.view.cutoff, page.view.step);
  if ($("figures").open) showFigures(all, page.view);
}

function banner({ degraded, degraded_reason: reason }) {
  const late = page.status.late_days, newest = day(page.view?.cutoff ?? page.status.cutoff);
  const said = (title, text, more) => h("div", {}, h("p", {}, h("strong", {}, title), text), more);
  fill($("banner"),
    degraded && said("Not up to date. ", `These forecasts are made from the last good data, up to ${newest}. `
      + "They can be used; what has been sold or planned since then is not in them.",
    reason && h("details", {}, h("summary", {}, "For whoever looks after the system"), h("p", { class: "small" }, reason))),
    late > 0 && said(`Sales are ${late === 1 ? "a day" : `${late} days`} late. `, `The newest are of ${newest}, and forecasts start there: `
      + `what has been sold since is not in them, and the first days ahead may be over. Ask whoever looks after the system why no sales come in.`));
}

function header(decision) {
  const s = page.status;
  fill($("fresh"), s.cutoff ? `Sales up to ${day(s.cutoff)}` : "No data yet", " · ", s.model_version ? `model ${s.model_version}${repeats(s) ? ` (${s.method}: repeats the last week)` : ""}` : "no model",
    decision && ` · last decision: ${(OUTCOMES[decision.outcome]?.[0] ?? decision.outcome).toLowerCase()}`);
}

async function start() {
  for (const id of ["exceptions", "accuracy", "orders", "why", "model", "override"]) loading($(`${id}-body`), 4);
  loading($("totals"), 2);
  let known = [];
  const listed = allSeries(found => { known = found; search.know(found, false); })
    .then(() => search.know(known, true), error => { search.know(known, true, error); return error; });
  try {
    page.status = await get("v1/status");
  } catch (error) {
    if (error.status === 401) { unlock(); return; }
    document.body.classList.add("down");
    failed($("exceptions-body"), error, () => location.reload());
    return;
  }
  header(null);
  banner(page.status);
  ordering = orders(context);
  const asked = fromAddress();
  const first = showExceptions({ currency: context.currency(), link });
  overriding.load().then(() => accurate.load());
  showModel(page.status).then(header);
  const exception = asked ?? await first, problem = exception ? null : await listed;
  if (exception ?? known[0]) await show(exception ?? known[0]);
  else nothing(problem ?? new Error("There is no series yet: run `make demo`, or the ingest and materialize deployments."), null);
  await Promise.all([first, listed]);
  document.documentElement.dataset.usable = Math.round(performance.now());
}

function unlock() {
  $("unlock").hidden = false;
  $("key").focus();
  $("unlock").addEventListener("submit", event => {
    event.preventDefault();
    remember($("key").value);
    location.reload();
  });
}

document.addEventListener("click", event => {
  const to = event.target.closest?.("a[data-series]");
  if (!to || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const asked = new URLSearchParams(to.search);
  go({ store_id: asked.get("store"), item_id: asked.get("item") });
});
addEventListener("popstate", () => { const key = fromAddress(); if (key) show(key); });
$("span").addEventListener("change", draw);
$("lead").addEventListener("change", showEarlier);
$("figures").addEventListener("toggle", draw);
$("whatif").addEventListener("submit", event => event.preventDefault());
start();
