// How much to order, so that the stock lasts with the wanted probability.

import { post } from "./api.js";
import { $, empty, failed, fill, h, loading, settled } from "./dom.js";
import { fileButtons } from "./files.js";
import { day, lender, methodNamed, money, number, percent, units } from "./format.js";

const FIELDS = [
  { id: "service", label: "Should last", min: 50, max: 99.5, step: .5, value: 95, unit: "times in 100" },
  { id: "lead-time", label: "Delivery takes", min: 0, max: 14, step: 1, value: 2, unit: "days" },
  { id: "review", label: "Orders are placed every", min: 1, max: 14, step: 1, value: 7, unit: "days" },
  { id: "on-hand", label: "On hand and on order", min: 0, max: 1e6, step: 1, value: 0, unit: "units" },
];
const COSTS = [
  { id: "shortage", label: "A missing unit costs", min: 0, max: 1e6, step: "any", unit: "" },
  { id: "leftover", label: "A unit left over costs", min: 0, max: 1e6, step: "any", unit: "" },
];

export function orders(context) {
  const form = $("orders-form"), body = $("orders-body");
  const input = f => h("label", { class: "field" }, f.label, h("span", { class: "unit" },
    h("input", { type: "number", id: `order-${f.id}`, min: f.min, max: f.max, step: f.step, value: f.value, required: f.value !== undefined }),
    f.unit || context.currency()));
  fill(form, h("div", { class: "fields" }, ...FIELDS.map(input)),
    h("details", {}, h("summary", {}, "Or weigh two costs instead"), h("div", { class: "fields" }, ...COSTS.map(input)),
      h("p", { class: "soft small" }, "When both are given, they decide how often the stock should last.")));
  form.addEventListener("submit", event => event.preventDefault());
  const load = settled(show);
  form.addEventListener("input", load);
  const byCosts = () => value("shortage") && value("leftover");
  const value = id => $(`order-${id}`).value === "" ? null : Number($(`order-${id}`).value);
  let turn = 0, shown = null;

  async function show() {
    const key = context.key(), mine = ++turn;
    if (!key) return;
    if (key !== shown) { shown = key; fill($("orders-tools")); loading(body, 4); }  // never the order of another series
    const wrong = [...form.elements].find(e => e.matches("input") && !e.checkValidity());
    for (const e of form.querySelectorAll("input")) e.setAttribute("aria-invalid", String(e === wrong));
    if (wrong) {
      const label = wrong.closest("label").firstChild.textContent;
      fill(body, h("p", { class: "warning" }, `${label}: ${wrong.validationMessage}`));
      return;
    }
    try {
      const answer = await post("v1/orders", {
        series: [{ store_id: key.store_id, item_id: key.item_id, on_hand: value("on-hand") }],
        lead_time_days: value("lead-time"), review_days: value("review"),
        ...(byCosts() ? { shortage_cost: value("shortage"), leftover_cost: value("leftover") } : { service_level: value("service") / 100 }),
      });
      if (mine !== turn) return;
      fill(body, ...result(answer, context.currency()), asked());
      fileButtons($("orders-tools"), () => sheet(answer));
    } catch (error) {
      if (mine === turn) { fill($("orders-tools")); failed(body, error, show); }
    }
  }

  /** What was asked, for paper: forms are not printed. */
  const asked = () => h("p", { class: "print-only small" }, (byCosts() ? [...FIELDS.slice(1), ...COSTS] : FIELDS)
    .map(f => `${f.label} ${number(value(f.id))} ${f.unit || context.currency()}`).join("; "), ".");

  /** There is no forecast; an answer that is still on its way is dropped. */
  function clear() {
    turn += 1;
    fill($("orders-tools"));
    empty(body, "There is no forecast to order by.");
  }

  return { show, clear };
}

function sheet({ orders: [o], since, until, service_level }) {
  return {
    name: `order store ${o.store_id} ${o.item_id}`,
    columns: ["store", "item", "order units", "from", "lasts until", "should last in 100 times", "on hand and on order, units", "stock to reach, units",
      "expected to sell, units", "lasts on average, days", "expected to be missing, units", "expected to be left, units", "expected cost of both"],
    rows: [[o.store_id, o.item_id, o.order_quantity, since, until, service_level * 100, o.on_hand, o.order_up_to,
      o.expected_demand, o.days_of_cover, o.expected_shortage, o.expected_leftover, o.expected_cost]],
  };
}

function result(answer, currency) {
  const [o] = answer.orders;
  const pair = (name, text) => h("div", {}, h("dt", {}, name), h("dd", {}, text));
  return [
    h("p", { class: "big" }, h("strong", {}, o.order_quantity > 0 ? `Order ${units(o.order_quantity)}` : "Order nothing"),
      h("span", { class: "soft" }, ` so that it lasts until ${day(answer.until)}, ${percent(answer.service_level, answer.service_level > .99 ? 1 : 0)} of the time`)),
    lender(o.method) && h("p", { class: "warning" }, `A borrowed forecast: what is expected to sell is borrowed from ${lender(o.method)}.`),
    stock(o),
    h("dl", { class: "pairs" },
      pair("Stock to reach", units(o.order_up_to)),
      pair("Expected to sell by then", units(o.expected_demand)),
      pair("Lasts on average", `${number(o.days_of_cover)} days`),
      pair("Expected to be missing", units(o.expected_shortage)),
      pair("Expected to be left", units(o.expected_leftover)),
      o.expected_cost !== null && pair("Expected cost of both", money(o.expected_cost, currency))),
    h("details", {}, h("summary", {}, "How it is reckoned"), h("p", { class: "soft small" },
      `Model ${answer.model_version} ${methodNamed(answer.method)}. It forecasts not only what is expected to sell from ${day(answer.since)} to `
      + `${day(answer.until)} but how likely each other amount is. The stock to reach is the amount that sales of these days together exceed `
      + `${seldom((1 - answer.service_level) * 100)} times in 100; what is on hand and on order is taken off. What an empty shelf hid is not in it.`)),
  ];
}

const seldom = times => times < .1 - 1e-9 ? "fewer than 0.1" : `only ${number(times)}`;

/** The stock to reach as a bar: what is expected to sell, the safety above it, and what is there. */
function stock(o) {
  const most = Math.max(o.order_up_to, o.on_hand, 1e-9), expected = Math.min(o.expected_demand, o.order_up_to);
  const part = (css, from, to) => {
    const node = h("i", { class: css });
    node.style.left = `${(from / most) * 100}%`;
    node.style.width = `${((to - from) / most) * 100}%`;
    return node;
  };
  const key = (css, name, amount) => h("li", {}, h("i", { class: `key ${css}` }), `${name} ${number(amount)}`);
  return h("div", { class: "stock" },
    h("span", { class: "track", "aria-hidden": "true" }, part("sells", 0, expected), part("safety", expected, o.order_up_to),
      o.on_hand > 0 && part("there", 0, o.on_hand)),
    h("ul", { class: "amounts" }, key("sells", "Expected to sell", o.expected_demand),
      o.order_up_to > expected && key("safety", "Kept for safety", o.order_up_to - expected),
      o.on_hand > 0 && key("there", "On hand and on order", o.on_hand)));
}
