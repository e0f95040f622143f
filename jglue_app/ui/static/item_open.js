// --- an item: opening it, its marks and note -----------------------------------------------------------------
const MOST_KEPT = 60;
const kept = new Map();

// The item as the server draws it, every text escaped. Those that are likely to be opened next are fetched before.
function fetched(row, anew = false) {
  const name = key(row);
  if (anew || !kept.has(name)) {
    kept.delete(name);
    if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value);
    const { a, b, protocol } = state.value;
    const answer = server.item({ a, b, protocol, task: row.k, id: row.i }).catch(() => null);
    const html = answer.then((found) => {
      if (!found?.html && kept.get(name) === html) kept.delete(name);
      return found?.html ?? null;
    });
    kept.set(name, html);
  }
  return kept.get(name);
}

function show(row, html) {
  if (html === null) trigger("option_select", { task: row.k, id: row.i, a: state.value.a, b: state.value.b });
  else if (shownKey() === key(row) && globalThis.jgItem === html) arrived();
  else {
    globalThis.jgItem = html;
    trigger("select", { task: row.k, id: row.i });
  }
}

async function open(row, { scroll = true, named = true, focus = false } = {}) {
  const before = state.rows.findIndex((one) => key(one) === shownKey());
  state.chosen = key(row);
  draw();
  if (named) remember({ item: state.chosen });
  const wasFetched = kept.has(key(row));
  const html = await fetched(row);
  // Another one was chosen meanwhile.
  if (state.chosen !== key(row)) return;
  focusNext = focus;
  show(row, html);
  // What was fetched before may have changed: the run was deleted, or marked in another window.
  if (wasFetched) {
    fetched(row, true).then((now) => { if (state.chosen === key(row) && now !== html) show(row, now); });
  }
  if (scroll && window.innerWidth < 1000) {
    document.querySelector("#item")?.scrollIntoView({ behavior: gently(), block: "start" });
  }
  const next = state.rows[here() + (before > here() ? -1 : 1)];
  if (next) setTimeout(() => { if (state.chosen === key(row)) fetched(next); }, 150);
}

const gently = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");
const shownItem = () => document.querySelector("#item .jg-item");
const shownKey = () => shownItem()?.dataset.item;

// What the page does with an item that has just been drawn.
let focusNext = false, drawn = [];
const diffs = {};
function arrived() {
  const item = shownItem();
  for (const prompt of item.querySelectorAll(".jg-prompt")) prompt.scrollTop = prompt.scrollHeight;
  for (const box of item.querySelectorAll("[data-jg-diff]")) box.checked = Boolean(diffs[box.dataset.jgDiff]);
  // At an end of the list the button to the next item does nothing, and says so.
  for (const button of item.querySelectorAll("[data-jg-step]")) {
    const to = here() + Number(button.dataset.jgStep);
    button.setAttribute("aria-disabled", String(to < 0 || to >= state.rows.length));
  }
  if (focusNext) item.focus();
  focusNext = false;
}
const answered = new MutationObserver(() => {
  if (!element.isConnected) return answered.disconnect();
  const item = shownItem();
  // Gradio puts another item into the element of the one before.
  const now = [item, shownKey(), globalThis.jgItem];
  if (!item || now.every((part, at) => part === drawn[at])) return;
  drawn = now;
  arrived();
});
const place = document.querySelector("#item");
if (place) answered.observe(place, { childList: true, subtree: true });
const switched = (event) => {
  if (!element.isConnected) return document.removeEventListener("change", switched);
  const name = event.target.dataset?.jgDiff;
  if (!name) return;
  diffs[name] = event.target.checked;
  for (const prompt of shownItem()?.querySelectorAll(".jg-prompt") ?? []) prompt.scrollTop = prompt.scrollHeight;
};
document.addEventListener("change", switched);

// --- marks ------------------------------------------------------------------------------------------------------
let saving = Promise.resolve();
function save(target) {
  const box = target.closest(".jg-marks");
  const [task, ...id] = shownKey().split("/");
  const row = state.all.find((one) => key(one) === shownKey());
  const pressedNow = (button) => button.getAttribute("aria-pressed") === "true";
  if (target.dataset.mark) target.setAttribute("aria-pressed", String(!pressedNow(target)));
  const marks = [...box.querySelectorAll(".jg-mark")].filter(pressedNow).map((button) => button.dataset.mark);
  const note = box.querySelector("textarea").value;
  // One after the other, so that the last change is what is kept.
  saving = saving.then(async () => {
    const answer = await server.mark({ run: box.dataset.run, task, id: id.join("/"), marks, note }).catch(() => null);
    const said = box.querySelector(".jg-marks-said");
    const failed = !answer || answer.error;
    said.textContent = failed ? answer?.error ?? words().unsaved ?? "" : answer.said;
    said.classList.toggle("jg-marks-failed", Boolean(failed));
    if (failed && target.dataset.mark) target.setAttribute("aria-pressed", String(!pressedNow(target)));
    if (failed || !row) return;
    row.marked = { ...row.marked, [box.dataset.side]: { marks: answer.marks, note: answer.note } };
    row.s = undefined;
    kept.delete(key(row));
    inner.textContent = "";
    draw();
  });
}

// --- what the buttons of the page do --------------------------------------------------------------------------------
const actions = {
  step: (target) => {
    if (target.getAttribute("aria-disabled") === "true") return;
    move(here() + Number(target.dataset.jgStep), 0);
    target.focus?.();
  },
  filter: (target) => {
    Object.assign(state, { filter: target.dataset.jgFilter, task: target.dataset.jgTask ?? "", search: "", more: {} });
    toolbar.search.value = "";
    drawTools();
    chosen(0);
    element.scrollIntoView({ behavior: gently(), block: "start" });
  },
  open: (target) => {
    const row = state.all.find((one) => one.k === target.dataset.jgTask && one.i === target.dataset.jgId);
    if (row) open(row);
  },
  back: () => { element.scrollIntoView({ behavior: gently(), block: "start" }); view.focus({ preventScroll: true }); },
  lab: (target) => trigger("submit", { ...target.dataset }),
  mark: (target) => save(target),
};
const act = (event) => {
  if (!element.isConnected) return document.removeEventListener("click", act);
  const target = event.target.closest?.("[data-jg-do]");
  if (target && actions[target.dataset.jgDo]) actions[target.dataset.jgDo](target);
};
document.addEventListener("click", act);
const saveByKey = (event) => {
  if (!element.isConnected) return document.removeEventListener("keydown", saveByKey);
  const box = event.target.closest?.(".jg-my-note");
  if (box && event.key === "Enter" && (event.ctrlKey || event.metaKey)) save(box.querySelector("[data-jg-do]"));
};
document.addEventListener("keydown", saveByKey);

// What a report of this comparison has to show: its runs, and the items where these are not all that are stored.
view.jgShown = () => {
  const { a, b, part, protocol } = state.value ?? {};
  const items = {};
  for (const row of part ? state.all : []) (items[row.k] ??= []).push(row.i);
  return { a, b, protocol, items: part ? items : null };
};

// --- a new value ------------------------------------------------------------------------------------------------
function take() {
  const value = props.value;
  if (!value?.rows) return;
  const other = state.value && (state.value.a !== value.a || state.value.b !== value.b);
  const rejudged = !other && state.value && state.value.protocol !== value.protocol;
  state.value = value;
  state.all = unpack(value);
  kept.clear();
  if (other) Object.assign(state, { filter: "all", task: "", more: {}, chosen: "" });
  if (value.view) begin(value.view);
  if (!value.filters.some(([name]) => name === state.filter)) state.filter = "all";
  drawTools();
  choose();
  if (value.open && !state.chosen) {
    const row = state.all.find((one) => one.k === value.open.task && one.i === value.open.id);
    if (row) {
      state.chosen = key(row);
      view.scrollTop = Math.max(0, here() * HEIGHT - HEIGHT);
      if (value.fetch) open(row, { scroll: false, named: false });
      else draw();
    }
    if (value.view?.open) requestAnimationFrame(() => document.querySelector("#item")?.scrollIntoView({ block: "start" }));
  }
  if (rejudged && state.chosen) {
    // The item that is open is shown as it was judged before.
    const row = state.all.find((one) => key(one) === state.chosen) ?? state.rows[0];
    if (row) open(row, { scroll: false, named: false });
  }
  tell((address) => {
    if (value.link !== undefined) address.show(value.link);
    address.update({ protocol: value.protocol === "official" ? null : value.protocol }, "compare");
  });
}
// A list that is there with the page itself is there before the script of the page.
function tell(what, tries = 100) {
  if (globalThis.jgAddress) what(globalThis.jgAddress);
  else if (tries) setTimeout(() => tell(what, tries - 1), 50);
}
take();
watch("value", take);
