// Owns the history: what changed, who wanted it and why, newest first.

import { get } from "./api.js";
import { h } from "./dom.js";
import { ago, count } from "./format.js";
import { button, chip, panel } from "./parts.js";

/** Entries a page. */
const PAGE = 20;
const TONES = { kill: "bad", "kill-all": "bad", reject: "bad", set: "over", pin: "over", restore: "over", hold: "warn", expire: "warn", publish: "good", revive: "good", "revive-all": "good" };

/** Pages of the history, of one flag or of all. */
export class History {
  entries = [];
  next = null;
  flag = null;

  /** Looks for what is new; older pages that were asked for stay. */
  async refresh() {
    const { entries, next } = await get(`history?limit=${PAGE}${this.filter()}`);
    const oldest = entries.at(-1)?.number ?? 0;
    const older = this.entries.filter((entry) => entry.number < oldest);
    if (older.length === 0) this.next = next;
    this.entries = [...entries, ...older];
  }

  /** Asks for the page before the oldest entry. */
  async older() {
    const { entries, next } = await get(`history?limit=${PAGE}&before=${this.next}${this.filter()}`);
    const known = new Set(this.entries.map((entry) => entry.number));
    this.entries = [...this.entries, ...entries.filter((entry) => !known.has(entry.number))];
    this.next = next;
  }

  /** Shows one flag's entries only, or all of them for null. */
  only(flag) {
    Object.assign(this, { flag, entries: [], next: null });
  }

  filter() {
    return this.flag === null ? "" : `&flag=${encodeURIComponent(this.flag)}`;
  }
}

/** Shows the history. */
export function history(state, act) {
  const { entries, next, flag } = state.history;
  return panel(
    "history",
    "History",
    flag !== null && button(`${flag} only ✕`, () => act.history(null), { class: "plain", "aria-label": `Only ${flag} is shown; show all` }),
    entries.length === 0 && h("p", { class: "empty" }, "Nothing has happened yet."),
    h("ol", { class: "entries" }, runs(entries).map((run) => shown(run, state.status.now_unix_ms))),
    next !== null && next !== undefined && button("Older", act.older, { class: "wide" }),
  );
}

/** Names that resolve anew say the same over and over; such a row of entries is shown as its newest, with their number. */
function runs(entries) {
  const runs = [];
  for (const entry of entries) {
    const last = runs.at(-1);
    if (entry.action === "addresses" && last?.entry.action === "addresses") last.length += 1;
    else runs.push({ entry, length: 1 });
  }
  return runs;
}

function shown({ entry, length }, now) {
  const then = Date.parse(entry.time);
  return h(
    "li",
    { key: String(entry.number), class: "entry" },
    h("div", { class: "entry-head" }, chip(entry.action, TONES[entry.action] ?? ""), length > 1 && h("span", { class: "quiet" }, `${length} times`), entry.flag && h("b", {}, entry.flag), h("time", { class: "quiet", datetime: entry.time, title: entry.time }, ago(then, now))),
    (entry.why || entry.who) && h("p", {}, entry.who && h("span", {}, entry.who), entry.who && entry.why && ": ", entry.why && h("q", {}, entry.why)),
    details(entry),
  );
}

function details(entry) {
  const about = `#${entry.number} · generation ${count(entry.generation)} · ${entry.source}`;
  if (entry.before === undefined && entry.after === undefined) return h("p", { class: "quiet small" }, about);
  const side = (title, value) => [h("dt", {}, title), h("dd", {}, h("pre", {}, value === undefined || value === null ? "nothing" : JSON.stringify(value, null, 1)))];
  return h("details", {}, h("summary", { class: "quiet small" }, about), h("dl", { class: "sides-of-change" }, side("before", entry.before), side("after", entry.after)));
}
