"use strict";
const colours = ["#ffd54a", "#8ee3a0", "#8cc8ff", "#ffb0c8", "#d7b5ff", "#ffb27a", "#9fe8e0", "#d6d66b"];
const marked = new Map(); // key -> colour
const every = (k) => document.querySelectorAll(`a[data-k="${k}"]`);

function paint(k) {
  const c = marked.get(k);
  for (const a of every(k)) {
    a.classList.toggle("on", c !== undefined);
    a.style.background = c || "";
  }
}

function toggle(k) {
  if (!marked.delete(k)) {
    const used = new Set(marked.values());
    marked.set(k, colours.find((c) => !used.has(c)) || colours[marked.size % colours.length]);
  }
  paint(k);
}

document.querySelector("main").addEventListener("click", (e) => {
  const a = e.target.closest("a[data-k]");
  if (a) return toggle(a.dataset.k);
  const h = e.target.closest("h2");
  if (h) h.parentElement.classList.toggle("folded");
});
document.querySelector("main").addEventListener("keydown", (e) => {
  if (e.key === "Enter" && e.target.matches("h2")) e.target.parentElement.classList.toggle("folded");
});
document.getElementById("clear").addEventListener("click", () => {
  const keys = [...marked.keys()];
  marked.clear();
  keys.forEach(paint);
});
document.getElementById("find").addEventListener("input", (e) => {
  const q = e.target.value.toLowerCase();
  for (const l of document.querySelectorAll(".l")) l.classList.toggle("miss", q !== "" && !l.textContent.toLowerCase().includes(q));
});
