"use strict";

// Players: each draws its four panels from sheets, which hold all pictures of a panel in rows.
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

function player(root) {
  const plan = JSON.parse(root.dataset.plan);
  const button = root.querySelector(".play");
  const slider = root.querySelector("input");
  const told = root.querySelector("output");
  const panels = [...root.querySelectorAll("canvas")].map((canvas) => ({
    canvas,
    pen: canvas.getContext("2d"),
    kind: canvas.dataset.kind,
    sheet: root.querySelector(`[data-sheet="${canvas.dataset.kind === "sampled" ? "dense" : canvas.dataset.kind}"]`),
  }));
  const timed = [...root.parentElement.querySelectorAll(".timed")].map((figure) => ({
    cursor: figure.querySelector(".cursor"),
    places: JSON.parse(figure.dataset.x),
  }));
  let at = 0;
  let playing = !still;
  let visible = false;
  let ready = false;
  let timer = 0;

  function draw() {
    const cells = { dense: plan.cells[at], sampled: plan.held[at], heat: at, selected: at };
    for (const { canvas, pen, kind, sheet } of panels) {
      const x = (cells[kind] % plan.columns) * canvas.width;
      const y = Math.floor(cells[kind] / plan.columns) * canvas.height;
      pen.drawImage(sheet, x, y, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    }
    for (const { cursor, places } of timed) {
      cursor.setAttribute("x1", places[plan.slots[at]]);
      cursor.setAttribute("x2", places[plan.slots[at]]);
    }
    const text = `${at + 1} of ${plan.slots.length}, ${plan.seconds[at].toFixed(2)} s`;
    slider.value = at;
    slider.setAttribute("aria-valuetext", text);
    told.textContent = text;
  }

  function step() {
    at = (at + 1) % plan.slots.length;
    draw();
    timer = setTimeout(step, plan.durations[at]);
  }

  function update() {
    clearTimeout(timer);
    button.textContent = playing ? "Pause" : "Play";
    if (playing && visible && ready) timer = setTimeout(step, plan.durations[at]);
  }

  async function load() {
    await Promise.all(panels.map(({ sheet }) => sheet.decode()));
    ready = true;
    draw();
    update();
  }

  button.addEventListener("click", () => {
    playing = !playing;
    update();
  });
  slider.addEventListener("input", () => {
    playing = false;
    at = Number(slider.value);
    if (ready) draw();
    update();
  });
  // Sheets are large once decoded: only what is near is, and only what is seen plays.
  new IntersectionObserver(
    ([entry]) => {
      visible = entry.isIntersecting;
      if (visible && !ready) load();
      else update();
    },
    { rootMargin: "200px" },
  ).observe(root);
  return {
    set(on) {
      playing = on;
      update();
    },
  };
}

const players = [...document.querySelectorAll(".player")].map(player);
const all = document.getElementById("all");
if (all) {
  let on = !still;
  const show = () => { all.textContent = on ? "Pause all" : "Play all"; };
  all.addEventListener("click", () => {
    on = !on;
    for (const one of players) one.set(on);
    show();
  });
  show();
  all.hidden = players.length === 0;
}

for (const box of document.querySelectorAll(".scroll")) {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; // for the arrow keys
}

// Lists: sorted by a click on a title, and searched.
for (const list of document.querySelectorAll("table.sorted")) {
  const body = list.tBodies[0];
  const rows = [...body.rows];
  const order = new Intl.Collator(undefined, { numeric: true });
  const titles = list.querySelectorAll("th");
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title.textContent;
    title.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = title.getAttribute("aria-sort") === "ascending";
      titles.forEach((other) => other.removeAttribute("aria-sort"));
      title.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = (row) => row.cells[column].textContent;
      const compare = (a, b) => {
        const whole = [a, b].every((row) => /^[\d.]+ ?%?$/.test(text(row)));
        return whole ? parseFloat(text(a)) - parseFloat(text(b)) : order.compare(text(a), text(b));
      };
      rows.sort((a, b) => (down ? -1 : 1) * compare(a, b));
      body.append(...rows);
    });
  });
  const filter = document.getElementById(list.dataset.search);
  const told = filter.parentElement.querySelector("output");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    told.textContent = `${count} of ${rows.length}`;
  });
}
