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
  // Gradio says in English alone that the server is gone.
  const said = () => {
    const words = document.querySelector("header.jg-head")?.dataset;
    if (!words) return;
    for (const [place, english, ours] of [
      [".toast-title", "Connection Lost", words.jgLost],
      ["[data-testid=toast-text]", "Connection to the server was lost. Attempting reconnection...", words.jgAgain],
    ]) {
      for (const element of document.querySelectorAll(".toast-body " + place)) {
        if (element.textContent.trim() === english) element.textContent = ours;
      }
    }
  };
  new MutationObserver((changes) => {
    if (changes.some((change) => [...change.addedNodes].some((node) => node.querySelector?.(".toast-body")
      || node.closest?.(".toast-body")))) said();
  }).observe(document.body, { childList: true, subtree: true });
}
