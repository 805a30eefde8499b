// Owns asking before something is done: each order is shown in a dialog with its reason, and carried out once confirmed.

import { Refused } from "./api.js";
import { build, h, patch } from "./dom.js";
import { prose } from "./parts.js";

/** How long an override may last, as people choose. */
export const LASTS = [
  ["", "until taken back"],
  ["15m", "15 minutes"],
  ["30m", "30 minutes"],
  ["1h", "1 hour"],
  ["4h", "4 hours"],
  ["24h", "24 hours"],
];

/** Opens a dialog; `view(redraw, close)` describes what is in it. It ends with its element. */
export function open(label, className, view) {
  const dialog = build(h("dialog", { class: className, "aria-label": label }));
  const close = () => dialog.close();
  const redraw = () => patch(dialog, view(redraw, close));
  dialog.addEventListener("close", () => dialog.remove());
  // A press outside of the dialog leaves it, as Escape does.
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && close());
  document.body.append(dialog);
  redraw();
  dialog.showModal();
  return { redraw, close };
}

/**
 * Asks for the reason and carries an order out.
 *
 * `fields` describes further fields; `run(values)` gives a promise. While it runs nothing can be pressed twice; what the
 * router refuses is shown in the dialog, which stays.
 */
export function confirm({ title, text, fields = [], action, danger, lasting, run }) {
  const state = { busy: false, error: null };
  open(title, "ask", (redraw, close) => {
    const submit = async (event) => {
      event.preventDefault();
      if (state.busy) return;
      const values = Object.fromEntries(new FormData(event.target));
      Object.assign(state, { busy: true, error: null });
      redraw();
      try {
        await run(values);
        close();
      } catch (error) {
        Object.assign(state, { busy: false, error: said(error) });
        redraw();
      }
    };
    return h(
      "form",
      { onsubmit: submit, "aria-busy": state.busy ? "true" : null },
      h("h2", {}, title),
      h("p", {}, text),
      fields,
      reason(),
      lasting && lasts(),
      state.error && h("p", { class: "refusal", role: "alert" }, prose(state.error)),
      h("div", { class: "answers" }, h("button", { type: "button", onclick: close }, "Cancel"), h("button", { type: "submit", class: danger ? "danger solid" : "solid", disabled: state.busy }, state.busy ? "…" : action)),
    );
  });
}

/** The field for the reason, which the history keeps. */
export const reason = () => h("label", { key: "reason" }, h("span", {}, "Reason"), h("input", { name: "reason", required: true, maxlength: "500", autocomplete: "off", autofocus: true, placeholder: "What you saw; the history keeps it" }));

/** The field for how long. */
export const lasts = () => h("label", { key: "for" }, h("span", {}, "For"), h("select", { name: "for" }, LASTS.map(([value, text]) => h("option", { value, key: text }, text))));

/** What of the values is sent: an empty `for` means no end. */
export const body = ({ reason, for: lasting, ...more }) => ({ reason, ...(lasting ? { for: lasting } : {}), ...more });

/** What went wrong, in words for the person who asked. */
export function said(error) {
  if (error instanceof Refused) return error.status === 403 ? `This token may only read. (${error.message})` : error.message;
  if (error.name === "TimeoutError") return "The router did not answer in time. It may have been done: look at the history before you try again.";
  return "The router cannot be reached. At 3 a.m.: `banyan kill` on its host works without this page.";
}
