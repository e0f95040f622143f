// A report that opens from a file: unpacks what is shown, draws it with the page's own templates (TEMPLATES, which
// escape every value), and gives the item list what it has on the page. Nothing is fetched.

// --- what the templates call; the same results as Jinja's ------------------------------------------------
class Html { constructor(text) { this.text = text; } }
const SIGNS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" };
const R = {
  text(value) {
    if (value instanceof Html) return value.text;
    if (value === undefined) return "";
    const text = value === null ? "None" : value === true ? "True" : value === false ? "False" : String(value);
    return text.replace(/[&<>'"]/g, (sign) => SIGNS[sign]);
  },
  truthy(value) {
    if (value instanceof Html) return value.text !== "";
    if (Array.isArray(value)) return value.length > 0;
    if (value && typeof value === "object") return Object.keys(value).length > 0;
    return Boolean(value);
  },
  get(from, key) {
    if (from === undefined || from === null || from instanceof Html) return undefined;
    if (typeof from === "string" || Array.isArray(from)) return from[key < 0 ? from.length + key : key];
    return Object.hasOwn(from, key) ? from[key] : undefined;
  },
  and: (left, right) => (R.truthy(left) ? right() : left),
  or: (left, right) => (R.truthy(left) ? left : right()),
  plain: (value) => (value instanceof Html ? value.text : value),
  same: (left, right) => R.plain(left) === R.plain(right),
  holds(all, one) {
    if (typeof all === "string" || Array.isArray(all)) return all.includes(R.plain(one));
    return all ? Object.hasOwn(all, one) : false;
  },
  list: (value) => (value === undefined || value === null ? [] : typeof value === "object" && !Array.isArray(value) ? Object.keys(value) : [...value]),
  each(over, body, otherwise) {
    const all = R.list(over);
    if (!all.length) return otherwise ? otherwise() : "";
    return all.map((one, i) => body(one, {
      index: i + 1, index0: i, first: i === 0, last: i === all.length - 1, length: all.length,
      revindex: all.length - i, revindex0: all.length - i - 1, previtem: all[i - 1], nextitem: all[i + 1],
    })).join("");
  },
  items: (table) => Object.entries(table ?? {}),
  split: (text) => String(text ?? "").trim().split(/\s+/).filter(Boolean),
  // Places without a format of their own: {} or {0}.
  format(text, values) {
    let next = 0;
    return String(text).replace(/\{(\d*)\}/g, (_, place) => values[place === "" ? next++ : Number(place)]);
  },
  default: (value, other) => (value === undefined ? other : value),
  concat: (parts) => (parts.some((part) => part instanceof Html)
    ? new Html(parts.map(R.text).join("")) : parts.map((part) => (part === undefined ? "" : String(part))).join("")),
  macro: (names, defaults, body) => ({ names, defaults, body }),
  call(called, values, named) {
    if (!called?.body) throw new Error("a template calls what is no macro");
    const all = called.names.map((name, i) => (i < values.length ? values[i] : name in named ? named[name] : called.defaults[name]));
    return new Html(called.body(...all));
  },
  modules: {},
  module: (name) => (R.modules[name] ??= TEMPLATES[name]({}).macros),
  include: (name, ctx) => TEMPLATES[name](ctx).html,
  filters: {
    length: (value) => R.list(R.plain(value)).length,
    count: (value) => R.list(R.plain(value)).length,
    lower: (value) => String(value ?? "").toLowerCase(),
    upper: (value) => String(value ?? "").toUpperCase(),
    trim: (value) => String(value ?? "").trim(),
    replace: (value, old, other) => String(value ?? "").replaceAll(old, other),
    join: (value, between = "") => R.list(value).some((part) => part instanceof Html)
      ? new Html(R.list(value).map(R.text).join(R.text(between))) : R.list(value).join(between),
    default: (value, other = "") => (value === undefined ? other : value),
    d: (value, other = "") => (value === undefined ? other : value),
    first: (value) => R.list(value)[0],
    last: (value) => R.list(value).at(-1),
    tojson: (value) => new Html(json(value).replace(/[<>&'\u007f-\uffff]/g, (sign) => "\\u" + sign.charCodeAt(0).toString(16).padStart(4, "0"))),
    e: (value) => new Html(R.text(value)),
    escape: (value) => new Html(R.text(value)),
  },
  tests: {
    defined: (value) => value !== undefined,
    undefined: (value) => value === undefined,
    none: (value) => value === null,
    odd: (value) => value % 2 === 1,
    even: (value) => value % 2 === 0,
  },
};

// As Python writes JSON: with a space after each sign, and keys in order.
function json(value) {
  if (Array.isArray(value)) return "[" + value.map(json).join(", ") + "]";
  if (value && typeof value === "object") {
    return "{" + Object.keys(value).sort().map((key) => JSON.stringify(key) + ": " + json(value[key])).join(", ") + "}";
  }
  return JSON.stringify(value ?? null);
}

// --- what is stored --------------------------------------------------------------------------------------
const byId = (id) => document.getElementById(id);
const LANGUAGES = ["ja", "en"];

async function unpack(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}

let first;
const blocks = new Map();
const block = (number) => {
  if (!blocks.has(number)) {
    // Of what was opened a few blocks stay, the last of them longest.
    if (blocks.size >= 8) blocks.delete(blocks.keys().next().value);
    blocks.set(number, unpack("jgr-block-" + number));
  }
  return blocks.get(number);
};

// A node as a value in one language; see shared_values.py.
function value(place, lang, own) {
  const node = place < first.nodes.length ? first.nodes[place] : own[place - first.nodes.length];
  if (!Array.isArray(node)) return node;
  const [kind, ...parts] = node;
  if (kind === 1) return value(parts[LANGUAGES.indexOf(lang)], lang, own);
  if (kind === 0) return parts.map((part) => value(part, lang, own));
  const keys = first.shapes[kind - 2];
  return Object.fromEntries(parts.map((part, i) => [keys[i], value(part, lang, own)]));
}

// --- what is shown ---------------------------------------------------------------------------------------
const root = document.documentElement;
const places = { list: byId("items"), item: byId("item"), status: byId("jgr-status"), pair: byId("jgr-pair") };
const state = { lang: "ja", pair: 0, heads: {}, at: new Map() };
const props = { value: null }, matrixProps = { value: null };
const followers = [];
const params = () => new URLSearchParams(location.hash.slice(1));

// Links within the file: what the address bar of the page has is here behind the #.
globalThis.jgAddress = {
  update(changes) {
    const now = params();
    for (const [name, text] of Object.entries(changes)) {
      if (text === null || text === undefined || text === "") now.delete(name);
      else now.set(name, text);
    }
    try {
      history.replaceState(null, "", "#" + now);
    } catch {
      // Some browsers allow no such thing to a file; the links are then left out.
    }
  },
  show() {},
};

function head() {
  return (state.heads[state.lang] ??= value(first.head, state.lang, []));
}

function say(key) {
  places.status.textContent = key ? head().words[key] : "";
  places.status.hidden = !key;
}

// An item as the page's server would draw it.
async function drawnItem(task, id) {
  const at = state.at.get(task + "/" + id);
  if (at === undefined) return null;
  const { lang, pair } = state;
  const size = head().block_size;
  const own = await block(1 + Math.floor(at / size));
  const count = own.roots.length / head().pairs.length;
  const payload = value(own.roots[pair * count + (at % size)], lang, own.nodes);
  return payload && TEMPLATES["item.html"]({ ...payload, w: state.heads[lang].labels }).html;
}

function show() {
  const { lang, pair } = state;
  root.lang = lang;
  document.title = head().title;
  for (const part of document.querySelectorAll("[data-jgr-lang]")) {
    const ofPair = part.dataset.jgrPair ?? String(pair);
    part.hidden = part.dataset.jgrLang !== lang || ofPair !== String(pair);
  }
  for (const button of document.querySelectorAll("[data-jgr-to]")) {
    if (button.dataset.jgrTo === lang) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  if (places.pair) {
    places.pair.value = String(pair);
    head().pair_names.forEach((name, i) => { places.pair.options[i].textContent = name; });
  }
  const listed = head().pairs[pair];
  state.at = new Map(listed.rows.map((row, i) => [listed.tasks[row[0]][0] + "/" + row[1], listed.places?.[i] ?? i]));
  props.value = listed;
  matrixProps.value = head().matrix;
  for (const follow of followers) follow();
}

async function showLanguage(lang) {
  state.lang = lang;
  globalThis.jgAddress.update({ lang });
  show();
  const [task, ...id] = places.item.querySelector(".jg-item")?.dataset.item.split("/") ?? [];
  const html = await drawnItem(task, id.join("/"));
  // By now another language or item may be shown.
  if (html && lang === state.lang && places.item.querySelector(".jg-item")?.dataset.item === task + "/" + id.join("/")) {
    places.item.innerHTML = globalThis.jgItem = html;
  }
}

function showPair(pair) {
  state.pair = pair;
  places.item.textContent = "";
  globalThis.jgAddress.update({ pair: pair ? String(pair) : null, item: null });
  show();
}

// The page's item list, which asks a server for items; here it is the file itself.
function startList() {
  const server = {
    item: async ({ task, id }) => {
      try {
        return { html: await drawnItem(task, id) };
      } catch (error) {
        broken(error);
        throw error;
      }
    },
  };
  const followed = (name, follow) => followers.push(follow);
  const triggered = (name) => { if (name === "select") places.item.innerHTML = globalThis.jgItem; };
  ITEM_LIST(places.list, props, triggered, followed, server);
}

// With more than two runs: the page's matrix of items × runs, and the table of runs, lead to an item of a pair.
const pairOf = (run) => head().pairs.findIndex((one) => one.b === run);

function openOf(pair, task, id) {
  if (pair >= 0 && pair !== state.pair) showPair(pair);
  const button = byId("jgr-open");
  Object.assign(button.dataset, { jgTask: task, jgId: id });
  button.click();
  places.item.scrollIntoView({ block: "start" });
}

function startMatrix() {
  const followed = (name, follow) => followers.push(follow);
  const triggered = (name, data) => { if (name === "select") openOf(pairOf(data.run), data.task, data.id); };
  ITEM_MATRIX(byId("matrix-items"), matrixProps, triggered, followed);
  document.addEventListener("click", (event) => {
    const pair = pairOf(event.target.closest?.(".jg-open-pair")?.dataset.run);
    if (pair < 0) return;
    showPair(pair);
    places.pair.scrollIntoView({ block: "start" });
  });
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => root.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", follow);
  follow();
}

// What a link into the file asks for.
function wanted() {
  const asked = params();
  const lang = asked.get("lang");
  state.lang = LANGUAGES.includes(lang) ? lang : navigator.language?.toLowerCase().startsWith("ja") ? "ja" : "en";
  const pair = Number(asked.get("pair") ?? 0);
  state.pair = Number.isInteger(pair) && pair >= 0 && pair < head().pairs.length ? pair : 0;
  const [task, ...id] = (asked.get("item") ?? "").split("/");
  if (!["item", "filter", "subset", "search"].some((name) => asked.get(name))) return;
  const listed = head().pairs[state.pair];
  const named = listed.rows.some((row) => listed.tasks[row[0]][0] === task && row[1] === id.join("/"));
  const open = named ? { task, id: id.join("/") } : null;
  if (open) listed.open = open;
  listed.view = {
    filter: asked.get("filter") ?? "all", task: asked.get("subset") ?? "", search: asked.get("search") ?? "", open,
  };
}

async function start() {
  theme();
  if (typeof DecompressionStream === "undefined") {
    byId("jgr-old").hidden = false;
    return;
  }
  first = await unpack("jgr-block-0");
  wanted();
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-jgr-to]");
    if (button) showLanguage(button.dataset.jgrTo);
  });
  places.pair?.addEventListener("change", () => showPair(Number(places.pair.value)));
  show();
  startList();
  if (places.pair) startMatrix();
  // Only what the file is opened with is taken from its address.
  delete props.value.view;
  say("");
  root.dataset.jgrReady = "true";
}

function broken(error) {
  byId("jgr-broken").hidden = false;
  console.error(error);
}

start().catch(broken);
