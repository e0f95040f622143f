// The item list: its rows, drawn as far as they are in sight, and moving between them. Filters are in item_filters.js,
// opening an item and its marks in item_open.js; the three are one script. Everything but an item itself happens
// without asking the server, so that thousands of rows stay quick. Every text is set as text, never as markup.
const HEIGHT = 84;
const SPARE = 6;
const make = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
};
const tools = element.querySelector(".jg-tools");
const view = element.querySelector(".jg-list");
const state = { filter: "all", task: "", search: "", sort: "order", more: {}, chosen: "", all: [], rows: [], value: null };
const key = (row) => row.k + "/" + row.i;
const words = () => state.value?.words ?? {};

const inner = make("div", "jg-list-inner");
view.append(inner);
view.addEventListener("scroll", () => requestAnimationFrame(draw));
new ResizeObserver(() => draw()).observe(view);

// --- rows: `packed` in views/items.py made these lists -----------------------------------------------------
function unpack(value) {
  return value.rows.map(([task, i, q, gold, label, bits, ...sides]) => {
    const [k, t] = value.tasks[task];
    const row = { k, t, i, q, g: value.golds[gold], l: value.labels[label], bits };
    for (const [at, side] of ["a", "b"].entries()) {
      if (sides.length <= 4 * at) break;
      const [text, outcome, rule, length] = sides.slice(4 * at, 4 * at + 4);
      Object.assign(row, { [side]: text, [side + "o"]: value.outcomes[outcome], [side + "r"]: rule, [side + "n"]: length });
    }
    row.marked = value.marked[key(row)] ?? {};
    return row;
  });
}

function draw() {
  const rows = state.rows;
  inner.style.height = rows.length * HEIGHT + "px";
  if (!rows.length) {
    inner.textContent = "";
    inner.append(make("p", "jg-list-empty", words().none ?? ""));
    inner.style.height = "auto";
    view.removeAttribute("aria-activedescendant");
    return;
  }
  const first = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.scrollTop + view.clientHeight) / HEIGHT) + SPARE);
  const have = new Map([...inner.children].map((child) => [child.dataset.at, child]));
  for (const [at, child] of have) if (!(Number(at) >= first && Number(at) < last)) child.remove();
  for (let i = first; i < last; i++) {
    const old = have.get(String(i));
    if (old && old.row === rows[i]) select(old, rows[i]);
    else {
      old?.remove();
      inner.append(option(rows[i], i));
    }
  }
  const at = here();
  if (at >= first && at < last) view.setAttribute("aria-activedescendant", "jg-row-" + at);
  else view.removeAttribute("aria-activedescendant");
}

function select(made, row) {
  made.setAttribute("aria-selected", String(key(row) === state.chosen));
}

function option(row, i) {
  const made = make("div", "jg-row");
  made.row = row;
  made.id = "jg-row-" + i;
  made.dataset.at = String(i);
  made.style.top = i * HEIGHT + "px";
  made.setAttribute("role", "option");
  made.setAttribute("aria-setsize", String(state.rows.length));
  made.setAttribute("aria-posinset", String(i + 1));
  select(made, row);
  const head = make("div", "jg-row-head");
  head.append(make("span", "jg-row-task", row.t), make("span", "jg-row-id", state.value.ids[row.i] ?? row.i), signsOf(row),
    make("span", "jg-row-gold", (words().gold ?? "") + " " + row.g));
  made.append(head, make("div", "jg-row-question", row.q));
  const said = make("div", "jg-row-said");
  for (const side of ["a", "b"]) {
    if (row[side + "o"] === undefined) continue;
    const cell = make("span", "jg-row-side");
    const [sign, name] = state.value.marks[row[side + "o"]] ?? ["", ""];
    const badge = make("span", "jg-swatch jg-o-" + (row[side + "o"] || "none"), sign || "…");
    badge.title = name;
    const spoken = make("span", "jg-unseen", name);
    cell.append(make("b", "jg-tag jg-tag-" + side, side.toUpperCase()), badge, spoken, make("span", "jg-row-text", row[side]));
    said.append(cell);
  }
  made.append(said);
  made.addEventListener("click", () => { open(row); view.focus({ preventScroll: true }); });
  return made;
}

// The marks of both sides, and a pencil for a note.
function signsOf(row) {
  const made = make("span", "jg-row-marks");
  const names = [];
  for (const side of ["a", "b"]) {
    const { marks = [], note = "" } = row.marked[side] ?? {};
    if (!marks.length && !note) continue;
    const signs = marks.map((mark) => state.value.signs[mark]?.[0] ?? "").join("") + (note ? "✎" : "");
    made.append(make("b", "jg-tag jg-tag-" + side, side.toUpperCase()), make("span", "", signs));
    names.push([side.toUpperCase(), ...marks.map((mark) => state.value.signs[mark]?.[1] ?? ""), note].filter(Boolean).join(" "));
  }
  made.title = names.join("\n");
  return made;
}

// --- moving ----------------------------------------------------------------------------------------------
const here = () => state.rows.findIndex((row) => key(row) === state.chosen);
let opening = 0;

function move(to, delay = 80, focus = false) {
  if (!state.rows.length) return;
  const at = Math.max(0, Math.min(state.rows.length - 1, to));
  state.chosen = key(state.rows[at]);
  const top = at * HEIGHT;
  if (top < view.scrollTop) view.scrollTop = top;
  if (top + HEIGHT > view.scrollTop + view.clientHeight) view.scrollTop = top + HEIGHT - view.clientHeight;
  draw();
  clearTimeout(opening);
  opening = setTimeout(() => open(state.rows[at] ?? state.rows[0], { scroll: false, focus }), delay);
}

const page = () => Math.max(1, Math.floor(view.clientHeight / HEIGHT) - 1);
const steps = {
  ArrowDown: () => move(here() + 1), ArrowUp: () => move(Math.max(0, here() - 1)),
  PageDown: () => move(here() + page()), PageUp: () => move(here() - page()),
  Home: () => move(0), End: () => move(state.rows.length - 1), Enter: () => move(Math.max(0, here()), 0, true),
};
const keys = {
  j: () => toList(() => steps.ArrowDown()),
  k: () => toList(() => steps.ArrowUp()),
  o: () => move(Math.max(0, here()), 0, true),
  "/": () => { toolbar.search.focus(); toolbar.search.select(); },
  d: () => { for (const box of document.querySelectorAll("#item [data-jg-diff]")) box.click(); },
  m: () => document.querySelector("#item .jg-mark")?.focus(),
};

function toList(then) {
  view.focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
  then();
}

const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable=true]";
function pressed(event) {
  if (!element.isConnected) return document.removeEventListener("keydown", pressed);
  const { target } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  // Only where the list is in sight, on its tab.
  if (!view.offsetParent || !state.rows.length && event.key !== "/") return;
  const inItem = target.closest?.("#item");
  if (event.key === "Escape" && (inItem || target === toolbar.search)) {
    event.preventDefault();
    return view.focus({ preventScroll: true });
  }
  if (target.closest?.(TYPING)) return;
  // Arrows belong to what is scrolled or chosen with them, unless the list or the item as a whole has the focus.
  const step = target === view || target.classList?.contains("jg-item") ? steps[event.key] : undefined;
  const act = keys[event.key] ?? (event.key === "Enter" && target !== view ? undefined : step);
  if (!act) return;
  event.preventDefault();
  act();
}
document.addEventListener("keydown", pressed);
