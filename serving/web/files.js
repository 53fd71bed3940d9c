// What is on the screen as a file: CSV made here, Excel by the server.

import { postForFile } from "./api.js";
import { failed, h } from "./dom.js";

// A spreadsheet would run a text that begins like this as a formula.
const safe = v => typeof v === "string" && /^[=+\-@\t\r]/.test(v) ? `'${v}` : v;
const quoted = v => {
  const text = String(safe(v ?? ""));
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export const csv = ({ columns, rows }) =>
  [columns, ...rows].map(row => row.map(quoted).join(",")).join("\r\n") + "\r\n";

function save(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Buttons CSV and Excel; `sheet()` gives {name, columns, rows} of what is shown when pressed. */
export function fileButtons(host, sheet) {
  const note = h("span", { class: "note" });
  const nameOf = ({ name }) => `shelfcast ${name}`.toLowerCase().replace(/[^\w-]+/g, "-");
  async function excel() {
    const one = sheet();
    try {
      save(`${nameOf(one)}.xlsx`, await postForFile("v1/workbooks", { sheets: [one] }));
      note.replaceChildren();
    } catch (error) { failed(note, error, excel); }
  }
  const text = () => {
    const one = sheet();
    save(`${nameOf(one)}.csv`, new Blob(["\ufeff", csv(one)], { type: "text/csv" }));
  };
  const button = (label, work, about) =>
    h("button", { type: "button", class: "quiet", onclick: work, "aria-label": `${label}: ${about}` }, label);
  host.replaceChildren(button("CSV", text, "download what is shown"),
    button("Excel", excel, "download what is shown"), note);
}
