// Owns the panels beside the flags: what is wrong, files, upstreams, routes, copies.

import { h } from "./dom.js";
import { bytes, count, measured, ms, plural, rate, share, span } from "./format.js";
import { button, chip, isStopped, panel, prose, sparkline, when } from "./parts.js";
import { name } from "./rates.js";

/** Routes that are shown before somebody asks for more. */
const ROUTES_MAX = 25;

/** Says in a sentence how things are, and lists what is wrong, worst first. */
export function outlook(state) {
  const { status, rates } = state;
  const { problems } = status;
  const isBad = problems.some((problem) => problem.severity === "error");
  return h(
    "section",
    { class: `outlook ${problems.length === 0 ? "well" : isBad ? "bad" : "warn"}`, "aria-label": "How things are", key: "outlook" },
    h("h1", {}, problems.length === 0 ? "All well." : `${plural(problems.length, "thing")} ${problems.length === 1 ? "needs" : "need"} a look.`, h("span", {}, ` ${sentence(status)}`)),
    h(
      "dl",
      { class: "figures" },
      figure("Requests", rate(rates.rate(name("all", "requests"))), sparkline(rates.series(name("all", "requests")))),
      figure("Errors", measured(rates.part(name("all", "errors"), name("all", "requests"))), sparkline(rates.series(name("all", "errors")), "bad")),
      figure("Generation", count(status.generation), h("span", { class: "quiet" }, reloadWord(status))),
      figure("Up", span(status.now_unix_ms - status.started_unix_ms), h("span", { class: "quiet" }, `${status.version}, buckets ${status.hashing}`)),
    ),
    problems.length > 0 && h("ul", { class: "problems" }, problems.map(problem)),
  );
}

function figure(term, value, more) {
  return h("div", { class: "figure", key: term }, h("dt", {}, term), h("dd", {}, h("b", {}, value), more));
}

function problem(found) {
  return h(
    "li",
    { class: found.severity === "error" ? "bad" : "warn", key: `${found.code} ${found.text}` },
    h("span", { class: "severity" }, found.severity),
    h("div", {}, h("p", {}, prose(found.text)), found.help && h("p", { class: "quiet" }, prose(found.help))),
  );
}

function sentence(status) {
  const stopped = status.flags.filter(isStopped).length;
  const overridden = status.flags.filter((flag) => ["split", "pin"].includes(flag.in_force.source)).length;
  const moving = status.flags.filter((flag) => !flag.at_rest && !isStopped(flag)).length;
  const stale = status.flags.filter((flag) => flag.stale.length > 0).length;
  const words = [
    moving > 0 && `${plural(moving, "flag")} under way`,
    overridden > 0 && `${count(overridden)} overridden`,
    stopped > 0 && `${count(stopped)} stopped`,
    stale > 0 && `${count(stale)} stale`,
  ].filter(Boolean);
  return words.length === 0 ? "Every flag is at rest." : `${words.join(", ")}.`;
}

const VERDICTS = {
  published: ["in force", "good"],
  unchanged: ["in force", "good"],
  none: ["as at the start", ""],
  held: ["held by a restore", "warn"],
  rejected: ["refused", "bad"],
};
const verdict = (status) => VERDICTS[status.reload.last] ?? [status.reload.last, ""];
const reloadWord = (status) => `files ${verdict(status)[0]}`;

/** What became of the files on disk, with the findings as `check` prints them. */
export function files(state, act) {
  const { status } = state;
  const { reload, generation, now_unix_ms: now } = status;
  const [word, hue] = verdict(status);
  return panel(
    "files",
    "Files",
    chip(word, hue),
    h(
      "p",
      {},
      reload.last === "rejected" ? `The files on disk are refused; generation ${count(generation)} stays in force. ` : `Generation ${count(generation)} is in force. `,
      reload.at_unix_ms && h("span", { class: "quiet" }, "Last verdict ", when(reload.at_unix_ms, now), "."),
      reload.stale_s > 0 && h("span", { class: "quiet" }, ` They have differed from it for ${span(reload.stale_s * 1000)}.`),
    ),
    reload.restored !== null && h("p", { class: "in-force over" }, h("strong", {}, `Generation ${count(reload.restored)} is restored and held; files wait.`), button("Release…", act.release, { "aria-haspopup": "dialog" })),
    reload.rendered && findings(reload),
    button("Restore an earlier generation…", act.restore, { class: "plain", "aria-haspopup": "dialog" }),
  );
}

/** What `check` says, letter by letter; open at once where the files are refused. */
function findings({ last, rendered }) {
  const isBad = last === "rejected";
  const text = h("pre", { class: `rendered ${isBad ? "bad" : ""}`, tabindex: "0", "aria-label": "What check says of the files" }, rendered);
  // The last line counts what was found.
  const summary = rendered.trim().split("\n").at(-1);
  return isBad ? text : h("details", { key: "findings" }, h("summary", { class: "quiet" }, `${summary} about the files`), text);
}

/** The upstreams and their endpoints, as health checks and traffic see them. */
export function upstreams(state) {
  const { status, rates } = state;
  return panel(
    "upstreams",
    "Upstreams",
    null,
    status.upstreams.map((upstream) => {
      const counter = name("upstream", upstream.name);
      const errors = rates.part(`${counter}\nerrors`, `${counter}\nrequests`);
      return h(
        "article",
        { class: `upstream ${upstream.all_unhealthy ? "bad" : ""}`, key: upstream.name, "aria-label": `Upstream ${upstream.name}` },
        h("header", {}, h("h3", {}, upstream.name), sparkline(rates.series(`${counter}\nrequests`)), h("b", {}, rate(rates.rate(`${counter}\nrequests`)))),
        h("p", { class: "quiet measures" }, h("span", { class: errors > 0.01 ? "bad-text" : "" }, `errors ${measured(errors)}`), h("span", {}, `p50 ${ms(upstream.p50_ms)}`), h("span", {}, `p99 ${ms(upstream.p99_ms)}`)),
        upstream.all_unhealthy && h("p", { class: "bad-text" }, "No endpoint is in service."),
        h("ul", { class: "endpoints" }, upstream.endpoints.map(endpoint)),
      );
    }),
  );
}

function endpoint(found) {
  const checks = found.checks_passed + found.checks_failed;
  const [word, hue] = found.share >= 1 ? ["in service", "good"] : found.share <= 0 ? ["out of service", "bad"] : [`slow start, ${share(found.share, 0)}`, "warn"];
  return h(
    "li",
    { key: found.address },
    h("i", { class: `dot ${hue}` }),
    h("code", {}, found.address),
    h("span", { class: found.share <= 0 ? "bad-text" : "quiet" }, word),
    checks > 0 && h("span", { class: "quiet" }, found.checks_failed > 0 ? `${count(found.checks_failed)} of ${plural(checks, "check")} failed` : `${plural(checks, "check")} passed`),
  );
}

/** Every route: what it matches, who decides, how it does. */
export function routes(state, act) {
  const { status, rates } = state;
  const busy = (route) => rates.rate(name("route", route.name, "requests")) ?? 0;
  const sorted = [...status.routes].sort((one, other) => busy(other) - busy(one));
  const shown = state.allRoutes ? sorted : sorted.slice(0, ROUTES_MAX);
  // Sorted once a look would make rows jump; the order of the files stays unless there are too many.
  const rows = sorted.length <= ROUTES_MAX ? status.routes : shown;
  return panel(
    "routes",
    "Routes",
    h("span", { class: "quiet" }, plural(status.routes.length, "route")),
    h(
      "table",
      { class: "routes" },
      h("thead", {}, h("tr", {}, ["Route", "Decided by", "Requests", "Errors", "p99"].map((head) => h("th", { scope: "col", key: head }, head)))),
      h("tbody", {}, rows.map((route) => routeRow(route, rates))),
    ),
    sorted.length > rows.length && button(`Show all ${count(sorted.length)}`, act.showAllRoutes, { class: "wide" }),
  );
}

function routeRow(route, rates) {
  const counter = name("route", route.name);
  const errors = rates.part(`${counter}\nerrors`, `${counter}\nrequests`);
  const slowest = route.legs.filter((leg) => leg.p99_ms !== null && leg.p99_ms !== undefined).map((leg) => leg.p99_ms);
  return h(
    "tr",
    { key: route.name },
    h("th", { scope: "row" }, h("span", { class: "name" }, route.name), h("code", { class: "match" }, route.match)),
    h("td", { "data-head": "Decided by" }, route.flag ?? h("span", { class: "quiet" }, [...new Set(route.legs.map((leg) => leg.upstream))].join(", "))),
    h("td", { "data-head": "Requests" }, sparkline(rates.series(`${counter}\nrequests`)), h("span", { class: "number" }, rate(rates.rate(`${counter}\nrequests`)))),
    h("td", { "data-head": "Errors", class: errors > 0.01 ? "bad-text" : "" }, measured(errors)),
    h("td", { "data-head": "p99", title: "of the slowest leg" }, ms(slowest.length > 0 ? Math.max(...slowest) : null)),
  );
}

/** Dual writes: what waits for each destination, and the journal that keeps it. */
export function copies(state) {
  const { copies: found } = state.status;
  if (!found) return null;
  const { journal } = found;
  return panel(
    "copies",
    "Copies",
    journal && h("span", { class: "quiet" }, `journal ${bytes(journal.bytes)} of ${bytes(journal.bytes_max)} · fsync p50 ${ms(journal.fsync_p50_ms)}, p99 ${ms(journal.fsync_p99_ms)}`),
    journal && h("div", { class: "gauge", role: "img", "aria-label": `The journal is ${measured(journal.bytes / journal.bytes_max)} full` }, h("span", { vars: { "--part": journal.bytes / journal.bytes_max } })),
    found.destinations.map((to) =>
      h(
        "article",
        { class: `upstream ${to.paused || to.parked > 0 || to.gaps > 0 ? "warn" : ""}`, key: to.name, "aria-label": `Copies to ${to.name}` },
        h("header", {}, h("h3", {}, `→ ${to.name}`), to.paused && chip("paused", "bad")),
        h(
          "dl",
          { class: "counts" },
          fact("waiting", count(to.pending)),
          fact("lag", to.pending > 0 ? span(to.oldest_ms) : "none"),
          fact("size", bytes(to.bytes)),
          fact("parked", count(to.parked), to.parked > 0),
          fact("gaps", count(to.gaps), to.gaps > 0),
        ),
      ),
    ),
  );
}

function fact(term, value, isBad) {
  return h("div", { key: term, class: isBad ? "warn-text" : "" }, h("dt", {}, term), h("dd", {}, value));
}
