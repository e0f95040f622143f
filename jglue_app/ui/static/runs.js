// The list of runs: ticks, A and B, and lines that unfold. What is unfolded stays so when the list is drawn anew.
const unfolded = new Map();
const escaped = (name) => CSS.escape(name);

element.addEventListener("click", (event) => {
  const pick = event.target.closest(".jg-pick");
  if (pick) trigger("select", { run: pick.dataset.run, side: pick.dataset.side });
  if (event.target.closest(".jg-more")) trigger("select", { more: true });
  const fold = event.target.closest(".jg-unfold");
  if (!fold) return;
  const open = fold.getAttribute("aria-expanded") !== "true";
  unfolded.set(fold.getAttribute("aria-controls"), open);
  show(fold, open);
});
element.addEventListener("change", (event) => {
  if (!event.target.matches(".jg-tick")) return;
  kept = event.target.dataset.run;
  trigger("select", { run: event.target.dataset.run, tick: event.target.checked });
});

function show(fold, open) {
  fold.setAttribute("aria-expanded", String(open));
  const rows = element.querySelector("#" + escaped(fold.getAttribute("aria-controls")));
  if (rows) rows.hidden = !open;
}

// The tick that was pressed last gets the focus back once the list has been drawn with it.
let kept = "";
watch("value", () => requestAnimationFrame(() => {
  const address = element.querySelector("[data-jg-address]")?.dataset.jgAddress;
  if (address) globalThis.jgAddress?.update(JSON.parse(address), "results");
  for (const fold of element.querySelectorAll(".jg-unfold")) {
    const known = unfolded.get(fold.getAttribute("aria-controls"));
    if (known !== undefined) show(fold, known);
  }
  if (kept && document.activeElement === document.body) {
    element.querySelector(`.jg-tick[data-run="${escaped(kept)}"]`)?.focus({ preventScroll: true });
  }
}));
