// The most likely next tokens at a token of the prompt: with the pointer on it, tapped, or reached with the arrow keys.
// Every text is set as text, never as markup.
const make = (tag, name, text) => {
  const made = document.createElement(tag);
  made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
};
const drawn = ([text, id, share], own) => {
  const line = make("li", "jg-next-row" + (own ? " jg-next-own" : ""));
  const track = make("span", "jg-track");
  const fill = make("span", "jg-fill");
  fill.style.width = share + "%";
  track.append(fill);
  line.append(make("code", "jg-next-text", text), " ", make("span", "jg-next-id", id), " ",
    make("span", "jg-next-share", share + "%"), track);
  return line;
};
const panelOf = (token) => token?.closest(".jg-side")?.querySelector(".jg-next[data-known]");
const read = (panel) => (panel.jgPlaces ??= JSON.parse(panel.dataset.places));
// Shows a place, and marks its token; the token that was tapped or reached by keys stays when the pointer leaves.
const show = (side, place, keep) => {
  const panel = side.querySelector(".jg-next[data-known]");
  const found = panel && read(panel)[place];
  if (!found) return;
  if (keep) panel.dataset.kept = place;
  panel.querySelector(".jg-next-title").textContent = found.title;
  panel.querySelector(".jg-next-list").replaceChildren(...found.rows.map((row, i) => drawn(row, i === found.own)));
  for (const token of side.querySelectorAll("[data-place]")) {
    token.classList.toggle("jg-token-now", token.dataset.place === String(place));
  }
};
const placeOf = (event) => {
  const token = event.target.closest?.("[data-place]");
  return token && element.contains(token) && panelOf(token) ? token : null;
};
// Not `pointerover`: while keys scroll the prompt, tokens pass below a pointer that is at rest.
element.addEventListener("pointermove", (event) => {
  const token = placeOf(event);
  if (!token || event.pointerType !== "mouse" || !(event.movementX || event.movementY)) return;
  if (!token.classList.contains("jg-token-now")) show(token.closest(".jg-side"), token.dataset.place, false);
});
element.addEventListener("pointerout", (event) => {
  const token = placeOf(event);
  const side = token?.closest(".jg-side");
  if (side && event.pointerType === "mouse") show(side, panelOf(token).dataset.kept ?? "end", false);
});
element.addEventListener("click", (event) => {
  const token = placeOf(event);
  if (token) show(token.closest(".jg-side"), token.dataset.place, true);
});
element.addEventListener("keydown", (event) => {
  const box = event.target.closest?.(".jg-tokens");
  const side = box?.closest(".jg-side");
  const panel = side?.querySelector(".jg-next[data-known]");
  if (!panel || event.ctrlKey || event.altKey || event.metaKey) return;
  const places = [...box.querySelectorAll("[data-place]")];
  const at = places.findIndex((token) => token.dataset.place === (panel.dataset.kept ?? "end"));
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: places.length - 1, Escape: places.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const token = places[Math.max(0, Math.min(places.length - 1, to))];
  show(side, token.dataset.place, true);
  token.scrollIntoView({ block: "nearest" });
});
