// The item list: filters, search, sorting and scrolling happen here, without asking the server, so that thousands of
// rows stay quick. Only the rows in sight are elements. Every text is set as text, never as markup.
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
const state = { filter: "all", task: "", search: "", sort: "order", chosen: "", rows: [], value: null };
const key = (row) => row.k + "/" + row.i;
let opening = 0;

const toolbar = (() => {
  const filters = make("div", "jg-filters");
  filters.setAttribute("role", "group");
  const search = make("input", "jg-search");
  search.type = "search";
  const task = make("select", "jg-sort jg-task");
  const sort = make("select", "jg-sort jg-order");
  const count = make("span", "jg-count");
  count.setAttribute("aria-live", "polite");
  const line = make("div", "jg-tool-line");
  line.append(search, task, sort, count);
  tools.append(filters, line);
  search.addEventListener("input", () => { state.search = search.value; choose(); remember(); });
  task.addEventListener("change", () => { state.task = task.value; drawTools(); choose(); remember(); });
  sort.addEventListener("change", () => { state.sort = sort.value; choose(); });
  return { filters, search, task, sort, count };
})();
const inner = make("div", "jg-list-inner");
view.append(inner);
view.addEventListener("scroll", () => requestAnimationFrame(draw));
new ResizeObserver(() => draw()).observe(view);

function words() { return state.value?.words ?? {}; }

function drawTools() {
  const value = state.value;
  toolbar.filters.setAttribute("aria-label", words().filter ?? "");
  const counts = {};
  const inTask = value.rows.filter((row) => !state.task || row.k === state.task);
  for (const row of inTask) for (const name of row.f) counts[name] = (counts[name] ?? 0) + 1;
  const old = document.activeElement?.dataset?.filter;
  toolbar.filters.textContent = "";
  for (const [name, label] of value.filters) {
    const button = make("button", "jg-filter", label);
    button.type = "button";
    button.dataset.filter = name;
    button.setAttribute("aria-pressed", String(state.filter === name));
    button.append(make("span", "jg-filter-count", String(name === "all" ? inTask.length : counts[name] ?? 0)));
    button.addEventListener("click", () => { state.filter = name; drawTools(); choose(); remember(); });
    toolbar.filters.append(button);
    if (old === name) button.focus();
  }
  toolbar.search.placeholder = words().search ?? "";
  toolbar.search.setAttribute("aria-label", words().search ?? "");
  toolbar.sort.setAttribute("aria-label", words().sort ?? "");
  toolbar.task.setAttribute("aria-label", words().task ?? "");
  const tasks = new Map(value.rows.map((row) => [row.k, row.t]));
  if (!tasks.has(state.task)) state.task = "";
  const names = [["", words().every ?? ""], ...tasks];
  if (toolbar.task.dataset.names !== JSON.stringify(names)) {
    toolbar.task.dataset.names = JSON.stringify(names);
    toolbar.task.textContent = "";
    for (const [name, label] of names) {
      const option = make("option", "", label);
      option.value = name;
      toolbar.task.append(option);
    }
  }
  toolbar.task.value = state.task;
  if (toolbar.sort.options.length !== (value.sorts ?? []).length) {
    toolbar.sort.textContent = "";
    for (const [name, label] of value.sorts ?? []) {
      const option = make("option", "", label);
      option.value = name;
      toolbar.sort.append(option);
    }
    if (!(value.sorts ?? []).some(([name]) => name === state.sort)) state.sort = "order";
    toolbar.sort.value = state.sort;
  }
  view.setAttribute("aria-label", words().items ?? "");
}

const ORDER = ["correct", "wrong_form", "wrong", "unreadable", "unfinished_thought", "truncated", "empty", "overflow", "error", "unscored", "cosine", ""];
const SORTS = {
  order: null,
  a: (row) => ORDER.indexOf(row.ao),
  b: (row) => ORDER.indexOf(row.bo),
  apart: (row) => -Math.abs(ORDER.indexOf(row.ao) - ORDER.indexOf(row.bo)),
};

const searched = (row) => (row.s ??= [row.t, row.i, row.q, row.g, row.a, row.b ?? ""].join(" ").toLowerCase());

function choose() {
  const needle = state.search.trim().toLowerCase();
  let rows = state.value.rows.filter(
    (row) => (state.filter === "all" || row.f.includes(state.filter))
      && (!state.task || row.k === state.task)
      && (!needle || searched(row).includes(needle)),
  );
  const by = SORTS[state.sort];
  if (by) rows = rows.map((row, i) => [by(row), i, row]).sort((x, y) => x[0] - y[0] || x[1] - y[1]).map((x) => x[2]);
  state.rows = rows;
  toolbar.count.textContent = (words().count ?? "{}").replace("{}", rows.length.toLocaleString());
  view.scrollTop = Math.min(view.scrollTop, Math.max(0, rows.length * HEIGHT - view.clientHeight));
  inner.textContent = "";
  draw();
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
    if (old && old.row === rows[i]) mark(old, rows[i]);
    else {
      old?.remove();
      inner.append(option(rows[i], i));
    }
  }
  const at = rows.findIndex((row) => key(row) === state.chosen);
  if (at >= first && at < last) view.setAttribute("aria-activedescendant", "jg-row-" + at);
  else view.removeAttribute("aria-activedescendant");
}

function mark(made, row) {
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
  mark(made, row);
  const head = make("div", "jg-row-head");
  head.append(make("span", "jg-row-task", row.t), make("span", "jg-row-id", row.i),
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

function open(row, scroll = true, named = true) {
  state.chosen = key(row);
  if (named) remember({ item: state.chosen });
  draw();
  const { a, b } = state.value;
  trigger("select", { task: row.k, id: row.i, a, b });
  if (scroll && window.innerWidth < 1000) {
    document.querySelector("#item")?.scrollIntoView({ behavior: "smooth", block: "start" });
  }
}

// Answers to quick choices may come out of order: what came last may not be what was chosen last.
let asked = 0;
const answered = new MutationObserver(() => {
  if (!element.isConnected) return answered.disconnect();
  const seen = document.querySelector("#item .jg-item")?.dataset.item;
  const row = state.value?.rows.find((r) => key(r) === state.chosen);
  if (!row || !seen || seen === state.chosen) return;
  clearTimeout(asked);
  asked = setTimeout(() => {
    if (document.querySelector("#item .jg-item")?.dataset.item !== state.chosen) open(row, false);
  }, 400);
});
const place = document.querySelector("#item");
if (place) answered.observe(place, { childList: true, subtree: true });

function move(to, delay = 120) {
  if (!state.rows.length) return;
  const at = Math.max(0, Math.min(state.rows.length - 1, to));
  state.chosen = key(state.rows[at]);
  const top = at * HEIGHT;
  if (top < view.scrollTop) view.scrollTop = top;
  if (top + HEIGHT > view.scrollTop + view.clientHeight) view.scrollTop = top + HEIGHT - view.clientHeight;
  draw();
  clearTimeout(opening);
  opening = setTimeout(() => open(state.rows[at] ?? state.rows[0], false), delay);
}

const here = () => state.rows.findIndex((row) => key(row) === state.chosen);
view.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(view.clientHeight / HEIGHT) - 1);
  const steps = {
    ArrowDown: () => move(here() + 1), ArrowUp: () => move(Math.max(0, here() - 1)),
    PageDown: () => move(here() + page), PageUp: () => move(here() - page),
    Home: () => move(0), End: () => move(state.rows.length - 1), Enter: () => move(Math.max(0, here()), 0),
  };
  if (!steps[event.key]) return;
  event.preventDefault();
  steps[event.key]();
});

const actions = {
  step: (target) => {
    move(here() + Number(target.dataset.jgStep), 0);
    target.focus?.();
  },
  filter: (target) => {
    state.filter = target.dataset.jgFilter;
    state.task = target.dataset.jgTask ?? "";
    drawTools();
    choose();
    remember();
    element.scrollIntoView({ behavior: "smooth", block: "start" });
    if (state.rows.length) move(0, 0);
  },
  back: () => { element.scrollIntoView({ behavior: "smooth", block: "start" }); view.focus({ preventScroll: true }); },
  lab: (target) => trigger("submit", { ...target.dataset }),
};
const act = (event) => {
  if (!element.isConnected) return document.removeEventListener("click", act);
  const target = event.target.closest?.("[data-jg-do]");
  if (target && actions[target.dataset.jgDo]) actions[target.dataset.jgDo](target);
};
document.addEventListener("click", act);

// How the list begins, and what of it is in the address from then on.
function begin(view) {
  Object.assign(state, { filter: view.filter || "all", task: view.task, search: view.search, chosen: "" });
  toolbar.search.value = view.search;
  if (view.open) requestAnimationFrame(() => document.querySelector("#item")?.scrollIntoView({ block: "start" }));
}

function remember(more) {
  const { filter, task, search } = state;
  globalThis.jgAddress?.update({ filter: filter === "all" ? null : filter, subset: task, search: search.trim(), ...more });
}

function take() {
  const value = props.value;
  if (!value?.rows) return;
  const other = state.value && (state.value.a !== value.a || state.value.b !== value.b);
  const rejudged = !other && state.value && state.value.protocol !== value.protocol;
  state.value = value;
  if (other) Object.assign(state, { filter: "all", task: "", chosen: "" });
  if (value.view) begin(value.view);
  if (!value.filters.some(([name]) => name === state.filter)) state.filter = "all";
  drawTools();
  choose();
  if (value.open && !state.chosen) {
    const row = state.rows.find((r) => r.k === value.open.task && r.i === value.open.id);
    if (row) {
      state.chosen = key(row);
      view.scrollTop = Math.max(0, state.rows.indexOf(row) * HEIGHT - HEIGHT);
      if (value.fetch) open(row, false, false);
      else draw();
    }
  }
  if (rejudged && state.chosen) {
    // The item that is open is shown as it was judged before.
    const row = value.rows.find((r) => key(r) === state.chosen) ?? state.rows[0];
    if (row) open(row, false, false);
  }
  if (value.link !== undefined) globalThis.jgAddress?.show(value.link);
}
take();
watch("value", take);
