// Owns the page: it signs in, looks every two seconds and at each event, and hands orders on.

import { follow, get, ofFlag, order, token } from "./api.js";
import { body, confirm, said } from "./dialogs.js";
import { h, patch } from "./dom.js";
import { flags } from "./flags.js";
import { clock, count, measured } from "./format.js";
import { History, history } from "./history.js";
import { copies, files, outlook, routes, upstreams } from "./panels.js";
import { button } from "./parts.js";
import { Rates } from "./rates.js";
import { openShare } from "./share.js";

/** Between two looks while somebody looks at the page. */
const LOOK_MS = 2_000;
/** How long a result stays in the corner. */
const SAID_MS = 12_000;

const state = { status: null, rates: new Rates(), history: new History(), find: "", kind: "All flags", all: false, allRoutes: false, live: false, lost: null, signIn: false, refusal: null };
let looking = null;
let timer = null;
let stream = null;
let lastGeneration = null;
let silence = null;

const element = (id) => document.getElementById(id);

/** Looks at what is in force, one look at a time; who asks during a look gets another one after it. */
function look() {
  looking ??= lookOnce().finally(() => {
    looking = null;
    clearTimeout(timer);
    if (!document.hidden && !state.signIn) timer = setTimeout(look, LOOK_MS);
  });
  return looking;
}

async function lookOnce() {
  // Without a token the answer is known, and asking would be noise in the console.
  if (!token.read()) {
    signOut(null);
    draw();
    return;
  }
  const bearer = token.read();
  // Whoever has signed out meanwhile is asked nothing more, and told nothing.
  const isOver = () => token.read() !== bearer;
  try {
    const status = await get("status");
    if (isOver()) return;
    Object.assign(state, { status, lost: null, signIn: false, refusal: null });
    state.rates.note(status);
    // The history changes with the generation, or with a verdict on files.
    const mark = `${status.started_unix_ms} ${status.generation} ${status.reload.last} ${status.reload.at_unix_ms}`;
    if (mark !== lastGeneration) {
      await state.history.refresh();
      if (isOver()) return;
      lastGeneration = mark;
    }
    listen();
  } catch (error) {
    if (isOver()) return;
    if (error.status === 401) signOut("The router does not know this token.");
    else state.lost = said(error);
  }
  draw();
}

async function lookAnew() {
  lastGeneration = null;
  await looking;
  await look();
}

function listen() {
  if (stream || document.hidden) return;
  stream = new AbortController();
  follow(lookAnew, (live) => (Object.assign(state, { live }), draw()), stream.signal);
}

function hangUp() {
  stream?.abort();
  stream = null;
}

function signOut(refusal) {
  hangUp();
  lastGeneration = null;
  token.forget();
  Object.assign(state, { signIn: true, refusal, status: null, live: false, rates: new Rates(), history: new History() });
}

function signIn(event) {
  event.preventDefault();
  const given = new FormData(event.target);
  token.keep(given.get("token").trim(), given.get("who").trim());
  state.signIn = false;
  // The field is gone with the form; the next Tab goes on to what came in its place.
  look().then(() => state.signIn || element("page").focus());
}

/** Says what came of an order, aloud too. */
function say(text, hue) {
  const corner = element("said");
  patch(corner, h("p", { class: hue }, text));
  clearTimeout(silence);
  silence = setTimeout(() => patch(corner, []), SAID_MS);
}

async function done(receipt, words) {
  const parts = [`${words}.`, `Generation ${count(receipt.generation)}.`];
  if (receipt.moved) parts.push(`${measured(receipt.moved.share)} of sampled users moved.`);
  if (receipt.remark) parts.push(`${receipt.remark}.`);
  if (!receipt.changed) parts.push("Nothing changed.");
  if (!receipt.durable) parts.push(`In force, but not on disk: ${receipt.not_durable_because ?? "unknown why"}`);
  say(parts.join(" "), receipt.durable ? "good" : "warn");
  await lookAnew();
}

const give = (path, words) => async (values) => done(await order(path, body(values)), words);

const act = {
  find: (text) => (Object.assign(state, { find: text }), draw()),
  kind: (kind) => (Object.assign(state, { kind }), draw()),
  showAll: () => (Object.assign(state, { all: true }), draw()),
  showAllRoutes: () => (Object.assign(state, { allRoutes: true }), draw()),
  share: (flag) => openShare(flag, done),
  kill: (flag) =>
    confirm({ title: `Kill ${flag.key}`, text: "Everybody gets its fallback at once, whatever the files and other overrides say.", action: "Kill", danger: true, lasting: true, run: give(ofFlag(flag.key, "kill"), `${flag.key} is killed`) }),
  revive: (flag) => confirm({ title: `Revive ${flag.key}`, text: "The kill is taken back; what lies under it is in force again.", action: "Revive", run: give(ofFlag(flag.key, "revive"), `${flag.key} is revived`) }),
  unset: (flag) => confirm({ title: `Shares of ${flag.key} back to the file`, text: "The shares that were set are taken back; the file's are in force again.", action: "Take back", run: give(ofFlag(flag.key, "unset"), `${flag.key} is back to its file`) }),
  unpin: (flag, { attribute, value }) =>
    confirm({
      title: `Unpin ${attribute}=${value}`,
      text: `Whoever has it gets what the rules of ${flag.key} say.`,
      action: "Unpin",
      run: (values) => give(ofFlag(flag.key, "unpin"), `${attribute}=${value} is unpinned`)({ ...values, attribute, value }),
    }),
  killAll: () => confirm({ title: "Kill every flag", text: "Every flag gives its fallback at once, for everybody.", action: "Kill every flag", danger: true, lasting: true, run: give("kill-all", "Every flag is killed") }),
  reviveAll: () => confirm({ title: "Revive every flag", text: "The kill of every flag is taken back; flags that were killed one by one stay killed.", action: "Revive", run: give("revive-all", "The kill of every flag is taken back") }),
  release: () => confirm({ title: "Release the restore", text: "What the files say comes into force again.", action: "Release", run: give("release", "The restore is released") }),
  restore: restore,
  older: () => state.history.older().then(draw, (error) => say(said(error), "warn")),
  history: (flag) => {
    state.history.only(flag);
    draw();
    state.history.refresh().then(draw, (error) => say(said(error), "warn"));
    element("history")?.scrollIntoView({ block: "start" });
  },
};

async function restore() {
  let found;
  try {
    found = await get("generations");
  } catch (error) {
    say(said(error), "warn");
    return;
  }
  const choices = found.restorable.filter((generation) => generation !== found.generation).reverse();
  if (choices.length === 0) {
    say("No earlier generation is kept.", "warn");
    return;
  }
  const field = h("label", { key: "generation" }, h("span", {}, "Generation"), h("select", { name: "generation" }, choices.map((generation) => h("option", { value: String(generation), key: String(generation) }, String(generation)))));
  confirm({
    title: "Restore an earlier generation",
    text: "Its rules come into force and are held: files are judged, but wait until the restore is released.",
    fields: [field],
    action: "Restore",
    danger: true,
    run: ({ generation, ...values }) => give("restore", `The rules of generation ${generation} are restored`)({ ...values, generation: Number(generation) }),
  });
}

function draw() {
  patch(element("bar"), head());
  patch(element("page"), state.signIn ? gate() : state.status ? page() : waiting());
  const problems = state.status?.problems.length ?? 0;
  document.title = `${state.lost ? "? " : problems > 0 ? `(${problems}) ` : ""}Banyan`;
}

function head() {
  const isKilled = state.status?.overrides?.kill_all;
  return [
    h("a", { class: "mark", href: "/", "aria-label": "Banyan" }, h("img", { src: "/assets/banyan.svg", alt: "", width: "26", height: "26" }), h("span", {}, "Banyan")),
    h("span", { class: "host" }, location.host),
    h("span", { class: `pulse ${state.lost ? "bad" : state.live ? "good" : "warn"}`, key: "pulse" }, state.signIn ? "signed out" : state.lost ? "lost" : state.live ? "live" : "each 2 s"),
    !state.signIn && state.status && h("div", { class: "bar-buttons", key: "buttons" }, isKilled ? button("Revive all…", act.reviveAll, { class: "good", key: "all" }) : button("Kill all…", act.killAll, { class: "danger", key: "all" }), button("Sign out", () => (signOut(null), draw()), { class: "plain" })),
  ];
}

function page() {
  return [
    state.lost && h("p", { class: "lost", role: "alert", key: "lost" }, `${state.lost} What stands below was so at ${clock(state.status.now_unix_ms)}.`),
    outlook(state),
    h("div", { class: "columns", key: "columns" }, h("div", { class: "main" }, flags(state, act), routes(state, act)), h("div", { class: "aside" }, files(state, act), copies(state), upstreams(state), history(state, act))),
  ];
}

function waiting() {
  return h("p", { class: state.lost ? "lost" : "quiet waiting", role: state.lost ? "alert" : null }, state.lost ?? "Asking the router…");
}

function gate() {
  return h(
    "form",
    { class: "gate", onsubmit: signIn, key: "gate" },
    h("h1", {}, "Sign in"),
    h("p", {}, "The first start of the router wrote a token into ", h("code", {}, "state/admin.token"), ". This tab keeps it until it is closed."),
    h("label", {}, h("span", {}, "Token"), h("input", { name: "token", type: "password", required: true, autofocus: true, autocomplete: "off", spellcheck: "false" })),
    h("label", {}, h("span", {}, "Your name, for the history (optional)"), h("input", { name: "who", maxlength: "60", autocomplete: "name" })),
    state.refusal && h("p", { class: "refusal", role: "alert" }, state.refusal),
    h("button", { type: "submit", class: "solid" }, "Sign in"),
  );
}

// A page that nobody looks at asks nothing: streams are counted.
document.addEventListener("visibilitychange", () => (document.hidden ? hangUp() : look()));
draw();
look();
