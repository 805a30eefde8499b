// Owns talking to the admin API: the token, questions, orders, and the stream of events.

const TOKEN = "banyan-token";
const WHO = "banyan-who";
/** A question that takes longer is given up; the next one is under way by then. */
const QUESTION_TIMEOUT_MS = 8_000;
/** Orders wait for the disk, at most 5 s. */
const ORDER_TIMEOUT_MS = 15_000;
/** The pauses before the stream of events is opened again. */
const STREAM_PAUSE_MS = 1_000;
const STREAM_PAUSE_MS_MAX = 15_000;

/** Says what the router answered instead of what was asked for. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** The token, and who uses it, live as long as the tab; they are sent in headers and stand in no address. */
export const token = {
  read: () => sessionStorage.getItem(TOKEN),
  keep: (text, who) => {
    sessionStorage.setItem(TOKEN, text);
    sessionStorage.setItem(WHO, who);
  },
  forget: () => sessionStorage.removeItem(TOKEN),
};

function headers(more) {
  const bearer = token.read();
  return { Accept: "application/json", ...(bearer ? { Authorization: `Bearer ${bearer}` } : {}), ...more };
}

async function ask(path, init, timeoutMs) {
  const answer = await fetch(`/api/v1/${path}`, { ...init, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(timeoutMs) });
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail ?? problem.title ?? `the router answered ${answer.status}`);
}

/** Asks a question. */
export const get = (path) => ask(path, { headers: headers() }, QUESTION_TIMEOUT_MS);

/** Gives an order; `generation` makes it fail when something else is in force by now. */
export function order(path, body, generation) {
  const who = sessionStorage.getItem(WHO);
  const more = { "Content-Type": "application/json", "Idempotency-Key": random(), ...(who ? { "Banyan-Who": utf8(who) } : {}) };
  if (generation !== undefined) more["If-Match"] = `"${generation}"`;
  return ask(path, { method: "POST", headers: headers(more), body: JSON.stringify(body) }, ORDER_TIMEOUT_MS);
}

/** Asks what an order would change. */
export const rehearse = (path, body) =>
  ask(`${path}?dry_run=true`, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) }, QUESTION_TIMEOUT_MS);

/** A path below a flag. */
export const ofFlag = (key, verb) => `flags/${encodeURIComponent(key)}/${verb}`;

/** Headers take bytes, each as the character of its number. */
const utf8 = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** `crypto.randomUUID` is there in secure contexts only, and the listener may be plain HTTP. */
function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Calls `changed` at the start and at each event, for as long as `signal` is not aborted; `live` hears whether the stream is open.
 *
 * `EventSource` cannot send a token, so the stream is read by hand. Only that something came matters here: what is in
 * force is asked for afterwards.
 */
export async function follow(changed, live, signal) {
  let pauseMs = STREAM_PAUSE_MS;
  while (!signal.aborted) {
    try {
      const answer = await fetch("/api/v1/events", { headers: headers({ Accept: "text/event-stream" }), cache: "no-store", credentials: "omit", signal });
      if (!answer.ok) throw new Refused(answer.status, "no events");
      live(true);
      // What happened while nobody listened has no event.
      changed();
      pauseMs = STREAM_PAUSE_MS;
      await read(answer.body.pipeThrough(new TextDecoderStream()), changed);
    } catch {
      // Polling goes on without the stream, and says so if the router is gone.
    }
    live(false);
    await pause(pauseMs, signal);
    pauseMs = Math.min(pauseMs * 2, STREAM_PAUSE_MS_MAX);
  }
}

async function read(stream, changed) {
  const reader = stream.getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split(/\r?\n\r?\n/);
    rest = events.pop();
    // A heartbeat is a comment, and no event.
    if (events.some((event) => event.split("\n").some((line) => line.startsWith("data:")))) changed();
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
