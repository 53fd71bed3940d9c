// Model and data: how fresh, which version, what the gates decided, how inputs drifted.

import { get } from "./api.js";
import { $, empty, failed, fill, h, loading } from "./dom.js";
import { fileButtons } from "./files.js";
import { day, moment, NONE, number } from "./format.js";

export const OUTCOMES = {
  pass: ["Keep", "nothing to do"], alert: ["Watch", "inputs changed, forecasts did not get worse"],
  retrain: ["Retrain", "forecasts got worse or the model is old"], fall_back: ["Fall back", "no better than the naive forecast"],
  hold: ["Hold", "the data is not good enough to decide on"], insufficient: ["Wait", "too few forecasts have met their sales"],
};
/** Whether what serves has learnt nothing and repeats the last week. */
export const repeats = s => /naive$/.test(s.method ?? "");
const outcome = d => d.gate === "promote" ? { pass: "Promoted", hold: "Kept the old one" }[d.outcome] ?? d.outcome
  : OUTCOMES[d.outcome]?.[0] ?? d.outcome;
const meaning = d => d.gate === "promote" ? { pass: "the new model forecasts better", hold: "the new model is not clearly better" }[d.outcome]
  : OUTCOMES[d.outcome]?.[1];
const GATES = { retrain: "Retrain?", promote: "Promote?" };

export async function showModel(status) {
  const body = $("model-body");
  loading(body, 5);
  let decisions;
  try {
    ({ decisions } = await get("v1/decisions", { limit: 60 }));
  } catch (error) {
    fill(body, facts(status), h("div", { id: "decisions" }));
    failed($("decisions"), error, () => showModel(status));
    return null;
  }
  fileButtons($("model-tools"), () => ({
    name: "what the gates decided", columns: ["when", "question", "answer", "meaning", "figures"],
    rows: decisions.map(d => [d.decided_at, GATES[d.gate] ?? d.gate, outcome(d), meaning(d) ?? "", d.reasons.join("; ")]),
  }));
  const retrain = decisions.filter(d => d.gate === "retrain");
  fill(body, h("div", { class: "pair even" }, facts(status), h("div", {}, h("h3", {}, "Did the inputs drift?"), timeline(retrain))),
    h("h3", {}, "What the gates decided"), list(decisions));
  return retrain[0] ?? null;
}

function facts(s) {
  const pair = (name, ...text) => h("div", {}, h("dt", {}, name), h("dd", {}, ...text));
  const link = (url, name) => url && h("a", { href: url, target: "_blank", rel: "noreferrer" }, name);
  return h("div", {},
    h("h3", {}, "What answers now"),
    h("dl", { class: "pairs" },
      pair("Model version", s.model_version ?? "none yet"),
      pair("Method", s.method ?? NONE, repeats(s) && "; it repeats the last week that was known, until a new model is better"),
      pair("Has learned from sales up to", day(s.trained_cutoff)),
      pair("Sales are known up to", day(s.cutoff)),
      pair("Figures of the past are from", moment(s.published_at)),
      pair("Data snapshot", h("code", {}, s.snapshot_id ?? NONE))),
    h("p", { class: "links" }, link(s.prefect_url, "Runs and schedules in Prefect"), link(s.mlflow_url, "Trainings in MLflow"),
      link(s.replay_url, "The past replayed: what each way of retraining would have cost")),
    s.replay_result && h("p", { class: "small" }, h("strong", {}, "The past replayed: "), s.replay_result.replaceAll("`", "")));
}

/** One column a decision: how many of the tested inputs had drifted. */
function timeline(decisions) {
  const tested = decisions.filter(d => Number.isFinite(d.measurements.n_features)).slice(0, 24).reverse();
  if (!tested.length) return h("p", { class: "soft small" }, "No decision has tested them yet.");
  const names = d => String(d.measurements.drifted ?? "").split(", ").filter(Boolean);
  const column = d => {
    const bar = h("i", { "aria-hidden": "true" });
    bar.style.height = `${Math.round((names(d).length / Math.max(1, d.measurements.n_features)) * 100)}%`;
    const text = `${day(d.decided_at.slice(0, 10))}: ${names(d).length} of ${d.measurements.n_features} drifted`
      + (names(d).length ? ` (${names(d).join(", ")})` : "") + `. ${outcome(d)}.`;
    return h("li", { title: text }, h("span", { class: "sr" }, text), bar);
  };
  const last = tested.at(-1);
  return h("div", { class: "drift" },
    h("ol", { class: "timeline" }, ...tested.map(column)),
    h("p", { class: "ends soft small", "aria-hidden": "true" }, h("span", {}, day(tested[0].decided_at.slice(0, 10))), tested.length > 1 && h("span", {}, day(last.decided_at.slice(0, 10)))),
    h("p", { class: "small soft" }, names(last).length
      ? `At the last decision ${names(last).length} of ${number(last.measurements.n_features)} inputs had drifted: ${names(last).join(", ")}.`
      : `At the last decision none of ${number(last.measurements.n_features)} inputs had drifted.`));
}

function list(decisions) {
  if (!decisions.length) return empty(h("div"), "No gate has decided yet: the retrain run writes here every time.");
  const entry = d => h("li", {}, h("time", { datetime: d.decided_at }, day(d.decided_at.slice(0, 10))), h("span", {}, GATES[d.gate] ?? d.gate),
    h("strong", { class: `outcome ${d.outcome}` }, outcome(d)), h("div", {}, capital(meaning(d) ?? ""),
      d.reasons.length > 0 && h("details", {}, h("summary", { "aria-label": `Figures of the decision of ${day(d.decided_at.slice(0, 10))}` }, "Figures"), h("p", { class: "soft small" }, d.reasons.join("; ")))));
  return h("ol", { class: "decisions" }, ...decisions.slice(0, 6).map(entry));
}

const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
