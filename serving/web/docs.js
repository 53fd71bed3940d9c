// The documentation of the API, drawn from its own openapi.json.

import { authorization, remember } from "./api.js";

let spec, known = [];
const el = (tag, attributes = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children.filter(c => c !== null && c !== undefined));
  return node;
};
const schemaName = s => s.$ref.split("/").pop();
const resolve = s => s && s.$ref ? spec.components.schemas[schemaName(s)] : s || {};

// A type in words: "list of Series, 1 to 1000 entries".
function typeOf(s) {
  if (!s) return "";
  if (s.$ref) return schemaName(s);
  if (s.anyOf) return s.anyOf.map(typeOf).join(" or ");
  if (s.enum) return s.enum.map(v => JSON.stringify(v)).join(" or ");
  const range = (low, high, unit) => low === undefined && high === undefined ? ""
    : `, ${low ?? 0} to ${high ?? "any"}${unit}`;
  if (s.type === "array") return `list of ${typeOf(s.items)}${range(s.minItems, s.maxItems, " entries")}`;
  if (s.type === "object" && s.additionalProperties) return `map of text to ${typeOf(s.additionalProperties)}`;
  const name = { string: "text", null: "null" }[s.type] ?? s.type ?? "any";
  return (s.format ?? name) + range(s.minLength, s.maxLength, " characters")
    + range(s.minimum ?? s.exclusiveMinimum, s.maximum ?? s.exclusiveMaximum, "");
}

function row(name, s, required) {
  const fallback = "default" in s && s.default !== null ? "default " + JSON.stringify(s.default) : "";
  const notes = [s.description, required ? "required" : fallback].filter(Boolean).join(" · ");
  return el("tr", {}, el("td", {}, el("code", {}, name)), el("td", {}, typeOf(s)), el("td", {}, notes));
}

// The fields of a type and of every type inside it, each named once.
function fields(s, seen = new Set()) {
  const out = [];
  const visit = t => {
    if (!t.$ref)
      return [t.items, t.additionalProperties, ...(t.anyOf ?? [])].forEach(x => x?.constructor === Object && visit(x));
    const name = schemaName(t);
    if (seen.has(name)) return;
    seen.add(name);
    const full = resolve(t), body = el("tbody");
    for (const [key, p] of Object.entries(full.properties ?? {}))
      body.append(row(key, p, (full.required ?? []).includes(key)));
    out.push(el("h3", {}, name), el("p", { className: "muted" }, full.description ?? ""), el("table", {}, body));
    Object.values(full.properties ?? {}).forEach(visit);
  };
  visit(s);
  return out;
}

async function send(method, path, inputs, body, out) {
  const query = new URLSearchParams();
  let url = path.slice(1);
  for (const [name, input] of Object.entries(inputs))
    if (url.includes(`{${name}}`)) url = url.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(name, input.value);
  url += String(query) ? "?" + query : "";
  out.replaceChildren("…");
  const started = performance.now();
  try {
    const headers = { ...authorization(), ...(body && { "Content-Type": "application/json" }) };
    const answer = await fetch(url, { method: method.toUpperCase(), body: body?.value, headers });
    const text = await answer.text(), ms = Math.round(performance.now() - started);
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it came */ }
    const status = el("p", { className: answer.ok ? "ok" : "bad" }, `${answer.status} in ${ms} ms`);
    out.replaceChildren(status, el("pre", {}, shown));
  } catch (error) {
    out.replaceChildren(el("p", { className: "bad" }, `No answer: ${error.message}`));
  }
}

// The documented example with a series that is there, so that sending it answers.
function example(s) {
  const body = { ...resolve(s).examples?.[0] };
  if (body.series && known.length) body.series = known;
  return JSON.stringify(body, null, 1);
}

function route(path, method, op) {
  const bodySchema = op.requestBody?.content?.["application/json"]?.schema;
  const answers = el("tbody"), inputs = {}, box = el("div"), out = el("div");
  for (const [status, answer] of Object.entries(op.responses)) {
    const content = Object.entries(answer.content ?? {})[0];
    answers.append(el("tr", {}, el("td", {}, el("code", {}, status)), el("td", {}, answer.description),
      el("td", {}, content ? `${typeOf(content[1].schema)} (${content[0]})` : "")));
  }
  box.append(el("p", {}, op.description ?? ""));
  if (op.parameters) box.append(el("h3", {}, "Parameters"), el("table", {}, el("tbody", {},
    ...op.parameters.map(p => row(p.name, { description: p.description, ...p.schema }, p.required)))));
  if (bodySchema) box.append(el("h3", {}, "Body"), ...fields(bodySchema));
  box.append(el("h3", {}, "Answers"), el("table", {}, answers));
  const [, success] = Object.entries(op.responses).find(([status]) => status.startsWith("2")) ?? [];
  const good = success?.content?.["application/json"]?.schema;
  if (good) box.append(el("details", {}, el("summary", {}, "Fields of the answer"), el("div", {}, ...fields(good))));
  box.append(el("h3", {}, "Try it"));
  for (const p of op.parameters ?? []) {
    const value = p.in === "path" ? known[0]?.[p.name] ?? p.example ?? p.schema.examples?.[0] ?? "" : "";
    inputs[p.name] = el("input", { name: p.name, value, placeholder: String(p.schema.default ?? "") });
    box.append(el("label", {}, el("code", {}, p.name), inputs[p.name]));
  }
  const body = bodySchema ? el("textarea", { spellcheck: false, value: example(bodySchema) }) : null;
  if (body) box.append(body);
  box.append(el("button", { type: "button", onclick: () => send(method, path, inputs, body, out) }, "Send"), out);
  return el("details", { id: op.operationId }, el("summary", {},
    el("span", { className: "verb" }, method.toUpperCase()), el("code", {}, path),
    el("span", { className: "muted" }, " " + (op.summary ?? ""))), box);
}

// The key of this tab, for "Send"; the planner's page asks for the same one.
function keyField() {
  const input = el("input", { id: "key", type: "password", autocomplete: "off" });
  input.addEventListener("change", () => remember(input.value.trim()));
  return el("label", { htmlFor: "key" }, "API key, if this server asks for one: ", input);
}

async function start() {
  spec = await (await fetch("openapi.json")).json();
  const page = await fetch("v1/series?limit=1", { headers: authorization() });
  if (page.ok) known = (await page.json()).series;
  document.getElementById("title").textContent = spec.info.title;
  document.getElementById("about").replaceChildren(spec.info.description + " ",
    el("a", { href: "openapi.json" }, "openapi.json"), keyField());
  const main = document.getElementById("routes");
  for (const [path, methods] of Object.entries(spec.paths))
    for (const [method, op] of Object.entries(methods)) main.append(route(path, method, op));
  main.append(el("h2", {}, "Problems"), ...fields({ $ref: "#/components/schemas/Problem" }));
  main.querySelector("details").open = true;
}
start().catch(error => {
  document.getElementById("about").textContent = `openapi.json could not be read: ${error.message}`;
});
