// What if the promotion or the price were another: the forecast with and without the change.

import { post } from "./api.js";
import { $, failed, fill, h, settled } from "./dom.js";
import { dayNamed, dayShort, number, signed, signedPercent } from "./format.js";
import { body } from "./series.js";

const INPUTS = [
  { name: "display", label: "Products on display", text: number },
  { name: "mailer", label: "Products in the mailer", text: number },
  { name: "price", label: "Price", text: v => v ? `${signedPercent(v / 100)}` : "as now" },
];

/** The panel beside the chart; `redraw` is called when view.changed has changed. */
export function whatIf(redraw) {
  const form = $("whatif"), out = h("div", { id: "whatif-out", "aria-live": "polite" });
  let view, start, fields, turn = 0;

  function show(next) {
    view = next;
    const days = view.ahead.map(d => d.ds);
    const choice = (id, label, at) => h("label", { class: "field" }, label,
      h("select", { id, onchange: reset }, ...days.map((ds, i) => h("option", { value: i, selected: i === at }, dayShort(ds)))));
    fields = Object.fromEntries(INPUTS.map(i => [i.name, slider(i)]));
    fill(form,
      h("h3", { id: "whatif-title" }, "What if"),
      h("p", { class: "soft small" }, "Change a promotion or the price, see what the forecast does."),
      h("div", { class: "fields" }, choice("whatif-from", "From", 0), choice("whatif-to", "To", Math.min(7 / view.step - 1, days.length - 1))),
      ...INPUTS.map(i => fields[i.name].node),
      out,
      h("p", { class: "soft small" }, "Model association, not cause: this is what sold under such promotions and prices, "
        + "for whatever reason."),
      h("button", { type: "button", onclick: reset }, "As planned"));
    reset();
  }

  function slider({ name, label, text }) {
    const value = h("output", { for: `whatif-${name}` });
    const input = h("input", { type: "range", id: `whatif-${name}`, oninput: () => { say(); ask(); } });
    const say = () => {
      value.textContent = text(Number(input.value));
      input.setAttribute("aria-valuetext", value.textContent);
    };
    const set = (low, high, step, at) => { Object.assign(input, { min: low, max: high, step }); input.value = at; say(); };
    return { input, set, node: h("div", { class: "slider" }, h("label", { for: input.id }, label), value, input) };
  }

  const period = () => {
    const [from, to] = ["from", "to"].map(end => Number($(`whatif-${end}`).value));
    return [Math.min(from, to), Math.max(from, to)];
  };

  /** Sliders where the plan is; nothing is changed yet. */
  function reset() {
    const [from, to] = period(), planned = new Map(view.plan.map(p => [p.ds, p]));
    const mean = key => {
      const days = view.ahead.slice(from, to + 1);
      return Math.round(days.reduce((t, d) => t + (planned.get(d.ds)?.[key] ?? 0), 0) / days.length);
    };
    const most = key => Math.max(8, ...[...view.sold, ...view.plan].map(d => d[key] ?? 0));
    start = { display: mean("display"), mailer: mean("mailer"), price: 0 };
    for (const key of ["display", "mailer"]) fields[key].set(0, Math.ceil(most(key) * 1.25), 1, start[key]);
    fields.price.set(-50, 50, 5, 0);
    fields.price.input.disabled = lastPrice() === null;
    turn += 1;
    view.changed = null;
    fill(out, h("p", { class: "delta soft" }, "Move a slider."));
    redraw();
  }

  const lastPrice = () => view.sold.findLast(d => d.price > 0)?.price ?? null;

  function changes() {
    const [from, to] = period(), change = {};
    for (const { name } of INPUTS) {
      const value = Number(fields[name].input.value);
      if (value === start[name]) continue;
      change[name] = name === "price" ? lastPrice() * (1 + value / 100) : value;
    }
    if (!Object.keys(change).length) return [];
    return view.ahead.slice(from, to + 1).map(d => ({ ds: d.ds, ...change }));
  }

  const ask = settled(async () => {
    const mine = ++turn, what_if = changes();
    if (!what_if.length) { reset(); return; }
    try {
      const answer = await post("v1/forecasts", body(view.key, { what_if }));
      if (mine !== turn) return;
      const [forecast] = answer.forecasts;
      const planned = new Map(forecast.baseline.map(d => [d.ds, d.y_hat]));
      view.changed = forecast.days.filter(d => d.y_hat !== planned.get(d.ds));
      fill(out, ...difference(forecast, what_if, answer.warnings));
      redraw();
    } catch (error) {
      if (mine === turn) failed(out, error, ask);
    }
  });

  return { show };
}

function difference({ days, baseline }, changed, warnings = []) {
  const within = new Set(changed.map(c => c.ds)), sum = list => list.filter(d => within.has(d.ds)).reduce((t, d) => t + d.y_hat, 0);
  const before = sum(baseline), after = sum(days), delta = after - before;
  const [first, last] = [changed[0].ds, changed.at(-1).ds];
  const best = days.find(d => d.ds === first);
  return [
    h("p", { class: "delta" }, h("strong", {}, `${signed(delta)} units`), before > 0 && ` ${signedPercent(delta / before)}`),
    h("p", { class: "small" }, `${number(before)} → ${number(after)} units, ${first === last ? dayNamed(first)
      : `${dayShort(first)} to ${dayShort(last)}`}. On ${dayShort(first)} likely ${number(best.quantiles["0.1"])} to ${number(best.quantiles["0.9"])}.`),
    ...[...new Set(warnings)].slice(0, 3).map(w => h("p", { class: "warning" }, w)),
  ];
}

