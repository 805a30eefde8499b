// Owns the picture of a migration: six stages on a line, and where the traffic is.

import { h } from "./dom.js";
import { measured, rate, share } from "./format.js";
import { isStopped, tone } from "./parts.js";
import { name } from "./rates.js";

/** What each stage does, in the order of a migration (docs/routes.md). */
const STAGES = [
  ["off", "Legacy serves reads and writes."],
  ["dualwrite", "Legacy serves; writes are copied to modern."],
  ["shadow", "Legacy serves; writes are copied to modern, reads compared."],
  ["live", "Modern serves; writes are copied to legacy, reads compared."],
  ["rampdown", "Modern serves; writes are copied to legacy."],
  ["complete", "Modern serves reads and writes; legacy can go."],
];
/** The first stage that modern serves. */
const MODERN_FROM = 3;

/** Whether a flag's variants are the stages. */
export const isMigration = (flag) => flag.migration;

/** The part of users that the flag's split, or else its default, gives a variant. */
export function configured(flag, variant) {
  if (isStopped(flag)) return 0;
  if (variant.share !== null) return variant.share;
  return flag.variants.every((other) => other.share === null) && variant.name === flag.default_variant ? 1 : 0;
}

/** The legs of a flag over all its routes. */
export const legs = (flag, status) => status.routes.filter((route) => route.flag === flag.key).flatMap((route) => route.legs.map((leg) => ({ ...leg, route: route.name })));

/** Which upstreams serve each side. */
export function sides(flag, status) {
  const of = (side) => [...new Set(legs(flag, status).filter((leg) => leg.variant && tone(flag, leg.variant) === side).map((leg) => leg.upstream))];
  return { legacy: of("legacy"), modern: of("modern") };
}

/** The measured parts of the traffic of legacy and modern; null where there is none. */
export function served(flag, status, rates) {
  const all = rates.events(name("flag", flag.key, "requests"));
  if (all === 0) return null;
  const ends = sides(flag, status);
  const seen = new Set();
  let modern = 0;
  for (const leg of legs(flag, status)) {
    const counter = name("side", flag.key, leg.variant, leg.upstream, "requests");
    const isModern = leg.variant && leg.variant !== "fallback" ? tone(flag, leg.variant) === "modern" : ends.modern.includes(leg.upstream) && !ends.legacy.includes(leg.upstream);
    if (isModern && !seen.has(counter)) modern += rates.events(counter);
    seen.add(counter);
  }
  return { legacy: 1 - modern / all, modern: modern / all };
}

/** Draws the stages; a disc's area is the measured part of the traffic, the number above it what the rules say. */
export function track(flag, status, rates) {
  const all = rates.events(name("flag", flag.key, "requests"));
  const ends = sides(flag, status);
  return h(
    "div",
    { class: `track ${isStopped(flag) ? "stopped" : ""}` },
    h("div", { class: "shore legacy" }, h("b", {}, "legacy serves"), ends.legacy.length > 0 && h("span", {}, ends.legacy.join(", "))),
    h("div", { class: "shore modern" }, h("b", {}, "modern serves"), ends.modern.length > 0 && h("span", {}, ends.modern.join(", "))),
    h(
      "ol",
      { class: "stages", "aria-label": `Stages of ${flag.key}` },
      STAGES.map(([stage, meaning], at) => station(flag, stage, meaning, at >= MODERN_FROM ? "modern" : "legacy", rates, all)),
    ),
  );
}

function station(flag, stage, meaning, side, rates, all) {
  const variant = flag.variants.find((known) => known.name === stage);
  const ruled = variant ? configured(flag, variant) : 0;
  const seen = all > 0 && variant ? rates.events(name("variant", flag.key, stage)) / all : null;
  const drawn = seen ?? ruled;
  const here = ruled > 0 || drawn > 0;
  return h(
    "li",
    { class: `stage ${side} ${here ? "here" : ""}`, title: meaning, key: stage },
    h("span", { class: "stage-share" }, here ? share(ruled) : ""),
    h("span", { class: "disc", vars: { "--size": Math.sqrt(Math.min(drawn, 1)).toFixed(3) } }),
    h("span", { class: "stage-name" }, stage),
    h("span", { class: "stage-seen" }, here ? (seen === null ? "no traffic" : [measured(Math.min(seen, 1)), " · ", rate(rates.rate(name("variant", flag.key, stage)))].join("")) : ""),
  );
}
