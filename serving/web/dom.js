// Making elements. Text only ever becomes a text node: no data is parsed as HTML anywhere.

const SVG = "http://www.w3.org/2000/svg";

export const $ = id => document.getElementById(id);

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return node;
}

/** An HTML element: attributes, `onclick`-like listeners, children (text or nodes). */
export const h = (tag, attributes = {}, ...children) =>
  build(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const s = (tag, attributes = {}, ...children) =>
  build(document.createElementNS(SVG, tag), attributes, children);

export const fill = (node, ...children) => {
  node.replaceChildren(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  node.removeAttribute("aria-busy");
  return node;
};

/** Grey bars where something is about to be. */
export function loading(node, lines = 3) {
  fill(node, h("div", { class: "skeleton" }, ...Array.from({ length: lines }, () => h("span"))));
  node.setAttribute("aria-busy", "true");
}

export const empty = (node, text) => fill(node, h("p", { class: "empty" }, text));

/** What went wrong in the server's own words, and a way to try again. */
export function failed(node, error, retry) {
  const again = retry && h("button", { type: "button", onclick: retry }, "Try again");
  fill(node, h("div", { class: "failed", role: "alert" },
    h("p", {}, h("strong", {}, error.title ?? "This did not work. "), " ", error.message), again));
}

/** Calls `work` once, `wait` milliseconds after the last of many calls. */
export function settled(work, wait = 180) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), wait);
  };
}

/** A table from columns [{name, text: row => text, number}] and rows; the first column heads the row. */
export function table(caption, columns, rows, mark = () => null) {
  const cell = (column, row, i) => h(i === 0 ? "th" : "td",
    { scope: i === 0 ? "row" : null, class: column.number ? "number" : null }, column.text(row));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "sr" }, caption),
      h("thead", {}, h("tr", {}, ...columns.map(c =>
        h("th", { scope: "col", class: c.number ? "number" : null }, c.name)))),
      h("tbody", {}, ...rows.map(row =>
        h("tr", { class: mark(row) }, ...columns.map((c, i) => cell(c, row, i)))))));
}
