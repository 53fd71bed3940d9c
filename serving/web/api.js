// Talks to the API that anybody can use (see /docs). What it says is turned into what the page shows
// here and nowhere else.

const KEY = "shelfcast-key";

/** An answer that is not a success, in the server's words. */
export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail);
    Object.assign(this, { status, title });
  }
}

export const remember = key => sessionStorage.setItem(KEY, key);

/** The header that the key of this tab makes, if one was given. */
export function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...authorization(), ...options.headers };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Problem(0, "The server does not answer.", "Is it running? Nothing here is up to date.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, said.title ? `${said.title}.` : `Error ${answer.status}.`,
    said.detail ?? "The server gave no reason.");
}

const query = values => {
  const given = Object.entries(values ?? {}).filter(([, v]) => v !== null && v !== undefined && v !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
};
export const get = async (path, values, options) => (await ask(path + query(values), options)).json();
const send = (path, body, options = {}) => ask(path, {
  ...options, method: "POST", body: JSON.stringify(body),
  headers: { "Content-Type": "application/json", ...options.headers },
});
export const post = async (path, body, options) => (await send(path, body, options)).json();
export const postForFile = async (path, body) => (await send(path, body)).blob();

/** Every series, page after page, those with borrowed forecasts marked `cold`; `each` gets what is there so far. */
export async function allSeries(each) {
  const found = [];
  let cursor = null;
  do {
    const page = await get("v1/series", { limit: 1000, cursor });
    const name = key => JSON.stringify([key.store_id, key.item_id]), cold = new Set(page.cold.map(name));
    found.push(...page.series.map(key => ({ ...key, cold: cold.has(name(key)) })));
    cursor = page.next_cursor;
    each(found);
  } while (cursor);
}
