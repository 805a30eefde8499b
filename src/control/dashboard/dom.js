// Owns making and mending elements. What it is given becomes text or an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** What a node was last made from, so that the next look changes only what differs. */
const made = new WeakMap();

/** Describes an element: `h("p", {class: "x"}, "text", child)`. Children may be nested lists; null and false are left out. */
export function h(tag, props, ...children) {
  const { key, ...rest } = props ?? {};
  return { tag, key, props: rest, children: children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false) };
}

/** Describes an element of SVG. */
export function svg(tag, props, ...children) {
  return { ...h(tag, props, ...children), ns: SVG };
}

/** Makes a node from a description. */
export function build(description) {
  if (typeof description !== "object") return document.createTextNode(String(description));
  const node = description.ns ? document.createElementNS(SVG, description.tag) : document.createElement(description.tag);
  mend(node, { props: {}, children: [] }, description);
  return node;
}

/**
 * Makes an element's children what the descriptions say.
 *
 * Nodes that are still wanted stay the same nodes: focus, selection, open details and running transitions survive.
 */
export function patch(parent, descriptions) {
  const wanted = [descriptions].flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  const keyed = new Map();
  const loose = [];
  for (const node of parent.childNodes) {
    const key = made.get(node)?.key;
    if (key === undefined) loose.push(node);
    else keyed.set(key, node);
  }
  let at = parent.firstChild;
  for (const description of wanted) {
    const found = description.key === undefined ? take(loose, description) : same(keyed.get(description.key), description);
    if (found) {
      keyed.delete(description.key);
      refresh(found, description);
    }
    const node = found ?? build(description);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  for (const node of [...loose, ...keyed.values()]) node.remove();
}

/** Takes the first loose node out that the description can use. */
function take(loose, description) {
  const at = loose.findIndex((node) => same(node, description));
  return at < 0 ? undefined : loose.splice(at, 1)[0];
}

function same(node, description) {
  if (!node) return undefined;
  const isText = typeof description !== "object";
  if (isText) return node.nodeType === Node.TEXT_NODE ? node : undefined;
  const before = made.get(node);
  return before && before.tag === description.tag ? node : undefined;
}

function refresh(node, description) {
  if (typeof description !== "object") {
    if (node.data !== String(description)) node.data = String(description);
  } else mend(node, made.get(node), description);
}

function mend(node, before, description) {
  const { props, children } = description;
  for (const name of Object.keys(before.props)) if (!(name in props)) set(node, name, null);
  for (const [name, value] of Object.entries(props)) if (before.props[name] !== value) set(node, name, value, before.tag === undefined);
  made.set(node, description);
  patch(node, children);
}

/** Sets one property: `on…` listens, `vars` are custom properties of CSS, `initial…` is set once and then the user's. */
function set(node, name, value, isNew) {
  if (name.startsWith("on")) node[name.toLowerCase()] = value;
  else if (name === "vars") for (const [variable, text] of Object.entries(value ?? {})) node.style.setProperty(variable, text);
  else if (name === "initial") {
    if (isNew) Object.assign(node, value);
  } else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}
