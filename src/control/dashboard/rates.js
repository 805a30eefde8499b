// Owns turning totals since start into rates: a short memory of what each poll saw.

/** Polls that are remembered: at one each 2 s, two minutes. */
const SAMPLES_MAX = 60;
/** What "now" means for a rate. */
const RATE_MS = 10_000;
/** What "now" means for a share of the traffic, which needs more requests to say something. */
const SHARE_MS = 30_000;
/** Points of a sparkline are at least so far apart. */
const POINT_MS = 1_000;

/** Remembers counters by name. */
export class Rates {
  samples = [];
  started = null;
  generation = null;
  /** When the generation was first seen; what was served before says nothing about it. */
  since = 0;

  /** Takes in a status document; a router that has started anew counts from 0. */
  note(status) {
    if (this.started !== status.started_unix_ms) this.samples = [];
    this.started = status.started_unix_ms;
    if (this.generation !== status.generation) Object.assign(this, { generation: status.generation, since: this.generation === null ? 0 : status.now_unix_ms });
    const last = this.samples.at(-1);
    // Looks in quick succession make no points, unless a generation begins with one.
    if (last && status.now_unix_ms - last.at < POINT_MS && this.since !== status.now_unix_ms) return;
    this.samples.push({ at: status.now_unix_ms, totals: totals(status) });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }

  /** Events a second of late; null before the second poll. */
  rate(name) {
    const over = this.over(name, RATE_MS);
    return over && over.events / over.seconds;
  }

  /** Events in the window in which shares are measured, of the generation in force. */
  events(name) {
    return this.over(name, SHARE_MS, this.since)?.events ?? 0;
  }

  /** How much of `whole` was `part`; null when there was nothing. */
  part(part, whole) {
    const of = this.events(whole);
    return of > 0 ? this.events(part) / of : null;
  }

  /** A rate for each pause between two polls. */
  series(name) {
    const points = [];
    let before = this.samples[0];
    for (const after of this.samples) {
      if (after.at - before.at < POINT_MS) continue;
      const events = (after.totals.get(name) ?? 0) - (before.totals.get(name) ?? 0);
      points.push(Math.max(0, events) / ((after.at - before.at) / 1000));
      before = after;
    }
    return points;
  }

  over(name, windowMs, since = 0) {
    const last = this.samples.at(-1);
    const first = this.samples.find((sample) => last.at - sample.at <= windowMs && sample.at >= since);
    if (!first || first === last) return null;
    // A counter that fell belongs to something that went and came again.
    const events = Math.max(0, (last.totals.get(name) ?? 0) - (first.totals.get(name) ?? 0));
    return { events, seconds: (last.at - first.at) / 1000 };
  }
}

/** Names of counters; a separator that no name can have stands between the parts. */
export const name = (...parts) => parts.join("\n");

function totals(status) {
  const totals = new Map();
  const add = (key, value) => totals.set(key, (totals.get(key) ?? 0) + (value ?? 0));
  for (const flag of status.flags) for (const variant of flag.variants) add(name("variant", flag.key, variant.name), variant.requests);
  for (const route of status.routes) {
    for (const leg of route.legs) {
      for (const key of [name("leg", route.name, leg.variant, leg.upstream), name("route", route.name), name("all"), name("flag", route.flag), name("side", route.flag, leg.variant, leg.upstream)]) {
        add(`${key}\nrequests`, leg.requests);
        add(`${key}\nerrors`, leg.errors);
      }
    }
  }
  for (const upstream of status.upstreams) {
    add(name("upstream", upstream.name, "requests"), upstream.requests);
    add(name("upstream", upstream.name, "errors"), upstream.errors);
  }
  return totals;
}
