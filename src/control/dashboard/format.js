// Owns how numbers and times are written. A thin space stands before units, as in print.

const THIN = "\u202f";
const DASH = "–";

/** Writes a count with separators. */
export const count = (value) => (value === null || value === undefined ? DASH : Math.round(value).toLocaleString("en"));

/** Writes a part of 1 in percent with as many digits as tell something. */
export function share(part, digits = 3) {
  if (part === null || part === undefined) return DASH;
  return `${Number((part * 100).toFixed(digits))}${THIN}%`;
}

/** Writes what was measured in percent: two digits are what a sample of it is worth. */
export function measured(part) {
  if (part === null || part === undefined || Number.isNaN(part)) return DASH;
  if (part > 0 && part < 0.0001) return `<0.01${THIN}%`;
  return share(part, part < 0.01 ? 2 : part < 0.1 ? 1 : 0);
}

/** Writes events a second. */
export function rate(value) {
  if (value === null || value === undefined) return DASH;
  if (value === 0) return `0${THIN}/s`;
  if (value < 0.1) return `<0.1${THIN}/s`;
  return `${value < 10 ? value.toFixed(1) : count(value)}${THIN}/s`;
}

/** Writes milliseconds. */
export function ms(value) {
  if (value === null || value === undefined) return DASH;
  if (value >= 10_000) return `${count(value / 1000)}${THIN}s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)}${THIN}s`;
  return `${value < 10 ? value.toFixed(1) : count(value)}${THIN}ms`;
}

/** Writes bytes in powers of 1024. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)}${THIN}${units[at]}`;
}

/** Writes a length of time, roughly. */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds}${THIN}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${THIN}min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}${THIN}h${seconds % 3600 >= 60 && seconds < 36_000 ? ` ${Math.floor((seconds % 3600) / 60)}${THIN}min` : ""}`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** Writes how long ago something was, by the router's clock. */
export const ago = (then, now) => (now - then < 5000 ? "just now" : `${span(now - then)} ago`);

/** Writes a time of day, with the date when it is not today. */
export function clock(unixMs) {
  const time = new Date(unixMs);
  const today = time.toDateString() === new Date().toDateString();
  const day = today ? {} : { day: "numeric", month: "short" };
  return time.toLocaleString("en-GB", { hour: "2-digit", minute: "2-digit", ...day });
}

/** Writes a moment in full, for those who look closer. */
export const moment = (unixMs) => `${new Date(unixMs).toISOString().replace("T", " ").slice(0, 19)} UTC`;

/** Writes a date of a flag, with how far away it is. */
export function date(text, now) {
  const then = Date.parse(`${text}T23:59:59Z`);
  if (Number.isNaN(then)) return text;
  const shown = new Date(then).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  const days = Math.round((then - now) / 86_400_000);
  if (days < 0) return `${shown}, ${-days} days ago`;
  return days > 120 ? shown : `${shown}, in ${days} days`;
}

/** Writes a number with its noun. */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
