// Small helpers for the whole page: buttons that copy a text.
() => {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-jg-copy]");
    if (!button) return;
    const text = button.parentElement.querySelector("pre")?.textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without https there is no clipboard: select the text, so that the keyboard's own copy works.
      getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
    }
    button.dataset.before ??= button.textContent;
    button.textContent = button.dataset.jgCopy;
    setTimeout(() => { button.textContent = button.dataset.before; }, 1500);
  });
}
