// What the document shows before Gradio's script has run gives way to the page. What was clicked in it is clicked again.
(() => {
  const before = document.getElementById("jg-before");
  const buttons = (place) => [...(place?.querySelectorAll("button") ?? [])];
  const clicked = [];
  before.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    clicked.push(buttons(before).indexOf(button));
    button.classList.add("jg-wait");
  });
  const isThere = () => document.querySelector("gradio-app #tabs [role=tab][aria-selected=true]")
    && (!before.querySelector(".jg-before-first") || document.querySelector("gradio-app #first :is(.jg-first-card, .jg-empty)"));
  const began = performance.now();
  const look = () => {
    // A page that does not come is not covered up for ever.
    if (!isThere() && performance.now() - began < 30_000) return requestAnimationFrame(look);
    const place = document.querySelector("gradio-app #first");
    const focused = buttons(before).indexOf(document.activeElement);
    document.documentElement.classList.remove("jg-opening");
    before.remove();
    if (focused >= 0) buttons(place)[focused]?.focus({ preventScroll: true });
    for (const at of clicked) buttons(place)[at]?.click();
  };
  requestAnimationFrame(look);
})();
