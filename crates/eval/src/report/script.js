// The legend hides methods, and the titles of the plots' columns become one tooltip that leaves hidden methods out.
// Without scripts everything is visible and the browser shows the titles itself.
const hidden = new Set();
for (const button of document.querySelectorAll("[data-toggle]")) {
  button.addEventListener("click", () => {
    const off = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!off));
    if (off) hidden.add(button.textContent); else hidden.delete(button.textContent);
    for (const line of document.querySelectorAll(`[data-m="${button.dataset.toggle}"]`)) line.classList.toggle("off", off);
  });
}
const tip = document.getElementById("tip");
for (const column of document.querySelectorAll(".hit")) {
  const title = column.querySelector("title");
  const [heading, ...lines] = title.textContent.split("\n");
  title.remove();
  column.addEventListener("mousemove", (event) => {
    tip.replaceChildren(document.createElement("b"));
    tip.firstChild.textContent = heading;
    for (const [name, value] of lines.map((line) => line.split("\t"))) {
      if (hidden.has(name)) continue;
      const row = tip.appendChild(document.createElement("div"));
      row.append(...[name, value].map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    }
    tip.hidden = false;
    const left = event.clientX + 16;
    tip.style.left = `${left + tip.offsetWidth > innerWidth ? event.clientX - 16 - tip.offsetWidth : left}px`;
    tip.style.top = `${Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8)}px`;
  });
  column.addEventListener("mouseleave", () => { tip.hidden = true; });
}
