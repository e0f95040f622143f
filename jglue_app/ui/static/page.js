// Scripts of the whole page: buttons that copy a text, and the address of what is shown.
() => {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-jg-copy]");
    if (!button) return;
    const shown = button.parentElement.querySelector("pre");
    const text = button.dataset.jgCopyLink === undefined
      ? shown?.textContent ?? ""
      : globalThis.jgAddress.link(JSON.parse(button.dataset.jgCopyLink));
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without https there is no clipboard: select the text, so that the keyboard's own copy works.
      if (shown) getSelection().selectAllChildren(shown);
      else prompt(button.textContent, text);
    }
    button.dataset.before ??= button.textContent;
    button.textContent = button.dataset.jgCopy;
    setTimeout(() => { button.textContent = button.dataset.before; }, 1500);
  });

  // --- the address: `ui/address.py` has its parameters ----------------------------------------------------
  const OWNER = {
    run_a: "compare", run_b: "compare", subset: "compare", filter: "compare", search: "compare", item: "compare",
    runs: "results", baseline: "results", against: "results", results_data: "results", results_subsets: "results",
  };
  const FIRST = "compare";
  // `view` is Gradio's own, which it writes there itself.
  const ofPage = (name) => name === "lang" || name.startsWith("__");
  const page = new URLSearchParams();
  const shown = new Map();
  const parametersOf = (tab) => {
    if (!shown.has(tab)) shown.set(tab, new URLSearchParams());
    return shown.get(tab);
  };
  // Each tab has an address of its own; only that of the tab in sight is in the address bar.
  let tab = new URLSearchParams(location.search).get("tab") || FIRST;
  for (const [name, value] of new URLSearchParams(location.search)) {
    if (ofPage(name)) page.set(name, value);
    else if (name !== "tab" && name !== "view") parametersOf(OWNER[name] ?? (name === "protocol" ? tab : FIRST)).set(name, value);
  }

  const queryOf = (of) => {
    const all = new URLSearchParams(page);
    if (of !== FIRST) all.set("tab", of);
    const view = new URLSearchParams(location.search).get("view");
    if (view) all.set("view", view);
    for (const [name, value] of parametersOf(of)) all.set(name, value);
    const text = all.toString().replace(/%2F/g, "/").replace(/%2C/g, ",").replace(/%3A/g, ":");
    return text ? "?" + text : "";
  };
  const keepInLanguageLinks = () => {
    for (const link of document.querySelectorAll(".jg-lang a")) {
      const query = new URLSearchParams(queryOf(tab));
      query.set("lang", link.lang);
      link.setAttribute("href", "?" + query);
    }
  };
  let due = 0;
  const write = () => {
    clearTimeout(due);
    due = 0;
    const query = queryOf(tab);
    if (query !== location.search) history.replaceState(history.state, "", location.pathname + query);
    keepInLanguageLinks();
  };
  // Browsers refuse an address bar that changes with every key that is pressed.
  const writeSoon = () => { due ||= setTimeout(write, 150); };

  const openedElsewhere = tab !== FIRST;
  const VIEW = ["protocol", "subset", "filter", "search", "item"];
  const identity = (query) => JSON.stringify([...query].filter(([name]) => !VIEW.includes(name)).sort());
  let comparison = null;

  globalThis.jgAddress = {
    // Parameters that changed, null for those that went; `of` is their tab where the names do not tell it.
    update(values, of = "") {
      let changed = false;
      for (const [name, value] of Object.entries(values)) {
        const mine = parametersOf(of || OWNER[name] || tab), text = value === null || value === undefined ? "" : String(value);
        if ((mine.get(name) ?? "") === text) continue;
        changed = true;
        if (text) mine.set(name, text);
        else mine.delete(name);
      }
      if (changed) writeSoon();
    },
    // A comparison is shown: a query with all parameters of the Compare tab. What a page is opened with stays, if it is
    // of this comparison; while a run goes on, the same comparison is shown again and again. A page that is opened with
    // another tab may have a comparison chosen there as its first.
    show(query) {
      if (query === comparison) return;
      const first = comparison === null, old = parametersOf(FIRST), now = new URLSearchParams(query);
      comparison = query;
      if (first && identity(old) === identity(now)) return;
      shown.set(FIRST, now);
      if (!first || openedElsewhere) write();
    },
    // The whole address of something else, such as of one item.
    link(values) {
      const query = new URLSearchParams(values).toString().replace(/%2F/g, "/").replace(/%3A/g, ":");
      return location.origin + location.pathname + "?" + query;
    },
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest?.(".jg-lang a")) keepInLanguageLinks();
  }, true);

  // --- tabs: Back goes to the one before -------------------------------------------------------------------
  const selected = () => document.querySelector("#tabs [role=tab][aria-selected=true]")?.dataset.tabId;
  // Until the tab of the address is open, a tab that is selected was selected by no one.
  let isOpen = false;
  const follow = () => {
    const now = selected();
    isOpen ||= now === tab;
    if (!now || now === tab || !isOpen) return;
    if (due) write();
    tab = now;
    history.pushState(null, "", location.pathname + queryOf(tab));
    keepInLanguageLinks();
  };
  const watch = () => {
    const tabs = document.querySelector("#tabs");
    if (!tabs) return setTimeout(watch, 50);
    tabs.addEventListener("click", (event) => { isOpen ||= Boolean(event.target.closest?.("[role=tab], .overflow-dropdown")); }, true);
    new MutationObserver(follow).observe(tabs, { subtree: true, attributeFilter: ["aria-selected"] });
    follow();
  };
  watch();

  const select = (id) => {
    const button = document.querySelector(`#tabs [role=tab][data-tab-id="${CSS.escape(id)}"]`);
    if (button) return button.click();
    // On a narrow screen it is in a menu, whose entries have the same names as the hidden copies of all tabs.
    const names = [...(document.querySelector("#tabs .tab-container.visually-hidden")?.children ?? [])].map((copy) => copy.textContent.trim());
    const name = names[TABS.indexOf(id)];
    [...(document.querySelector("#tabs .overflow-dropdown")?.children ?? [])].find((entry) => entry.textContent.trim() === name)?.click();
  };
  const TABS = ["compare", "lab", "full", "results", "audit", "about"];
  addEventListener("popstate", () => {
    const before = new URLSearchParams(location.search).get("tab") || FIRST;
    if (TABS.includes(before)) {
      tab = before;
      select(before);
    }
    write();
  });
  // Gradio says in English alone that the server is gone.
  const said = () => {
    const words = document.querySelector("header.jg-head")?.dataset;
    if (!words) return;
    for (const text of document.querySelectorAll(".toast-body [data-testid=toast-text]")) {
      if (text.textContent.trim() !== "Connection to the server was lost. Attempting reconnection...") continue;
      text.textContent = words.jgAgain;
      const title = text.closest(".toast-body").querySelector(".toast-title");
      if (title) title.textContent = words.jgLost;
    }
  };
  new MutationObserver((changes) => {
    if (changes.some((change) => [...change.addedNodes].some((node) => node.querySelector?.(".toast-body")
      || node.closest?.(".toast-body")))) said();
  }).observe(document.body, { childList: true, subtree: true });

  globalThis.jgToTheTop = () => {
    // Gradio draws the tab after the event that opens it.
    requestAnimationFrame(() => requestAnimationFrame(() => scrollTo({ top: 0, behavior: "instant" })));
  };
  // A result that a button has asked for: its heading comes into view and gets the focus, unless the visitor has gone on
  // to something else in the meantime.
  globalThis.jgBringIntoView = (button, place) => {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const heading = document.querySelector(`#${place} :is(h3, h4)`);
      const focused = document.activeElement;
      if (!heading || (focused && focused !== document.body && focused.id !== button)) return;
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      heading.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
    }));
  };
}
