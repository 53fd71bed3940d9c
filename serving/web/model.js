// Model and data: how fresh, which version, what the gates decided, how inputs drifted.

import { get } from "./api.js";
import { $, empty, failed, fill, h, loading } from "./dom.js";
import { fileButtons } from "./files.js";
import { day, methodNamed, moment, NONE, percent } from "./format.js";

export const OUTCOMES = {
  pass: ["Keep", "the model is still good: nothing to do"], alert: ["Watch", "inputs changed or forecasts got worse; what serves stays for now"],
  retrain: ["Retrain", "forecasts got worse or the model is old"], fall_back: ["Fall back", "no better than the naive forecast"],
  hold: ["Hold", "the data is not good enough to decide on"], insufficient: ["Wait", "too little is known yet to decide"],
};
/** Whether what serves has learnt nothing and repeats the last week. */
export const repeats = s => /naive$/.test(s.method ?? "");
const ANSWERS = { pass: "Yes", hold: "No", insufficient: "Cannot tell" };
const outcome = d => (d.gate === "promote" ? ANSWERS[d.outcome] : OUTCOMES[d.outcome]?.[0]) ?? d.outcome;
const meaning = d => d.gate === "promote" ? verdict(d) : OUTCOMES[d.outcome]?.[1];
const GATES = { retrain: "Keep or retrain?", promote: "Is the new model good enough?" };

/** What was found of a new model. Whether it serves is another matter: some are only tried beside the one that does. */
function verdict({ outcome, measurements: seen }) {
  if (outcome === "insufficient") return "the evidence is not enough to tell, so it is not used";
  if (outcome === "hold") {
    const why = seen.naive_ratio >= 1 ? "it forecasts no better than the naive forecast"
      : seen.has_champion && seen.ratio_upper >= 1 ? "it is not surely better than the one that served then" : "its figures say why";
    return seen.has_champion ? `${why}; what served then stays` : why;
  }
  if (!seen.has_champion) return "it forecasts better than the naive forecast; there was no model to compare it with";
  return seen.ratio_upper < 1 ? "it forecasts better than the one that served then"
    : `it knows newer sales and forecasts at most ${percent(seen.limit - 1)} worse than the one that served then`;
}

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
    name: "what was decided", columns: ["when", "question", "answer", "meaning", "figures"],
    rows: decisions.map(d => [d.decided_at, GATES[d.gate] ?? d.gate, outcome(d), meaning(d) ?? "", d.reasons.join("; ")]),
  }));
  const retrain = decisions.filter(d => d.gate === "retrain");
  fill(body, h("div", { class: "pair even" },
    h("div", {}, facts(status), h("h3", {}, "Are the inputs as they were?"), timeline(retrain)),
    h("div", {}, h("h3", {}, "What was decided"), list(decisions))));
  return retrain[0] ?? null;
}

function facts(s) {
  const pair = (name, ...text) => h("div", {}, h("dt", {}, name), h("dd", {}, ...text));
  const link = (url, name) => url && h("a", { href: url, target: "_blank", rel: "noreferrer" }, name);
  return h("div", {},
    h("h3", {}, "What answers now"),
    h("dl", { class: "pairs" },
      pair("Model version", s.model_version ?? "none yet"),
      pair("How it forecasts", methodNamed(s.method), repeats(s) && ", until a new model is better"),
      pair("Has learned from sales up to", day(s.trained_cutoff)),
      pair("Sales are known up to", day(s.cutoff)),
      pair("Figures of the past are from", moment(s.published_at)),
      pair("Number of this state of the data", h("code", {}, s.snapshot_id ?? NONE))),
    h("p", { class: "links" }, link(s.prefect_url, "Runs and schedules in Prefect"), link(s.mlflow_url, "Trainings in MLflow"),
      link(s.replay_url, "The past replayed: what each way of retraining would have cost")),
    s.replay_result && h("p", { class: "small" }, h("strong", {}, "The past replayed: "), s.replay_result.replaceAll("`", "")));
}

/** One column a decision: how many of the tested inputs had drifted. */
function timeline(decisions) {
  const tested = decisions.filter(d => Number.isFinite(d.measurements.n_features)).slice(0, 24).reverse();
  if (!tested.length) return h("p", { class: "soft small" }, "They have not been compared yet.");
  const names = d => String(d.measurements.drifted ?? "").split(", ").filter(Boolean);
  const column = d => {
    const bar = h("i", { "aria-hidden": "true" });
    bar.style.height = `${Math.round((names(d).length / Math.max(1, d.measurements.n_features)) * 100)}%`;
    const text = `${day(d.decided_at.slice(0, 10))}: ${names(d).length} of ${d.measurements.n_features} changed`
      + (names(d).length ? ` (${names(d).join(", ")})` : "") + `. ${outcome(d)}.`;
    return h("li", { title: text }, h("span", { class: "sr" }, text), bar);
  };
  const last = tested.at(-1);
  const changed = names(last), of = last.measurements.n_features, when = day(last.decided_at.slice(0, 10));
  return h("div", { class: "drift" },
    h("p", { class: "small soft" }, changed.length ? `On ${when} ${changed.length} of ${of} had changed: ${changed.join(", ")}.`
      : `On ${when} none of ${of} had changed.`),
    tested.length > 1 && h("ol", { class: "timeline", "aria-label": "How many had changed, decision by decision" }, ...tested.map(column)),
    tested.length > 1 && h("p", { class: "ends soft small", "aria-hidden": "true" },
      h("span", {}, day(tested[0].decided_at.slice(0, 10))), h("span", {}, day(last.decided_at.slice(0, 10)))));
}

function list(decisions) {
  if (!decisions.length) return empty(h("div"), "Nothing has been decided yet: the first check of the model is still to come.");
  const entry = d => h("li", {}, h("time", { datetime: d.decided_at }, day(d.decided_at.slice(0, 10))), h("div", {}, `${GATES[d.gate] ?? d.gate} `,
    h("strong", { class: `outcome ${d.outcome}` }, outcome(d)), meaning(d) && h("p", { class: "soft small" }, `${capital(meaning(d))}.`),
      d.reasons.length > 0 && h("details", {}, h("summary", { "aria-label": `Figures of the decision of ${day(d.decided_at.slice(0, 10))}` }, "Figures"), h("p", { class: "soft small" }, d.reasons.join("; ")))));
  return h("ol", { class: "decisions" }, ...decisions.slice(0, 6).map(entry));
}

const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
