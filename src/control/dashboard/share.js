// Owns the dialog that changes a share: a slider that says how many users would move before anything does.

import { ofFlag, order, rehearse } from "./api.js";
import { body, lasts, open, reason, said } from "./dialogs.js";
import { h } from "./dom.js";
import { count, measured, share } from "./format.js";
import { bar, prose, tone } from "./parts.js";
import { configured } from "./track.js";

/** The slider rests for so long before the router is asked who would move. */
const REST_MS = 150;

/** Opens the dialog; `done(receipt, words)` hears what came of it. */
export function openShare(flag, done) {
  const state = { variant: first(flag), moved: null, generation: undefined, asking: false, error: null, busy: false, timer: null, asked: 0 };
  state.part = now(flag, state.variant);
  let dialog;

  const ask = () => {
    clearTimeout(state.timer);
    Object.assign(state, { asking: true, error: null });
    state.timer = setTimeout(async () => {
      const number = (state.asked += 1);
      const latest = () => number === state.asked;
      try {
        const found = await rehearse(ofFlag(flag.key, "set"), { shares: shares(state), reason: "how many would move?" });
        if (latest()) Object.assign(state, { moved: found.moved, generation: found.generation, asking: false });
      } catch (error) {
        if (latest()) Object.assign(state, { error: said(error), moved: null, asking: false });
      }
      dialog.redraw();
    }, REST_MS);
    dialog.redraw();
  };

  const submit = async (event) => {
    event.preventDefault();
    if (state.busy || state.asking) return;
    const values = Object.fromEntries(new FormData(event.target));
    Object.assign(state, { busy: true, error: null });
    dialog.redraw();
    try {
      const receipt = await order(ofFlag(flag.key, "set"), body({ shares: shares(state), reason: values.reason, for: values.for }), state.generation);
      dialog.close();
      done({ ...receipt, moved: state.moved }, `${flag.key}: ${state.variant} ${share(state.part)}`);
    } catch (error) {
      Object.assign(state, { busy: false, error: error.status === 412 ? "Something else came into force meanwhile. Look at the figures again, then apply." : said(error) });
      if (error.status === 412) ask();
      dialog.redraw();
    }
  };

  const move = (part) => {
    if (Number.isNaN(part) || part < 0 || part > 1) return;
    state.part = part;
    ask();
  };
  const choose = (variant) => {
    state.variant = variant;
    move(now(flag, variant));
  };
  dialog = open(`Share of ${flag.key}`, "ask share", (_redraw, close) => form(flag, state, { submit, move, choose, close }));
}

const shares = (state) => ({ [state.variant]: `${Number((state.part * 100).toFixed(3))}%` });

/** The share of the split in force, or of the file's while a kill lies over it; null where there is no split. */
const given = (variant) => variant.share ?? variant.file_share;

/** The variants that can be given a share: those of the split, or all of them where there is none yet. */
function choices(flag) {
  const ofSplit = flag.variants.filter((variant) => given(variant) !== null);
  return ofSplit.length > 0 ? ofSplit : flag.variants;
}

/** What one is likely to move: the modern side that has a share, else what is not the default. */
function first(flag) {
  const modern = choices(flag).filter((variant) => tone(flag, variant.name) === "modern");
  const other = choices(flag).find((variant) => variant.name !== flag.default_variant);
  return (modern.find((variant) => given(variant) > 0) ?? modern[0] ?? other ?? flag.variants[0]).name;
}

function now(flag, name) {
  const variant = flag.variants.find((known) => known.name === name);
  return given(variant) ?? configured(flag, variant);
}

function form(flag, state, act) {
  const percent = Number((state.part * 100).toFixed(3));
  return h(
    "form",
    { onsubmit: act.submit },
    h("h2", {}, `Share of ${flag.key}`),
    h("p", {}, "An override: it lies over the file until it is taken back. Who has a variant keeps it while its share grows."),
    h("label", { key: "variant" }, h("span", {}, "Variant"), h("select", { onchange: (event) => act.choose(event.target.value) }, choices(flag).map((variant) => h("option", { value: variant.name, key: variant.name, initial: { selected: variant.name === state.variant } }, variant.name)))),
    h(
      "div",
      { class: "slide", key: `slide ${state.variant}` },
      h("label", {}, h("span", {}, "Share"), h("input", { type: "range", min: "0", max: "100", step: "1", initial: { value: String(Math.round(percent)) }, "aria-label": `Share of ${state.variant} in percent`, oninput: (event) => mirror(event, act) })),
      h("label", { class: "exact" }, h("input", { type: "number", min: "0", max: "100", step: "any", initial: { value: String(percent) }, "aria-label": "Exact share in percent", oninput: (event) => mirror(event, act) }), h("span", {}, "%")),
    ),
    preview(flag, state),
    reason(),
    lasts(),
    state.error && h("p", { class: "refusal", role: "alert" }, prose(state.error)),
    h("div", { class: "answers" }, h("button", { type: "button", onclick: act.close }, "Cancel"), h("button", { type: "submit", class: "solid", disabled: state.busy || state.asking || !state.moved }, state.busy ? "…" : "Apply")),
  );
}

/** Keeps the slider and the number beside it the same. */
function mirror(event, act) {
  const { target } = event;
  for (const input of target.closest(".slide").querySelectorAll("input")) if (input !== target) input.value = target.value;
  act.move(target.valueAsNumber / 100);
}

function preview(flag, state) {
  const before = now(flag, state.variant);
  const hue = tone(flag, state.variant);
  const line = (word, part) => h("div", { class: "preview-line", key: word }, h("span", {}, word), bar([{ name: "part", tone: hue, part }, { name: "rest", tone: "none", part: 1 - part }], `${word} ${share(part)}`), h("b", {}, share(part)));
  return h("div", { class: "preview" }, line("now", before), line("then", state.part), h("p", { class: "moves", "aria-live": "polite" }, moves(state)));
}

function moves(state) {
  if (state.asking) return "Asking who would move…";
  if (!state.moved) return "Move the slider to see who would move.";
  const { moved, sampled, share: part } = state.moved;
  if (moved === 0) return `Nobody of ${count(sampled)} sampled users would move.`;
  return [h("b", {}, count(moved)), ` of ${count(sampled)} sampled users would move (${measured(part)}).`];
}
