// Items × runs: a row for each item, a sign for each run. Filters and scrolling happen here and only the rows in sight
// are elements, so that thousands of items stay quick. Every text is set as text, never as markup.
const HEIGHT = 44;
const SPARE = 8;
const make = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
};
const tools = element.querySelector(".jg-tools");
const view = element.querySelector(".jg-grid");
const head = make("div", "jg-grid-row jg-grid-head");
const inner = make("div", "jg-grid-inner");
head.setAttribute("role", "row");
inner.setAttribute("role", "rowgroup");
const state = { value: null, rows: [], filter: "disagree", task: "", at: 0, column: 1 };
const words = () => state.value?.words ?? {};
const right = (outcome) => state.value.outcomes[outcome]?.[0] === "correct";
const counted = (outcome) => outcome >= 0 && !["overflow", "error", "unscored", "cosine"].includes(state.value.outcomes[outcome][0]);
const FILTERS = {
  all: () => true,
  disagree: (of) => of.some((x) => counted(x) && right(x)) && of.some((x) => counted(x) && !right(x)),
  lost: (of) => counted(of[0]) && right(of[0]) && of.slice(1).some((x) => counted(x) && !right(x)),
  gained: (of) => counted(of[0]) && !right(of[0]) && of.slice(1).some((x) => counted(x) && right(x)),
};

view.append(head, inner);
view.addEventListener("scroll", () => requestAnimationFrame(draw));
new ResizeObserver(() => draw()).observe(view);

function drawTools() {
  const value = state.value;
  const focused = document.activeElement?.dataset?.filter;
  tools.textContent = "";
  const filters = make("div", "jg-filters");
  filters.setAttribute("role", "group");
  filters.setAttribute("aria-label", words().filter ?? "");
  const inTask = value.rows.filter((row) => !state.task || row[0] === state.task);
  for (const [name, label] of value.filters) {
    const button = make("button", "jg-filter", label);
    button.type = "button";
    button.dataset.filter = name;
    button.setAttribute("aria-pressed", String(state.filter === name));
    button.append(make("span", "jg-filter-count", inTask.filter((row) => FILTERS[name](row[4])).length.toLocaleString()));
    button.addEventListener("click", () => { state.filter = name; choose(); });
    filters.append(button);
    if (focused === name) requestAnimationFrame(() => button.focus());
  }
  const task = make("select", "jg-sort");
  task.setAttribute("aria-label", words().task ?? "");
  for (const [name, label] of [["", words().every ?? ""], ...Object.entries(value.tasks)]) {
    const option = make("option", "", label);
    option.value = name;
    task.append(option);
  }
  task.value = state.task;
  task.addEventListener("change", () => { state.task = task.value; choose(); });
  const count = make("span", "jg-count", (words().count ?? "{}").replace("{}", state.rows.length.toLocaleString()));
  count.setAttribute("aria-live", "polite");
  const line = make("div", "jg-tool-line");
  line.append(task, count);
  tools.append(filters, line);
}

function drawHead() {
  head.textContent = "";
  head.append(make("span", "jg-grid-item"));
  state.value.runs.forEach(([, label], i) => {
    const cell = make("span", "jg-grid-cell", i ? String(i) : words().baseline ?? "");
    cell.setAttribute("role", "columnheader");
    cell.title = label;
    cell.append(make("span", "jg-unseen", label));
    head.append(cell);
  });
}

function choose() {
  state.rows = state.value.rows.filter((row) => (!state.task || row[0] === state.task) && FILTERS[state.filter](row[4]));
  state.at = 0;
  view.scrollTop = 0;
  inner.textContent = "";
  drawTools();
  draw();
}

function draw() {
  const rows = state.rows;
  view.setAttribute("aria-rowcount", String(rows.length + 1));
  if (!rows.length) {
    inner.style.height = "auto";
    inner.textContent = "";
    if (state.value) inner.append(make("p", "jg-list-empty", words().none ?? ""));
    view.removeAttribute("aria-activedescendant");
    return;
  }
  inner.style.height = rows.length * HEIGHT + "px";
  const first = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.scrollTop + view.clientHeight) / HEIGHT) + SPARE);
  const drawn = new Set();
  for (const child of [...inner.children]) {
    const at = Number(child.dataset.at);
    if (at >= first && at < last) drawn.add(at);
    else child.remove();
  }
  for (let i = first; i < last; i++) if (!drawn.has(i)) inner.append(row(rows[i], i));
  for (const old of inner.querySelectorAll(".jg-grid-at")) old.classList.remove("jg-grid-at");
  const cell = inner.querySelector("#" + cellId(state.at, state.column));
  cell?.classList.add("jg-grid-at");
  if (cell) view.setAttribute("aria-activedescendant", cell.id);
  else view.removeAttribute("aria-activedescendant");
}

const cellId = (at, column) => `jg-cell-${at}-${column}`;

function row(item, at) {
  const [task, id, question, gold, outcomes] = item;
  const made = make("div", "jg-grid-row");
  made.dataset.at = String(at);
  made.style.top = at * HEIGHT + "px";
  made.setAttribute("role", "row");
  made.setAttribute("aria-rowindex", String(at + 2));
  const about = make("span", "jg-grid-item");
  about.setAttribute("role", "rowheader");
  about.append(make("span", "jg-grid-id", `${state.value.tasks[task]} ${id} · ${words().gold ?? ""} ${gold}`), make("span", "jg-grid-question", question));
  made.append(about);
  outcomes.forEach((outcome, column) => {
    const cell = make("span", "jg-grid-cell");
    const [name, sign, text] = state.value.outcomes[outcome] ?? ["none", "", words().missing ?? ""];
    cell.id = cellId(at, column);
    cell.setAttribute("role", "gridcell");
    cell.title = text;
    cell.append(make("span", "jg-swatch jg-o-" + name, sign || "–"), make("span", "jg-unseen", text));
    cell.addEventListener("click", () => open(at, column));
    made.append(cell);
  });
  return made;
}

function open(at, column) {
  state.at = at;
  state.column = column;
  draw();
  const [task, id] = state.rows[at];
  // The baseline alone is shown beside the first of the others.
  const other = state.value.runs[column || 1] ?? state.value.runs[0];
  trigger("select", { task, id, run: other[0] });
}

view.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(view.clientHeight / HEIGHT) - 2);
  const steps = {
    ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1], PageDown: [page, 0], PageUp: [-page, 0],
    Home: [-Infinity, 0], End: [Infinity, 0],
  };
  if (!state.rows.length || (event.key !== "Enter" && !steps[event.key])) return;
  event.preventDefault();
  if (event.key === "Enter") return open(state.at, state.column);
  const [down, along] = steps[event.key];
  state.at = Math.max(0, Math.min(state.rows.length - 1, state.at + down));
  state.column = Math.max(0, Math.min(state.value.runs.length - 1, state.column + along));
  const top = state.at * HEIGHT;
  if (top < view.scrollTop) view.scrollTop = top;
  if (top + 2 * HEIGHT > view.scrollTop + view.clientHeight) view.scrollTop = top + 2 * HEIGHT - view.clientHeight;
  draw();
  inner.querySelector("#" + cellId(state.at, state.column))?.scrollIntoView({ block: "nearest", inline: "nearest" });
});

function take() {
  const value = props.value;
  element.hidden = !value?.rows;
  if (!value?.rows) {
    // What a page is opened with stays in its address until it has been drawn.
    if (state.value) globalThis.jgAddress?.update({ runs: null, baseline: null });
    return;
  }
  globalThis.jgAddress?.update({ runs: value.runs.map(([name]) => name).join(","), baseline: value.baseline });
  const same = state.value && JSON.stringify(state.value.runs) === JSON.stringify(value.runs);
  state.value = value;
  if (!same) Object.assign(state, { filter: "disagree", task: "", column: Math.min(1, value.runs.length - 1) });
  if (state.task && !value.tasks[state.task]) state.task = "";
  view.style.setProperty("--jg-columns", value.runs.length);
  view.setAttribute("aria-label", words().open ?? "");
  drawHead();
  choose();
}
take();
watch("value", take);
