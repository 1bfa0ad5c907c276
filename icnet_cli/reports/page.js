"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

// Light and dark: the system's choice until the switch is used, which this page then remembers where it may.
(() => {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("icnet-theme"); } catch { /* a file may have no storage */ }
  const isDark = () => (chosen ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Show this page ${isDark() ? "light" : "dark"}`);
  };
  button.addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    try { localStorage.setItem("icnet-theme", chosen); } catch { /* as above */ }
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();

// Tables sort by the column whose heading is pressed.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replace("\u2212", "-"));
    return heads[column].classList.contains("number") ? (Number.isNaN(number) ? -Infinity : number) : text;
  };
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        return sign * (x < y ? -1 : x > y ? 1 : 0);
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// The class under the pointer, on pictures of classes.
(() => {
  const names = new Map();
  for (const [name, rgb] of Object.entries(data.palette)) {
    const before = names.get(rgb.join());
    names.set(rgb.join(), before ? `${before} or ${name}` : name);
  }
  const pixels = new WeakMap();
  const read = (image) => {
    if (!image.naturalWidth) return null;
    if (!pixels.has(image)) {
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      pixels.set(image, context);
    }
    return pixels.get(image);
  };
  const label = document.createElement("div");
  label.className = "under";
  label.hidden = true;
  document.body.append(label);
  const show = (event) => {
    const image = event.target.closest?.("img.labels");
    const context = image && read(image);
    label.hidden = !context;
    if (!context) return;
    const box = image.getBoundingClientRect();
    const x = Math.min(image.naturalWidth - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * image.naturalWidth)));
    const y = Math.min(image.naturalHeight - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * image.naturalHeight)));
    const [red, green, blue, alpha] = context.getImageData(x, y, 1, 1).data;
    label.textContent = alpha ? names.get([red, green, blue].join()) ?? "" : "not labelled";
    label.hidden = !label.textContent;
    label.style.left = `${Math.max(0, Math.min(event.clientX + 14, innerWidth - label.offsetWidth - 8))}px`;
    label.style.top = `${Math.max(0, event.clientY - 34)}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
})();
