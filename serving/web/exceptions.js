// What needs a look, most money first.

import { get } from "./api.js";
import { $, empty, failed, fill, h, loading } from "./dom.js";
import { money, number, series } from "./format.js";
import { fileButtons } from "./files.js";

const KINDS = {
  miss: ["Missed", "Sales and forecast were far apart"],
  bias: ["Leaning", "Too high or too low, week after week"],
  coverage: ["Range missed", "Sales fell outside the likely range too often"],
  "stock-out": ["Stock ran out?", "Nothing sold where sales were expected"],
  promotion: ["Promotion ahead", "A promotion is planned"],
  new: ["New", "Began to sell lately: its forecast is borrowed from what is like it"],
};
const FIRST = 6, MOST = 200;
let turn = 0;

/** Shows the list; `link` makes the address of a series. Resolves to the first series in it. */
export async function showExceptions({ currency, link, kind = "", all = false }) {
  const body = $("exceptions-body"), tools = $("exceptions-tools");
  const again = more => showExceptions({ currency, link, kind, all, ...more });
  const mine = ++turn;
  if (!body.children.length) loading(body, 6);
  let answer;
  try {
    answer = await get("v1/exceptions", { kind, limit: all ? MOST : FIRST });
  } catch (error) {
    if (mine === turn) failed(body, error, () => again({}));
    return null;
  }
  if (mine !== turn) return null;
  const found = answer.exceptions;
  drawTools(tools, kind, again, found);
  if (!found.length) empty(body, kind ? "Nothing of this kind." : "Nothing stands out. Every forecast is where it should be.");
  else fill(body, h("ol", { class: "exceptions" }, ...found.map(e => row(e, currency, link))), rest(answer, found, again, all));
  return found[0] ?? null;
}

function row(e, currency, link) {
  const [name, about] = KINDS[e.kind] ?? [e.kind, ""];
  return h("li", {}, h("a", { href: link(e), "data-series": "" },
    h("span", { class: `kind ${e.kind}`, title: about }, name),
    h("span", { class: "what" }, h("strong", {}, series(e)), h("span", {}, e.reason)),
    h("span", { class: "stake" }, h("strong", {}, money(e.value, currency)), " at stake")));
}

function rest({ count }, found, again, all) {
  if (count <= FIRST) return null;
  const text = all ? "Show the largest only" : count <= MOST ? `Show all ${number(count)}` : `Show ${MOST} of ${number(count)}`;
  return h("button", { type: "button", class: "quiet", "aria-expanded": String(all), onclick: () => again({ all: !all }) }, text);
}

function drawTools(tools, kind, again, found) {
  const select = h("select", { id: "kind", onchange: e => again({ kind: e.target.value }) },
    h("option", { value: "" }, "everything"),
    ...Object.entries(KINDS).map(([value, [name]]) => h("option", { value, selected: value === kind }, name)));
  const files = h("span", { class: "files" });
  fileButtons(files, () => ({
    name: "what needs a look",
    columns: ["store", "item", "kind", "reason", "value at stake", "from", "to"],
    rows: found.map(e => [e.store_id, e.item_id, (KINDS[e.kind] ?? [e.kind])[0], e.reason, e.value, e.since, e.until]),
  }));
  if (document.activeElement?.id === "kind") return tools.querySelector(".files").replaceWith(files);
  fill(tools, h("label", {}, "Show ", select), files);
}

