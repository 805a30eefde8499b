// Owns a flag's card: what is in force and why, where the traffic is, how each side does, and the buttons.

import { h } from "./dom.js";
import { clock, count, date, measured, ms, rate, share } from "./format.js";
import { bar, button, chip, inForce, isStopped, panel, prose, source, sparkline, tone } from "./parts.js";
import { name } from "./rates.js";
import { configured, isMigration, legs, served, track } from "./track.js";

/** Cards that are shown before somebody asks for more: a page of 10,000 helps nobody. */
const SHOWN_MAX = 40;

/** Shows the flags: what is stopped or overridden first, then what moves, then what is at rest. */
export function flags(state, act) {
  const { status, find } = state;
  const kinds = Object.entries(KINDS).map(([kind, fits]) => [kind, status.flags.filter(fits).length]);
  const wanted = status.flags.filter((flag) => KINDS[state.kind](flag) && matches(flag, find)).sort((one, other) => urgency(one) - urgency(other) || (one.key < other.key ? -1 : 1));
  const shown = state.all ? wanted : wanted.slice(0, SHOWN_MAX);
  const kind = h(
    "select",
    { class: "kind", "aria-label": "Which flags to show", onchange: (event) => act.kind(event.target.value) },
    kinds.map(([name, number]) => h("option", { value: name, key: name }, `${name} (${count(number)})`)),
  );
  const search = h("input", { type: "search", placeholder: "Find a flag, owner or route", "aria-label": "Find a flag, owner or route", oninput: (event) => act.find(event.target.value) });
  return panel(
    "flags",
    "Flags",
    [kind, search],
    shown.map((flag) => card(flag, state, act)),
    wanted.length === 0 && h("p", { class: "empty" }, status.flags.length === 0 ? "There is no flag yet. Flags are files: write one into the flags directory and it appears here." : "No flag is like that."),
    wanted.length > shown.length && button(`Show all ${count(wanted.length)}`, act.showAll, { class: "wide" }),
  );
}

/** What one may look for among many flags. */
const KINDS = {
  "All flags": () => true,
  "Under way": (flag) => !flag.at_rest && !isStopped(flag),
  "At rest": (flag) => flag.at_rest,
  Overridden: (flag) => flag.in_force.source !== "file" && flag.in_force.source !== "disabled",
  Stopped: isStopped,
  Stale: (flag) => flag.stale.length > 0,
};

function matches(flag, find) {
  const text = [flag.key, flag.owner, ...flag.routes].join("\n").toLowerCase();
  return text.includes(find.trim().toLowerCase());
}

function urgency(flag) {
  if (flag.in_force.source !== "file" && flag.in_force.source !== "disabled") return 0;
  if (!flag.at_rest && !isStopped(flag)) return 1;
  return flag.stale.length > 0 ? 2 : 3;
}

function card(flag, state, act) {
  const { status, rates } = state;
  return h(
    "article",
    { class: `card ${source(flag).tone ?? ""} ${flag.at_rest ? "rest" : ""}`, key: flag.key, "aria-label": `Flag ${flag.key}` },
    h("header", { class: "card-head" }, h("div", { class: "card-title" }, h("h3", {}, flag.key), about(flag, status.now_unix_ms)), buttons(flag, state, act)),
    source(flag).tone && inForce(flag, status.now_unix_ms),
    flag.stale.length > 0 && h("ul", { class: "stale" }, flag.stale.map((finding) => h("li", { key: finding.code }, prose(finding.text)))),
    isMigration(flag) && track(flag, status, rates),
    balance(flag, status, rates),
    sideTable(flag, status, rates),
    pins(flag, state, act),
  );
}

function about(flag, now) {
  return h(
    "p",
    { class: "about" },
    !source(flag).tone && h("span", {}, source(flag).text),
    flag.owner ? h("span", {}, flag.owner) : h("span", { class: "warn-text" }, "no owner"),
    flag.expires && h("span", { class: flag.expired ? "warn-text" : "" }, `${flag.expired ? "expired" : "expires"} ${date(flag.expires, now)}`),
    h("span", {}, flag.routes.length === 0 ? "no route uses it" : `${flag.routes.length === 1 ? "route" : "routes"} ${flag.routes.slice(0, 5).join(", ")}${flag.routes.length > 5 ? " …" : ""}`),
    flag.last_evaluated_unix_ms && now - flag.last_evaluated_unix_ms > 60_000 && h("span", {}, `last asked ${clock(flag.last_evaluated_unix_ms)}`),
  );
}

/** The button of the kill stays the same element when it becomes the one that revives, so that focus stays with it. */
function buttons(flag, state, act) {
  const { source: from } = flag.in_force;
  const label = { "aria-haspopup": "dialog" };
  return h(
    "div",
    { class: "buttons" },
    button("History", () => act.history(flag.key), { class: "plain", "aria-label": `History of ${flag.key}` }),
    from === "split" && button("Back to the file", () => act.unset(flag), { ...label, key: "unset" }),
    flag.variants.length > 1 && button("Share…", () => act.share(flag), { ...label, key: "share", "aria-label": `Share of ${flag.key}…` }),
    from === "kill"
      ? button("Revive…", () => act.revive(flag), { ...label, key: "kill", class: "good", "aria-label": `Revive ${flag.key}…` })
      : button("Kill…", () => act.kill(flag), { ...label, key: "kill", class: "danger", "aria-label": `Kill ${flag.key}…` }),
  );
}

/** Who serves: measured where there is traffic, else as the rules say. */
function balance(flag, status, rates) {
  const segments = isMigration(flag) ? bySide(flag, status, rates) : byVariant(flag, rates);
  const total = rates.events(name("flag", flag.key, "requests"));
  const spoken = segments.filter((segment) => segment.part > 0).map((segment) => `${segment.name} ${measured(segment.part)}`);
  if (spoken.length === 0) return null;
  return h(
    "div",
    { class: "served" },
    bar(segments, `Served by ${spoken.join(", ")}`),
    h(
      "p",
      { class: "served-words" },
      segments.filter((segment) => segment.part > 0 || segment.ruled > 0).map(words),
      h("span", { class: "quiet" }, total > 0 ? `of ${rate(rates.rate(name("flag", flag.key, "requests")))}, last 30 s` : "by the rules; no traffic yet"),
    ),
  );
}

/** One part in words: what the rules give it where they do, and what was measured. */
function words({ name, tone: hue, part, ruled, file }) {
  const seen = ruled === undefined ? null : `measured ${measured(part)}`;
  return h(
    "span",
    { key: name },
    h("i", { class: `dot ${hue}` }),
    `${name} `,
    h("b", {}, ruled === undefined ? measured(part) : share(ruled)),
    seen && h("span", { class: "quiet" }, ` ${seen}`),
    file !== undefined && h("span", { class: "quiet" }, `, file ${share(file)}`),
  );
}

function bySide(flag, status, rates) {
  let parts = served(flag, status, rates);
  if (!parts) {
    const modern = flag.variants.filter((variant) => tone(flag, variant.name) === "modern").reduce((sum, variant) => sum + configured(flag, variant), 0);
    parts = { legacy: 1 - modern, modern };
  }
  return ["legacy", "modern"].map((side) => ({ name: side, tone: side, part: parts[side] }));
}

function byVariant(flag, rates) {
  const all = rates.events(name("flag", flag.key, "requests"));
  const segments = flag.variants.map((variant) => ({
    name: variant.name,
    tone: tone(flag, variant.name),
    part: all > 0 ? Math.min(1, rates.events(name("variant", flag.key, variant.name)) / all) : configured(flag, variant),
    ...ruled(flag, variant, all),
  }));
  const rest = 1 - segments.reduce((sum, segment) => sum + segment.part, 0);
  return rest > 0.0005 ? [...segments, { name: "fallback", tone: "fallback", part: rest }] : segments;
}

/** What the split in force gives a variant, and the file where that differs; nothing while the flag is stopped. */
function ruled(flag, { share: given, file_share: file }, all) {
  if (given === null || isStopped(flag)) return {};
  return { ...(all > 0 ? { ruled: given } : {}), ...(file !== null && file !== given ? { file } : {}) };
}

/** Errors and latency of what served, leg by leg. */
function sideTable(flag, status, rates) {
  const rows = legs(flag, status).filter((leg) => leg.requests > 0);
  if (rows.length === 0) return null;
  const severalRoutes = flag.routes.length > 1;
  return h(
    "table",
    { class: "sides" },
    h("caption", { class: "hidden" }, `How the sides of ${flag.key} do`),
    h("thead", {}, h("tr", {}, ["Served by", "Requests", "Errors", "p50", "p99"].map((head) => h("th", { scope: "col", key: head }, head)))),
    h("tbody", {}, rows.map((leg) => row(flag, leg, rates, severalRoutes))),
  );
}

function row(flag, leg, rates, severalRoutes) {
  const counter = name("leg", leg.route, leg.variant, leg.upstream);
  const hue = leg.variant ? tone(flag, leg.variant) : "fallback";
  const errors = rates.part(`${counter}\nerrors`, `${counter}\nrequests`);
  return h(
    "tr",
    { key: counter },
    h("th", { scope: "row" }, h("i", { class: `dot ${hue}` }), h("span", { class: "name" }, leg.variant ?? "fallback"), h("span", { class: "to" }, `→ ${leg.upstream}`), severalRoutes && h("span", { class: "quiet" }, leg.route)),
    h("td", {}, sparkline(rates.series(`${counter}\nrequests`), hue), h("span", { class: "number" }, rate(rates.rate(`${counter}\nrequests`)))),
    h("td", { class: errors > 0.01 ? "bad-text" : "", title: `${count(leg.errors)} of ${count(leg.requests)} since the start` }, measured(errors)),
    h("td", {}, ms(leg.p50_ms)),
    h("td", {}, ms(leg.p99_ms)),
  );
}

function pins(flag, state, act) {
  const given = state.status.overrides?.flags?.[flag.key]?.pins ?? [];
  if (given.length === 0) return null;
  return h(
    "ul",
    { class: "pins", "aria-label": `Pins of ${flag.key}` },
    given.map((pin) =>
      h(
        "li",
        { key: `${pin.attribute}=${pin.value}` },
        chip("pin", "over"),
        h("code", {}, `${pin.attribute}=${pin.value}`),
        ` gets `,
        h("b", {}, pin.variant),
        h("span", { class: "quiet" }, ` ${pin.note.who}: ${pin.note.why ?? ""}`),
        button("Unpin…", () => act.unpin(flag, pin), { class: "plain", "aria-haspopup": "dialog" }),
      ),
    ),
  );
}
