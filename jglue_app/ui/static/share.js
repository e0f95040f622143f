// An image to share, of one item or of a comparison: 1200 × 630, drawn here from the texts of the button that was
// pressed (`views/share.py`). Nothing is sent anywhere; every text is drawn or set as text.
if (!globalThis.jgShare) {
  const WIDTH = 1200, HEIGHT = 630, EDGE = 48;
  const FONTS = '"Noto Sans JP", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic UI", Meiryo, sans-serif';
  const INK = "#1f2937", SOFT = "#526071", LINE = "#d5dce5", PANEL = "#f8fafc", GOOD = "#1d6f42", FLOOR = "#b7791f";
  const SIDES = { A: "#1d5fa8", B: "#a8480f" };
  const OUTCOMES = {
    correct: ["#1d6f42", "#fff"], wrong_form: ["#e0a030", "#1a1a1a"], wrong: ["#a93226", "#fff"], unreadable: ["#566573", "#fff"],
    unfinished_thought: ["#2e5c8a", "#fff"], truncated: ["#e9d8a6", "#1a1a1a"], empty: ["#d5d8dc", "#1a1a1a"],
    overflow: ["#6c3483", "#fff"], error: ["#6c3483", "#fff"],
  };
  // No line begins with these, and none ends with those.
  const NOT_FIRST = /^[、。，．,.!?！？・：；:;）」』】〉》〕］｝)\]}’”ー々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ…‥％%]$/u;
  const NOT_LAST = /^[（「『【〈《〔［｛(\[{‘“]$/u;

  // Texts in parts between which a line may end: words of letters and digits, and every other character.
  const parts = (text) => {
    const found = text.match(/[\p{Script=Latin}\p{N}\p{M}_'@#&+\-./\\]+|\P{M}\p{M}*/gu) ?? [];
    const joined = [];
    for (const part of found) {
      const before = joined.at(-1);
      if (before && (NOT_FIRST.test(part) || NOT_LAST.test([...before].at(-1)))) joined[joined.length - 1] += part;
      else joined.push(part);
    }
    return joined;
  };

  // Lines of at most a width; what is left of the text after the last of them is "…".
  const wrap = (ink, text, width, most) => {
    const fits = (line) => ink.measureText(line).width <= width;
    const lines = [];
    let line = "";
    const waiting = parts(text.replace(/\s+/gu, " ").trim());
    while (waiting.length) {
      const part = waiting.shift();
      if (fits(line + part)) line += part;
      else if (!line.trim()) {
        // A part that is wider than a line ends where it must.
        const signs = [...part];
        let count = 1;
        while (count < signs.length && fits(signs.slice(0, count + 1).join(""))) count++;
        line = signs.slice(0, count).join("");
        if (count < signs.length) waiting.unshift(signs.slice(count).join(""));
      } else {
        waiting.unshift(part);
        lines.push(line.trimEnd());
        line = "";
        if (lines.length === most) break;
        while (waiting[0] === " ") waiting.shift();
      }
    }
    if (lines.length < most) {
      if (line) lines.push(line.trimEnd());
      return lines;
    }
    let last = [...lines[most - 1]];
    while (last.length && !fits(last.join("") + "…")) last.pop();
    lines[most - 1] = last.join("") + "…";
    return lines;
  };

  const font = (ink, size, weight = 400) => { ink.font = `${weight} ${size}px ${FONTS}`; };
  const box = (ink, x, y, width, height, fill, radius = 6) => {
    ink.fillStyle = fill;
    ink.beginPath();
    ink.roundRect(x, y, width, height, radius);
    ink.fill();
  };
  const write = (ink, text, x, y, { size = 22, weight = 400, colour = INK, width = WIDTH - 2 * EDGE, lines = 1, height = size * 1.45 } = {}) => {
    font(ink, size, weight);
    ink.fillStyle = colour;
    const found = wrap(ink, text, width, lines);
    found.forEach((line, i) => ink.fillText(line, x, y + i * height));
    return y + found.length * height;
  };
  const badge = (ink, text, x, y, fill, colour, size = 20) => {
    font(ink, size, 700);
    const width = Math.max(size * 1.5, ink.measureText(text).width + 14);
    box(ink, x, y - size, width, size * 1.4, fill);
    ink.fillStyle = colour;
    ink.textAlign = "center";
    ink.fillText(text, x + width / 2, y + size * 0.04);
    ink.textAlign = "left";
    return x + width + 10;
  };

  const card = (ink, side, x, y, width, height) => {
    box(ink, x, y, width, height, LINE, 12);
    box(ink, x + 1, y + 1, width - 2, height - 2, PANEL, 11);
    box(ink, x, y, width, 6, SIDES[side.side], 3);
    const inside = width - 44;
    const after = badge(ink, side.side, x + 22, y + 42, SIDES[side.side], "#fff", 18);
    write(ink, side.label, after, y + 42, { size: 18, weight: 600, width: x + width - 22 - after });
    const low = y + height - (side.share ? 114 : 58);
    const lines = Math.max(1, Math.floor((low - 30 - (y + 92)) / 38) + 1);
    write(ink, side.text, x + 22, y + 92, { size: 27, weight: 600, width: inside, lines, height: 38 });
    const [fill, colour] = OUTCOMES[side.outcome] ?? ["#e4e8ec", "#1a1a1a"];
    const next = side.mark ? badge(ink, side.mark, x + 22, low, fill, colour, 20) : x + 22;
    write(ink, side.outcome_text, next, low, { size: 21, weight: 600, width: x + width - 22 - next });
    write(ink, side.read, x + 22, low + 33, { size: 17, colour: SOFT, width: inside });
    if (!side.share) return;
    write(ink, side.share, x + 22, low + 62, { size: 17, colour: SOFT, width: inside });
    box(ink, x + 22, low + 76, inside, 12, LINE, 6);
    if (Number(side.percent) > 0) box(ink, x + 22, low + 76, Math.max(8, inside * Number(side.percent) / 100), 12, GOOD, 6);
  };

  const drawItem = (ink, given) => {
    write(ink, given.title, EDGE, 66, { size: 26, weight: 700, colour: SOFT });
    const below = write(ink, given.lead, EDGE, 116, { size: 29, lines: 3, height: 42 });
    write(ink, given.gold, EDGE, below + 6, { size: 25, weight: 700, colour: GOOD });
    const top = below + 36, gap = 24, count = given.sides.length || 1;
    const width = (WIDTH - 2 * EDGE - gap * (count - 1)) / count;
    given.sides.forEach((side, i) => card(ink, side, EDGE + i * (width + gap), top, width, HEIGHT - 66 - top));
  };

  const dot = (ink, x, y, reading, colour) => {
    ink.lineWidth = 3;
    ink.strokeStyle = ink.fillStyle = colour;
    ink.beginPath();
    ink.arc(x, y, 8, 0, 2 * Math.PI);
    if (reading === "strict") ink.fill();
    else {
      ink.save();
      ink.fillStyle = "#fff";
      ink.fill();
      ink.restore();
      ink.stroke();
      if (reading === "lenient") {
        ink.beginPath();
        ink.arc(x, y, 8, Math.PI / 2, 1.5 * Math.PI);
        ink.fill();
      }
    }
  };

  const strip = (ink, given, y, height) => {
    const left = 300, right = 880, place = (at) => left + (right - left) * Number(at) / 100;
    write(ink, given.title, EDGE, y + height / 2 + 2, { size: 21, weight: 700, width: left - EDGE - 20 });
    write(ink, given.n, EDGE, y + height / 2 + 24, { size: 15, colour: SOFT, width: left - EDGE - 20 });
    const step = Math.min(26, height / (given.lines.length + 0.5));
    given.lines.forEach((line, i) => {
      const middle = y + height / 2 + (i - (given.lines.length - 1) / 2) * step, colour = SIDES[line.tag] ?? SOFT;
      font(ink, 15, 700);
      ink.fillStyle = colour;
      ink.fillText(line.tag, left - 24, middle + 5);
      box(ink, left, middle - 2, right - left, 4, LINE, 2);
      if (line.interval) box(ink, place(line.interval.low), middle - 3, (right - left) * Number(line.interval.width) / 100, 6, colour, 3);
      for (const mark of line.marks) dot(ink, place(mark.at), middle, mark.reading, colour);
      write(ink, line.value, right + 20, middle + 6, { size: 19, weight: 600, colour, width: 80 });
    });
    if (given.floor) box(ink, place(given.floor) - 1.5, y + 6, 3, height - 12, FLOOR, 1);
    const colour = SIDES[given.verdict_class.toUpperCase()] ?? INK;
    write(ink, given.verdict, 990, y + height / 2 + 6, { size: 19, weight: 700, colour, width: WIDTH - EDGE - 990, lines: 2, height: 22 });
  };

  const drawBoard = (ink, given) => {
    let y = write(ink, given.title, EDGE, 74, { size: 31, weight: 700, lines: 3, height: 44 });
    for (const side of given.sides) {
      const after = badge(ink, side.side, EDGE, y + 4, SIDES[side.side], "#fff", 17);
      write(ink, side.label, after, y + 4, { size: 20, weight: 600, width: WIDTH - EDGE - after });
      y += 34;
    }
    y -= 8;
    const height = Math.min(72, (HEIGHT - 92 - y) / Math.max(1, given.strips.length));
    for (const one of given.strips) {
      strip(ink, one, y, height);
      y += height;
    }
    let x = EDGE;
    for (const reading of ["strict", "lenient", "choose"]) {
      dot(ink, x + 8, HEIGHT - 68, reading, SOFT);
      write(ink, given.legend[reading], x + 24, HEIGHT - 62, { size: 16, colour: SOFT });
      x += 24 + ink.measureText(given.legend[reading]).width + 26;
    }
    box(ink, x, HEIGHT - 78, 3, 20, FLOOR, 1);
    write(ink, given.legend.floor, x + 12, HEIGHT - 62, { size: 16, colour: SOFT, width: WIDTH - EDGE - x - 12 });
  };

  const draw = (given) => {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: WIDTH, height: HEIGHT });
    const ink = canvas.getContext("2d");
    ink.fillStyle = "#fff";
    ink.fillRect(0, 0, WIDTH, HEIGHT);
    (given.kind === "board" ? drawBoard : drawItem)(ink, given);
    write(ink, given.foot, EDGE, HEIGHT - 24, { size: 17, colour: SOFT });
    return canvas;
  };

  const element = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const show = async (given, words) => {
    const blob = await new Promise((done) => draw(given).toBlob(done, "image/png"));
    const address = URL.createObjectURL(blob);
    const dialog = element("dialog", "jg-share");
    dialog.setAttribute("aria-label", words.title);
    const image = element("img", "jg-share-image");
    Object.assign(image, { src: address, alt: given.alt, width: WIDTH, height: HEIGHT });
    const told = element("p", "jg-note");
    told.setAttribute("role", "status");
    const button = (label, act) => {
      const made = element("button", "jg-button", label);
      made.type = "button";
      made.addEventListener("click", act);
      return made;
    };
    const copied = async (write) => {
      try {
        await write();
        told.textContent = words.copied;
      } catch {
        told.textContent = words.not_copied;
      }
    };
    const save = element("a", "jg-button", words.save);
    Object.assign(save, { href: address, download: `jglue-${given.name}.png` });
    const row = element("div", "jg-share-buttons");
    row.append(
      save,
      button(words.copy, () => copied(() => navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]))),
      button(words.copy_alt, () => copied(() => navigator.clipboard.writeText(given.alt))),
      button(words.close, () => dialog.close()),
    );
    const described = element("details", "jg-small");
    described.append(element("summary", "", words.alt), element("p", "", given.alt));
    dialog.append(image, row, told, described);
    dialog.addEventListener("close", () => { dialog.remove(); URL.revokeObjectURL(address); });
    // Gradio's styles are those of what is inside its own element.
    (document.querySelector(".gradio-container") ?? document.body).append(dialog);
    dialog.showModal();
  };

  globalThis.jgShare = { draw, wrap };
  document.addEventListener("click", (event) => {
    const pressed = event.target.closest?.("[data-jg-share]");
    if (pressed) show(JSON.parse(pressed.dataset.jgShare), JSON.parse(pressed.dataset.jgShareWords));
  });
}
