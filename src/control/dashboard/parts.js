// Owns the small things that several panels show: chips, sparklines, bars, explanations of what is in force.

import { ago, clock, moment } from "./format.js";
import { h, svg } from "./dom.js";

const WIDTH = 72;
const HEIGHT = 18;

/** Draws rates over time; it says nothing that the number beside it does not say. */
export function sparkline(points, tone) {
  const most = Math.max(...points, 0.001);
  const step = WIDTH / Math.max(points.length - 1, 1);
  const at = points.map((point, index) => `${(index * step).toFixed(1)},${(HEIGHT - 1.5 - (point / most) * (HEIGHT - 4)).toFixed(1)}`);
  const line = points.length < 2 ? "" : `M${at.join("L")}`;
  return svg(
    "svg",
    { class: `spark ${tone ?? ""}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "area", d: line && `${line}L${WIDTH},${HEIGHT}L0,${HEIGHT}Z` }),
    svg("path", { class: "line", d: line, "vector-effect": "non-scaling-stroke" }),
  );
}

/** A word in a frame. */
export const chip = (text, tone, title) => h("span", { class: `chip ${tone ?? ""}`, title }, text);

/** A bar of parts of 1; `label` says the same in words. */
export function bar(segments, label) {
  return h(
    "div",
    { class: "balance", role: "img", "aria-label": label },
    segments.filter((segment) => segment.part > 0).map((segment) => h("span", { class: `part ${segment.tone}`, key: segment.name, vars: { "--part": segment.part } })),
  );
}

/** A moment as people say it, with the exact one for those who point at it. */
export const when = (unixMs, now) => h("time", { title: moment(unixMs) }, ago(unixMs, now));

/** Text in which `words` between back quotes are set as code, as the router writes them. */
export const prose = (text) => text.split("`").map((part, at) => (at % 2 === 1 ? h("code", {}, part) : part));

/** A button. */
export const button = (text, onclick, props) => h("button", { type: "button", onclick, ...props }, text);

/** A panel with a heading. */
export function panel(id, title, aside, ...children) {
  return h(
    "section",
    { class: "panel", id, key: id, "aria-labelledby": `${id}-title` },
    h("header", { class: "panel-head" }, h("h2", { id: `${id}-title` }, title), aside && h("div", { class: "panel-aside" }, aside)),
    children,
  );
}

const LEGACY = new Set(["legacy", "off", "dualwrite", "shadow"]);
const MODERN = new Set(["modern", "live", "rampdown", "complete"]);
/** Colours of variants that belong to no side. */
const HUES = 4;

/** The colour of a variant: of its side, or one of its own. */
export function tone(flag, variant) {
  if (LEGACY.has(variant)) return "legacy";
  if (MODERN.has(variant)) return "modern";
  const at = flag.variants.findIndex((known) => known.name === variant);
  return at < 0 ? "fallback" : `hue-${at % HUES}`;
}

const SOURCES = {
  disabled: { text: "Disabled in the file: everybody gets the fallback", tone: "warn" },
  split: { text: "Share set", tone: "over" },
  pin: { text: "Pinned for some", tone: "over" },
  kill: { text: "Killed: everybody gets the fallback", tone: "bad" },
  kill_all: { text: "Every flag is killed: everybody gets the fallback", tone: "bad" },
  break_glass: { text: "Killed by break glass: everybody gets the fallback", tone: "bad" },
};

/** What of a source is not known here is shown as it is. */
export function source(flag) {
  const { source: from } = flag.in_force;
  if (from === "file") return { text: flag.at_rest ? "At rest, by the file" : "Under way, by the file" };
  return SOURCES[from] ?? { text: from, tone: "over" };
}

/** Whether everybody gets the flag's fallback. */
export const isStopped = (flag) => ["disabled", "kill", "kill_all", "break_glass"].includes(flag.in_force.source);

/** Says what is in force for a flag, and who wanted it, why, since when and until when. */
export function inForce(flag, now) {
  const { who, why, since_unix_ms: since, until_unix_ms: until } = flag.in_force;
  const { text, tone } = source(flag);
  const ends = until && until > now ? ` · until ${clock(until)}` : "";
  return h(
    "p",
    { class: `in-force ${tone}` },
    h("strong", {}, text),
    who && h("span", {}, " by ", h("b", {}, who)),
    why && h("q", {}, why),
    since && h("span", { class: "quiet" }, when(since, now), ends),
  );
}
