// The search box: a list of series that narrows while typing; arrow keys, Enter, Escape.

import { $, fill, h } from "./dom.js";
import { item } from "./format.js";

const SHOWN = 40;

/** How well the words fit, 0 is best: each in a part of its own; null when one fits nowhere. */
function rank(words, parts) {
  const left = [...parts];
  let sum = 0;
  for (const word of words) {
    const fits = [p => p === word, p => p.startsWith(word), p => p.includes(word)];
    const how = fits.findIndex(fit => left.some(fit));
    if (how < 0) return null;
    left.splice(left.findIndex(fits[how]), 1);
    sum += how;
  }
  return sum;
}

/** Finds among the series given to `know`; calls `choose` with the one that is taken. */
export function searchBox(choose) {
  const box = $("find"), list = $("found");
  let known = [], matches = [], active = -1, complete = false, problem = null;

  /** Takes the series that were read so far, whether these are all, and what kept the rest from being read. */
  function know(series, done, error = null) {
    known = series.map(key => ({ key, parts: `store ${key.store_id} ${key.item_id}${key.cold ? " borrowed" : ""}`.toLowerCase().split(/\s+/) }));
    complete = done;
    problem = error;
    if (!list.hidden) show();
  }

  function show() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = known.map(({ key, parts }) => ({ key, rank: rank(words, parts), size: parts.length })).filter(m => m.rank !== null);
    const total = found.length;
    // Of those that fit alike, "grocery" before "frozen grocery", and the borrowed last.
    matches = found.sort((a, b) => a.rank - b.rank || a.size - b.size).slice(0, SHOWN);
    active = words.length && matches.length ? 0 : -1;
    fill(list, ...matches.map(option), note(total));
    open(true);
  }

  function option({ key }, i) {
    return h("li", { id: `found-${i}`, role: "option", "aria-selected": String(i === active),
      onpointerdown: event => { event.preventDefault(); take(i); } },
    h("span", {}, `Store ${key.store_id}`), h("span", { class: "soft" }, item(key.item_id), key.cold && h("em", { class: "tag" }, "borrowed")));
  }

  function note(total) {
    const text = problem ? `Not every series could be read. ${problem.message} Reload the page to try again.`
      : total > SHOWN ? `${total - SHOWN} more: type to narrow`
      : total ? null : complete ? `No series matches “${box.value}”.` : "Reading the series …";
    return text && h("li", { class: "note", role: "option", "aria-disabled": "true" }, text);
  }

  function open(yes) {
    list.hidden = !yes;
    box.setAttribute("aria-expanded", String(yes));
    mark(yes ? active : -1);
  }

  function mark(i) {
    list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
    active = i;
    const node = $(`found-${i}`);
    node?.setAttribute("aria-selected", "true");
    node?.scrollIntoView({ block: "nearest" });
    if (node) box.setAttribute("aria-activedescendant", node.id);
    else box.removeAttribute("aria-activedescendant");
  }

  function take(i) {
    if (!matches[i]) return;
    box.value = "";
    open(false);
    choose(matches[i].key);
  }

  box.addEventListener("input", show);
  box.addEventListener("focus", show);
  box.addEventListener("blur", () => open(false));
  box.addEventListener("keydown", event => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && list.hidden) show();
    else if (step) mark((active + step + matches.length) % Math.max(1, matches.length));
    else if (event.key === "Enter" && !list.hidden) take(Math.max(0, active));
    else if (event.key === "Escape") open(false);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", event => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName);
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    box.focus();
  });
  return { know };
}
