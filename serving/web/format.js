// Numbers and days in words. Days are business days without a time zone.

const round = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const fixed = new Intl.NumberFormat("en-GB", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const date = options => new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" });
const long = date({ day: "numeric", month: "short", year: "numeric" });
const short = date({ day: "numeric", month: "short" });
const named = date({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const month = date({ month: "short" });

export const NONE = "–";
const known = value => value !== null && value !== undefined && Number.isFinite(Number(value));

/** 1,234 or 3.4: a decimal only where it says something. */
export const number = v => !known(v) ? NONE : (Math.abs(v) < 10 ? tenth : round).format(v);
/** Without decimals, or with one, in any case: for columns, whose points then stand below each other. */
export const whole = v => known(v) ? round.format(v) : NONE;
export const decimal = v => known(v) ? fixed.format(v) : NONE;
export const units = v => known(v) ? `${number(v)} ${number(v) === "1" ? "unit" : "units"}` : NONE;
export const signed = (v, text = number) =>
  !known(v) ? NONE : /[1-9]/.test(text(v)) ? (v > 0 ? "+" : "−") + text(Math.abs(v)) : text(0);
export const percent = (share, digits = 0) => !known(share) ? NONE
  : `${(share * 100).toFixed(digits).replace("-", "−")} %`;
export const signedPercent = share => (known(share) && share > 0 ? "+" : "") + percent(share);
export const money = (v, currency = "$") => !known(v) ? NONE
  : `${currency}${(Math.abs(v) < 10 ? tenth : round).format(v)}`;

const instant = ds => new Date(`${ds}T00:00:00Z`);
export const day = ds => ds ? long.format(instant(ds)) : NONE;
export const dayShort = ds => short.format(instant(ds));
export const dayNamed = ds => named.format(instant(ds));
export const monthOf = ds => month.format(instant(ds));
export const moment = iso => iso ? `${long.format(new Date(iso))}, ${iso.slice(11, 16)} UTC` : NONE;
export const weekday = ds => instant(ds).getUTCDay();
export const addDays = (ds, n) =>
  new Date(instant(ds).getTime() + n * 86400000).toISOString().slice(0, 10);
/** What a row of a series is of, from the days between two rows. */
export const stepName = days => days === 7 ? "week" : "day";
export const daysBetween = (from, to) => Math.round((instant(to) - instant(from)) / 86400000);

const spoken = word => /^[A-Z][A-Z &/'.-]+$/.test(word) ? word.charAt(0) + word.slice(1).toLowerCase() : word;
/** "GROCERY|FLUID MILK" as "Grocery · Fluid milk": departments and categories come in capitals. */
export const item = id => id.split("|").map(spoken).join(" · ");
/** What a series without a history was lent, in words: the server's own, "analogues: GROCERY in stores 3, 4". */
export const lender = method => {
  const [, of] = /^analogues: (.*)$/.exec(method ?? "") ?? [];
  return of?.replace(/^.*?(?= in stores? )/, names => names.split(", ").map(item).join(", "));
};

/** How a model forecasts, in words. */
const METHODS = {
  lightgbm: "learnt from sales, promotions and prices (LightGBM)",
  "seasonal naive": "repeats the last week that was known (seasonal naive)", naive: "repeats the last week that was known (naive)",
};
export const methodNamed = method => METHODS[method] ?? method ?? NONE;

export const series = key => `Store ${key.store_id} · ${item(key.item_id)}`;
