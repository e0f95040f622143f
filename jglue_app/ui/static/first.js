// The examples of the first card: ‹ and › show the previous and the next. Works in any page that has the card.
if (!globalThis.jgKeyItems) {
  globalThis.jgKeyItems = true;
  // What the bar of actions opens may be below the screen.
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.("#own > button");
    if (!opener) return;
    const look = (tries) => {
      const opened = document.querySelector("#own > [data-testid=accordion-content]");
      if (opened?.offsetHeight) opener.scrollIntoView({ block: opened.offsetHeight < innerHeight / 2 ? "nearest" : "start", behavior: still.matches ? "auto" : "smooth" });
      else if (tries) setTimeout(() => look(tries - 1), 50);
    };
    if (!opener.classList.contains("open")) look(20);
  });
  const still = matchMedia("(prefers-reduced-motion: reduce)");
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
