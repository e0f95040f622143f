// --- filters, search and sorting of the item list ------------------------------------------------------------
// A search that is written as /…/ is a regular expression. One may take for ever: it runs in a worker, which is stopped.
const REGEX_LIMIT = 1500;
const LENGTHS = { 0: [0, 0], "1–10": [1, 10], "11–50": [11, 50], "51–200": [51, 200], "201–": [201, Infinity] };
const ORDER = ["correct", "wrong_form", "wrong", "unreadable", "unfinished_thought", "truncated", "empty", "overflow", "error", "unscored", "cosine", ""];
const SORTS = {
  order: null,
  a: (row) => ORDER.indexOf(row.ao),
  b: (row) => ORDER.indexOf(row.bo),
  apart: (row) => -Math.abs(ORDER.indexOf(row.ao) - ORDER.indexOf(row.bo)),
};
const searched = (row) => (row.s ??= [row.t, row.i, row.q, row.g, row.a, row.b ?? "", ...Object.values(row.marked).map((of) => of.note)].join(" "));

const toolbar = (() => {
  const filters = make("div", "jg-filters");
  filters.setAttribute("role", "group");
  const search = make("input", "jg-search");
  search.type = "search";
  const regex = make("button", "jg-button jg-regex", ".*");
  regex.type = "button";
  const task = make("select", "jg-sort jg-task");
  const sort = make("select", "jg-sort jg-order");
  const count = make("span", "jg-count");
  count.setAttribute("role", "status");
  const line = make("div", "jg-tool-line");
  const source = make("span", "jg-chip");
  line.append(search, regex, task, sort, source, count);
  const more = make("details", "jg-filter-more");
  const summary = make("summary");
  const fields = make("div", "jg-filter-more-fields");
  more.append(summary, fields);
  const help = make("p", "jg-small jg-keys");
  tools.append(filters, line, more, help);
  search.addEventListener("input", () => { state.search = search.value; drawRegex(); chosen(200); });
  regex.addEventListener("click", () => {
    const pattern = regexIn(state.search);
    search.value = state.search = pattern === null ? "/" + state.search + "/" : pattern;
    drawRegex();
    search.focus();
    if (pattern === null) search.setSelectionRange(1, search.value.length - 1);
    chosen(0);
  });
  task.addEventListener("change", () => { state.task = task.value; drawTools(); chosen(0); });
  sort.addEventListener("change", () => { state.sort = sort.value; choose(); });
  return { filters, search, regex, task, sort, source, count, summary, fields, help };
})();

const regexIn = (text) => (text.length > 1 && text.startsWith("/") && text.endsWith("/") ? text.slice(1, -1) : null);

function drawRegex() {
  toolbar.regex.setAttribute("aria-pressed", String(regexIn(state.search) !== null));
}

function drawTools() {
  const value = state.value;
  toolbar.filters.setAttribute("aria-label", words().filter ?? "");
  const inTask = state.all.filter((row) => !state.task || row.k === state.task);
  const old = document.activeElement?.dataset?.filter;
  toolbar.filters.textContent = "";
  for (const [name, label] of value.filters) {
    const button = make("button", "jg-filter", label);
    button.type = "button";
    button.dataset.filter = name;
    button.setAttribute("aria-pressed", String(state.filter === name));
    button.append(make("span", "jg-filter-count", String(inTask.filter((row) => matches(row, name)).length)));
    button.addEventListener("click", () => { state.filter = name; drawTools(); chosen(0); });
    toolbar.filters.append(button);
    if (old === name) button.focus();
  }
  toolbar.search.placeholder = words().search ?? "";
  toolbar.search.setAttribute("aria-label", words().search ?? "");
  toolbar.regex.setAttribute("aria-label", words().regex ?? "");
  toolbar.regex.title = words().regex ?? "";
  toolbar.help.textContent = words().keys ?? "";
  drawRegex();
  if (!value.tasks.some(([name]) => name === state.task)) state.task = "";
  fill(toolbar.task, words().task, [["", words().every ?? ""], ...value.tasks], state.task);
  if (!(value.sorts ?? []).some(([name]) => name === state.sort)) state.sort = "order";
  fill(toolbar.sort, words().sort, value.sorts ?? [], state.sort);
  toolbar.source.textContent = value.source ?? "";
  toolbar.source.hidden = !value.source;
  drawMore(inTask);
  view.setAttribute("aria-label", words().items ?? "");
}

// A select keeps its elements, and what is focused in it, while its choices stay the same.
function fill(made, label, choices, chosenName) {
  made.setAttribute("aria-label", label ?? "");
  if (made.dataset.choices !== JSON.stringify(choices)) {
    made.dataset.choices = JSON.stringify(choices);
    made.textContent = "";
    for (const [name, text] of choices) {
      const one = make("option", "", text);
      one.value = name;
      made.append(one);
    }
  }
  made.value = chosenName;
}

// --- more filters: by outcome, gold label, rule, length, marks ------------------------------------------------
const has = (row, mark) => Object.values(row.marked).some((of) => (mark === "note" ? of.note : mark === "any" ? of.marks.length : of.marks.includes(mark)));
const within = (length, name) => length !== null && length >= LENGTHS[name][0] && length <= LENGTHS[name][1];
const ruleName = (row, side) => state.value.rules[row[side + "r"]]?.[0] ?? "";
const MORE = {
  ao: (row, wanted) => row.ao === wanted, bo: (row, wanted) => row.bo === wanted,
  l: (row, wanted) => row.l === wanted,
  ar: (row, wanted) => ruleName(row, "a") === wanted, br: (row, wanted) => ruleName(row, "b") === wanted,
  an: (row, wanted) => within(row.an, wanted), bn: (row, wanted) => within(row.bn, wanted),
  m: (row, wanted) => has(row, wanted),
};

function moreChoices(name, rows) {
  const value = state.value, side = name[0];
  const there = (of) => [...new Set(rows.map(of))].filter(Boolean);
  if (name === "m") return [["any", words().any_mark], ["note", words().noted], ...Object.entries(value.signs).map(([mark, [sign, text]]) => [mark, sign + " " + text])];
  if (name === "l") return there((row) => row.l).sort().map((label) => [label, label]);
  if (name.endsWith("o")) return there((row) => row[name]).sort((x, y) => ORDER.indexOf(x) - ORDER.indexOf(y)).map((o) => [o, (value.marks[o] ?? ["", o]).join(" ")]);
  if (name.endsWith("n")) return Object.keys(LENGTHS).map((length) => [length, length]);
  const texts = new Map(value.rules);
  return there((row) => ruleName(row, side)).sort().map((rule) => [rule, rule + " — " + (texts.get(rule) ?? "")]);
}

function drawMore(rows) {
  const both = state.value.rows.some((row) => row.length > 10);
  const titles = { o: words().outcome, r: words().rule, n: words().length, l: words().label, m: words().marked };
  const active = Object.values(state.more).filter(Boolean).length;
  toolbar.summary.textContent = (words().more ?? "") + (active ? " (" + active + ")" : "");
  const names = ["ao", "bo", "l", "m", "ar", "br", "an", "bn"].filter((name) => both || !name.startsWith("b"));
  for (const name of Object.keys(MORE)) if (!names.includes(name)) delete state.more[name];
  const signature = names.join();
  if (toolbar.fields.dataset.names !== signature) {
    toolbar.fields.dataset.names = signature;
    toolbar.fields.textContent = "";
    for (const name of names) {
      const made = make("select", "jg-sort");
      made.dataset.more = name;
      made.addEventListener("change", () => { state.more[name] = made.value; drawTools(); chosen(0); });
      const label = make("label", "jg-small");
      label.append(make("span"), made);
      toolbar.fields.append(label);
    }
    const clear = make("button", "jg-button jg-clear");
    clear.type = "button";
    clear.addEventListener("click", () => { state.more = {}; drawTools(); chosen(0); });
    toolbar.fields.append(clear);
  }
  for (const made of toolbar.fields.querySelectorAll("select")) {
    const name = made.dataset.more;
    const title = (name.length > 1 ? name[0].toUpperCase() + " " : "") + (titles[name.at(-1)] ?? "");
    made.previousSibling.textContent = title;
    const choices = moreChoices(name, rows);
    // A filter of the address, or one that no row of this subset matches, stays until it is taken away.
    if (state.more[name] && !choices.some(([one]) => one === state.more[name])) choices.push([state.more[name], state.more[name]]);
    fill(made, title, [["", words().any ?? ""], ...choices], state.more[name] ?? "");
  }
  toolbar.fields.querySelector(".jg-clear").textContent = words().clear ?? "";
  toolbar.fields.querySelector(".jg-clear").hidden = !active;
}

// --- the rows that match --------------------------------------------------------------------------------------
const matches = (row, name) => name === "all" || Boolean(row.bits & (1 << state.value.bits.indexOf(name)));

function choose() {
  const wanted = Object.entries(state.more).filter(([, value]) => value);
  const rows = state.all.filter((row) => matches(row, state.filter) && (!state.task || row.k === state.task)
    && wanted.every(([name, value]) => MORE[name](row, value)));
  const pattern = regexIn(state.search);
  stopSearch();
  if (pattern) return searchRegex(pattern, rows);
  const needle = state.search.trim().toLowerCase();
  list(needle && pattern === null ? rows.filter((row) => searched(row).toLowerCase().includes(needle)) : rows);
}

function list(rows) {
  const by = SORTS[state.sort];
  if (by) rows = rows.map((row, i) => [by(row), i, row]).sort((x, y) => x[0] - y[0] || x[1] - y[1]).map((x) => x[2]);
  state.rows = rows;
  count((words().count ?? "{}").replace("{}", rows.length.toLocaleString()));
  view.scrollTop = Math.min(view.scrollTop, Math.max(0, rows.length * HEIGHT - view.clientHeight));
  inner.textContent = "";
  draw();
  if (follows !== null) openFirst(follows);
  follows = null;
}

function count(text, wrong = false) {
  toolbar.count.textContent = text;
  toolbar.count.classList.toggle("jg-count-wrong", wrong);
}

// Somebody chose other rows: the open item stays if it is among them, else the first of them is opened.
let follows = null;
function chosen(delay) {
  follows = delay;
  remember();
  choose();
}

function openFirst(delay) {
  clearTimeout(opening);
  const at = here();
  if (at < 0) return move(0, delay);
  view.scrollTop = Math.max(0, Math.min(at * HEIGHT - HEIGHT, state.rows.length * HEIGHT - view.clientHeight));
}

let worker = null, limit = 0;
function stopSearch() {
  clearTimeout(limit);
  worker?.terminate();
  worker = null;
}

const WORK = `onmessage = ({ data: { pattern, texts } }) => {
  let regex;
  try { try { regex = new RegExp(pattern, "iu"); } catch { regex = new RegExp(pattern, "i"); } }
  catch (error) { return postMessage({ wrong: error.message }); }
  postMessage({ found: texts.map((text) => regex.test(text)) });
}`;

function searchRegex(pattern, rows) {
  const address = URL.createObjectURL(new Blob([WORK], { type: "text/javascript" }));
  const mine = worker = new Worker(address);
  URL.revokeObjectURL(address);
  const failed = (text) => { stopSearch(); list([]); count(text, true); };
  limit = setTimeout(() => failed(words().regex_slow ?? ""), REGEX_LIMIT);
  mine.onmessage = ({ data }) => {
    if (mine !== worker) return;
    stopSearch();
    if (data.wrong) return failed((words().regex_wrong ?? "{}").replace("{}", () => data.wrong));
    list(rows.filter((_, i) => data.found[i]));
  };
  mine.onerror = () => { if (mine === worker) failed((words().regex_wrong ?? "{}").replace("{}", "?")); };
  mine.postMessage({ pattern, texts: rows.map(searched) });
}

// --- the address ------------------------------------------------------------------------------------------------
// The filter in the address: its name, and those of the further ones with what they want: `disagree;ao=wrong;m=star`.
function remember(more) {
  const extra = Object.entries(state.more).filter(([, value]) => value).map(([name, value]) => name + "=" + value);
  const filter = [state.filter, ...extra].join(";");
  globalThis.jgAddress?.update({ filter: filter === "all" ? null : filter, subset: state.task || null, search: state.search.trim() || null, ...more });
}

function begin(given) {
  const [filter, ...extra] = (given.filter || "all").split(";");
  const more = extra.map((text) => text.split("=")).filter(([name, value]) => name in MORE && value && (!name.endsWith("n") || value in LENGTHS));
  Object.assign(state, { filter, more: Object.fromEntries(more), task: given.task ?? "", search: given.search ?? "", chosen: "" });
  toolbar.search.value = state.search;
}
