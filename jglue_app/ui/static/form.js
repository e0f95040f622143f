// What a form has and Gradio has not: boxes in which a model is typed or chosen of a list, sentences beside the boxes,
// and a run during which nothing moves. Every text is set as text, never as markup. Parts of the page put themselves into `jgFormParts`,
// whether they or this script come first.
const make = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
};
const language = () => ((navigator.language || "ja").startsWith("ja") ? "ja" : "en");

// --- the box of a model -----------------------------------------------------------------------------------

function modelBox({ element, props, trigger, watch, server }) {
  const words = props.words[language()];
  const id = props.name;
  const place = element.querySelector(".jg-model");
  const label = make("label", "jg-model-label", words.model);
  const info = make("div", "jg-model-info", words[props.public ? "model_info_public" : "model_info"]);
  const field = make("div", "jg-model-field");
  const input = make("input", "jg-model-input");
  const toggle = make("button", "jg-model-toggle", "▾");
  const list = make("ul", "jg-model-list");
  const count = make("span", "jg-unseen");
  let rows = [], shown = [], active = -1, note = "", filtering = false, whole = false, asked = 0, late = 0;
  let fetched = "model_list_fetching"; // What the list says while it has no row; empty once it was fetched.

  input.id = id + "-input";
  label.htmlFor = input.id;
  info.id = id + "-info";
  list.id = id + "-list";
  Object.assign(input, { type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: false, maxLength: 4000 });
  const says = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id,
    "aria-describedby": info.id };
  for (const [name, value] of Object.entries(says)) input.setAttribute(name, value);
  toggle.type = "button";
  toggle.tabIndex = -1;
  toggle.setAttribute("aria-label", words.model_open);
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", words.model_list);
  list.hidden = true;
  count.setAttribute("aria-live", "polite");
  if (props.same) input.placeholder = words.same_model;
  field.append(input, toggle);
  place.append(label, info, field, list, count);

  const typed = () => (props.same && !input.value.trim() ? props.same : input.value);
  const show = () => {
    const text = props.same && props.value === props.same ? "" : String(props.value ?? "");
    if (input.value !== text && typed() !== props.value) input.value = text;
  };
  const send = () => {
    clearTimeout(late);
    if (props.value === typed()) return;
    props.value = typed();
    trigger("input");
  };

  async function ask() {
    const number = ++asked;
    for (const name of ["models", "models_with_memory"]) {
      if (whole && Date.now() - whole < 20000) break;
      let answer;
      try { answer = await server[name](language()); } catch {
        if (number === asked && fetched) fetched = "model_list_failed";
        return draw();
      }
      if (number !== asked) return;
      fetched = "";
      rows = [...(props.same ? [{ id: props.same, facts: [], memory: null, same: true }] : []), ...answer.rows];
      note = answer.note;
      whole = answer.whole ? Date.now() : 0;
      draw();
    }
  }

  function draw() {
    const kept = shown[active]?.id;
    const needle = filtering ? input.value.trim().toLowerCase() : "";
    shown = rows.filter((row) => !needle || (!row.same && row.id.toLowerCase().includes(needle)));
    active = kept === undefined ? -1 : shown.findIndex((row) => row.id === kept);
    list.textContent = "";
    shown.forEach((row, i) => list.append(option(row, i)));
    const below = note || (shown.length ? "" : words[fetched || "model_none"]);
    if (below) {
      const empty = make("li", "jg-model-none", below);
      empty.setAttribute("role", "presentation");
      list.append(empty);
    }
    if (!list.hidden) count.textContent = shown.length ? String(shown.length) : below;
    mark();
    place_list();
  }

  function option(row, i) {
    const made = make("li", "jg-model-row");
    made.id = `${id}-row-${i}`;
    made.setAttribute("role", "option");
    made.append(make("span", "jg-model-id", row.same ? words.same_model : row.id));
    const facts = make("span", "jg-model-facts", row.facts.join(" · "));
    if (row.memory) {
      if (row.facts.length) facts.append(" · ");
      facts.append(make("span", row.memory.fits ? "jg-model-fits" : "jg-model-large", row.memory.text));
    }
    if (facts.textContent) made.append(facts);
    made.addEventListener("click", () => { take(row); input.focus(); });
    return made;
  }

  function mark() {
    [...list.children].forEach((child, i) => child.setAttribute("aria-selected", String(i === active)));
    if (active >= 0) {
      input.setAttribute("aria-activedescendant", `${id}-row-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function place_list() {
    if (list.hidden) return;
    const box = field.getBoundingClientRect();
    const below = window.innerHeight - box.bottom - 12, above = box.top - 12;
    const up = below < 220 && above > below;
    const width = Math.min(Math.max(box.width, 340), window.innerWidth - 16);
    Object.assign(list.style, {
      width: width + "px", left: Math.max(8, Math.min(box.left, window.innerWidth - width - 8)) + "px",
      maxHeight: Math.min(420, up ? above : below) + "px", top: up ? "auto" : box.bottom + 4 + "px",
      bottom: up ? window.innerHeight - box.top + 4 + "px" : "auto",
    });
  }

  function open() {
    if (!list.hidden || input.disabled) return;
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    fetched &&= "model_list_fetching";
    draw();
    ask();
  }
  function close() {
    list.hidden = true;
    active = -1;
    filtering = false;
    count.textContent = "";
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }
  function take(row) {
    input.value = row.same ? "" : row.id;
    close();
    send();
  }
  function move(to) {
    if (list.hidden) open();
    if (!shown.length) return;
    active = to < 0 ? shown.length - 1 : to % shown.length;
    mark();
  }

  input.addEventListener("input", () => {
    filtering = true;
    active = -1;
    open();
    draw();
    clearTimeout(late);
    late = setTimeout(send, 300);
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const keys = {
      ArrowDown: () => move(list.hidden ? Math.max(0, active) : active + 1),
      ArrowUp: () => move(active < 0 ? -1 : active - 1),
      Enter: () => { if (active >= 0) take(shown[active]); else { close(); send(); } },
      Escape: () => close(),
    };
    if (!keys[event.key] || (event.key === "Escape" && list.hidden)) return;
    event.preventDefault();
    keys[event.key]();
  });
  input.addEventListener("click", open);
  input.addEventListener("blur", () => { close(); send(); });
  // The box keeps the focus while its list is used, so that a touch on a row is no end of typing.
  for (const part of [list, toggle]) part.addEventListener("mousedown", (event) => event.preventDefault());
  toggle.addEventListener("click", () => { if (list.hidden) { input.focus(); open(); } else close(); });
  window.addEventListener("scroll", place_list, { passive: true, capture: true });
  window.addEventListener("resize", place_list);
  const lock = () => { input.disabled = toggle.disabled = props.interactive === false; };
  watch("value", show);
  watch("interactive", lock);
  show();
  lock();
}

// --- sentences beside the boxes ---------------------------------------------------------------------------

function notes({ props, watch }) {
  const drawn = new Map();
  function put(id, kind, text) {
    const box = document.getElementById(id);
    let made = drawn.get(id + kind);
    if (!box || !text) {
      made?.remove();
      drawn.delete(id + kind);
    } else {
      if (!made || made.parentElement !== box) {
        made?.remove();
        made = make("div", "jg-beside jg-beside-" + kind);
        made.id = `${id}-${kind}`;
        if (kind === "fault") made.setAttribute("role", "alert");
        box.append(made);
        drawn.set(id + kind, made);
      }
      if (made.textContent !== text) made.textContent = text;
    }
    if (!box) return;
    for (const control of box.querySelectorAll("input, textarea, [role=listbox]")) {
      if (kind === "fault") {
        if (text) control.setAttribute("aria-invalid", "true");
        else control.removeAttribute("aria-invalid");
      }
      const others = (control.getAttribute("aria-describedby") ?? "").split(" ").filter((x) => x && x !== `${id}-${kind}`);
      if (text) others.push(`${id}-${kind}`);
      if (others.length) control.setAttribute("aria-describedby", others.join(" "));
      else control.removeAttribute("aria-describedby");
    }
  }
  let before = [];
  function draw() {
    const now = [];
    for (const [kind, texts] of [["fault", props.value?.faults], ["hint", props.value?.hints]]) {
      for (const [id, text] of Object.entries(texts ?? {})) now.push([id, kind, text]);
    }
    for (const [id, kind] of before) if (!now.some(([i, k]) => i === id && k === kind)) put(id, kind, "");
    for (const part of now) put(...part);
    before = now;
  }
  watch("value", draw);
  draw();
}

// --- a run -------------------------------------------------------------------------------------------------

// What is redrawn twice a second stays unfolded where somebody has unfolded it.
const BAR = 110;
let unfolded = false;
function status({ element, watch }) {
  element.addEventListener("toggle", (event) => {
    if (event.target.matches("[data-jg-keep]") && event.target.isConnected) unfolded = event.target.open;
  }, true);
  // A page that is opened while a run goes on is held as well, once its button is there.
  const holdWhatGoesOn = (tries = 40) => {
    if (holder || !element.querySelector(".jg-going")) return;
    const panel = element.closest("[role=tabpanel]");
    const button = panel?.offsetHeight ? panel.querySelector("button.jg-run-button") : null;
    if (button) hold(button);
    else if (tries) setTimeout(() => holdWhatGoesOn(tries - 1), 50);
  };
  watch("value", () => {
    const more = element.querySelector("[data-jg-keep]");
    if (more) more.open = unfolded;
    holdWhatGoesOn();
  });
  holdWhatGoesOn();
}

// While a run goes on, nothing on its tab moves: what is drawn anew keeps at least the height that it had. The height
// is given back when the visitor next does something after the end.
let held = [], holder = null;
const panelOf = (button) => button?.closest("[role=tabpanel]") ?? document.body;
function release() {
  for (const part of held) {
    part.style.minHeight = "";
    part.style.removeProperty("--jg-held");
  }
  panelOf(holder).classList.remove("jg-held");
  held = [];
  holder = null;
}
function hold(button) {
  holder = button;
  const panel = panelOf(button);
  panel.classList.add("jg-held");
  for (const part of panel.querySelectorAll(".block[id]")) {
    if (!part.querySelector(":scope > .html-container, :scope > div > .html-container")) continue;
    if (!part.offsetHeight) continue;
    part.style.minHeight = part.offsetHeight + "px";
    part.style.setProperty("--jg-held", part.offsetHeight + "px");
    held.push(part);
  }
}
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button.jg-run-button");
  if (!button || button.classList.contains("stop")) return;
  release();
  unfolded = false;
  // The bar of the run lies at the foot of the window; the button stays in sight above it.
  const hidden = button.getBoundingClientRect().bottom + BAR - window.innerHeight;
  if (hidden > 0) window.scrollBy(0, hidden);
  hold(button);
});
// Not as the button of the mouse goes down: what is clicked would move away before it comes up, and the click be lost.
for (const kind of ["click", "keyup"]) {
  document.addEventListener(kind, (event) => {
    if (holder && !holder.classList.contains("stop") && event.target.closest?.("button") !== holder) release();
  }, { passive: true });
}

// --- parts that come before this script, and after --------------------------------------------------------

const PARTS = { model: modelBox, notes, status };
const begin = (part) => PARTS[part.kind](part);
for (const part of globalThis.jgFormParts ?? []) begin(part);
globalThis.jgFormParts = { push: begin };
