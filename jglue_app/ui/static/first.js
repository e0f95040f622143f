// The examples of the first card: ‹ and › show the previous and the next. Works in any page that has the card.
if (!globalThis.jgKeyItems) {
  globalThis.jgKeyItems = true;
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-jg-key]");
    const place = button?.closest("[data-jg-key-items]");
    if (!place) return;
    const items = [...place.querySelectorAll(".jg-key-item")];
    const shown = items.findIndex((item) => !item.hidden);
    const next = (shown + Number(button.dataset.jgKey) + items.length) % items.length;
    items.forEach((item, at) => { item.hidden = at !== next; });
    place.querySelector("[data-jg-key-at]").textContent = `${next + 1} / ${items.length}`;
  });
}
