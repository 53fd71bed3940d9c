// Numbers and days in words. Days are business days without a time zone.

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const date = options => new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" });
const long = date({ day: "numeric", month: "short", year: "numeric" });
const short = date({ day: "numeric", month: "short" });
const named = date({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const month = date({ month: "short" });

export const NONE = "–";
const known = value => value !== null && value !== undefined && Number.isFinite(Number(value));

/** 1,234 or 3.4: a decimal only where it says something. */
export const number = v => !known(v) ? NONE : (Math.abs(v) < 10 ? tenth : whole).format(v);
export const units = v => known(v) ? `${number(v)} ${number(v) === "1" ? "unit" : "units"}` : NONE;
export const signed = v => !known(v) ? NONE : /[1-9]/.test(number(v)) ? (v > 0 ? "+" : "−") + number(Math.abs(v)) : "0";
export const percent = (share, digits = 0) => !known(share) ? NONE
  : `${(share * 100).toFixed(digits).replace("-", "−")} %`;
export const signedPercent = share => (known(share) && share > 0 ? "+" : "") + percent(share);
export const money = (v, currency = "$") => !known(v) ? NONE
  : `${currency}${(Math.abs(v) < 10 ? tenth : whole).format(v)}`;

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

/** "GROCERY" as "Grocery": departments come in capitals. */
export const item = id => /^[A-Z][A-Z &/-]+$/.test(id) ? id.charAt(0) + id.slice(1).toLowerCase() : id;
export const series = key => `Store ${key.store_id} · ${item(key.item_id)}`;
