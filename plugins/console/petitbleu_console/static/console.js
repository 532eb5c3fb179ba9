"use strict";
// What the pages cannot do without a script: charts, and the menu folded on a phone. Everything can be read without it.

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(name).trim();
  return { ink: named("--soft"), line: named("--line"), strokes: ["--blue", "--good", "--bad", "--warn"].map(named) };
};

// In the instance's time zone, as all times of the pages, and in the way of their language: dates beyond two days.
function marks(chart, splits) {
  const { lang, dataset } = document.documentElement;
  const days = splits.length > 1 && splits[splits.length - 1] - splits[0] > 172800;
  const how = days ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const format = new Intl.DateTimeFormat(lang, { ...how, timeZone: dataset.zone });
  return splits.map((seconds) => format.format(seconds * 1000));
}

// What has nothing on either side is no line; it is seen as a point.
function alone(chart, place, shown) {
  const values = chart.data[place];
  const there = (index) => values[index] !== null && values[index] !== undefined;
  return shown ? null : values.flatMap((value, n) => there(n) && !there(n - 1) && !there(n + 1) ? [n] : []);
}

const drawn = new WeakMap();

// A figure names a JSON document: {"labels": […], "unit": "…", "data": [[times in seconds], [values], …]}
async function draw(figure) {
  const answer = await fetch(figure.dataset.series, { headers: { "HX-Request": "true" } });
  const away = answer.headers.get("HX-Redirect");
  if (away) { location.assign(away); return; }
  if (!answer.ok) return;
  const { labels, unit, data } = await answer.json();
  const known = drawn.get(figure);
  if (known) { known.setData(data); return; }
  const { ink, line, strokes } = colours();
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const holder = document.createElement("div");
  figure.prepend(holder);
  const options = {
    width: holder.clientWidth, height: 240,
    series: [{ label: document.documentElement.dataset.time, value: (chart, value) => value === null ? "–" : marks(chart, [value])[0] }, ...labels.map((label, place) => ({
      label, stroke: strokes[place % strokes.length], width: 2, dash: place < 4 ? [] : [6, 4], points: { show: data[0].length < 40, filter: alone },
      value: (chart, value) => value === null ? "–" : `${value.toLocaleString(document.documentElement.lang)} ${unit}`,
    }))],
    axes: [{ ...axis, values: marks }, { ...axis, size: 64 }],
    scales: { x: { range: (chart, low, high) => chart.data[0].length === 1 ? [low - 43200, low + 43200] : [low, high] }, y: { range: (chart, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
  };
  const chart = new uPlot(options, data, holder);
  drawn.set(figure, chart);
  new ResizeObserver(() => chart.setSize({ width: holder.clientWidth, height: 240 })).observe(holder);
}

// On a phone a row of a table is a card, and each of its cells says what it is.
function label(tables) {
  for (const table of tables) {
    const heads = [...table.querySelectorAll("thead th")].map((one) => one.textContent.trim());
    table.setAttribute("role", "table");
    for (const row of table.querySelectorAll("tbody tr")) {
      row.setAttribute("role", "row");
      [...row.cells].forEach((cell, place) => {
        cell.setAttribute("role", "cell");
        if (row.cells.length === heads.length && heads[place]) cell.dataset.head = heads[place];
      });
    }
    table.classList.add("cards");
  }
}

function begin() {
  label(document.querySelectorAll(".scroll > table"));
  document.addEventListener("htmx:afterSettle", () => label(document.querySelectorAll(".scroll > table:not(.cards)")));
  for (const figure of document.querySelectorAll("figure[data-series]")) {
    draw(figure);
    const seconds = Number(figure.dataset.refresh || 0);
    if (seconds > 0) setInterval(() => { if (!document.hidden) draw(figure); }, seconds * 1000);
  }
  // Fills frames with what stands in no address; each is filled by its button otherwise.
  for (const form of document.querySelectorAll("form.into-frame")) {
    form.hidden = true;
    form.submit();
  }
  const menu = document.querySelector("details.menu");
  if (menu && matchMedia("(max-width: 59.99rem)").matches) menu.open = false;
  for (const all of document.querySelectorAll("input[data-all]")) {
    all.addEventListener("change", () => {
      for (const one of document.querySelectorAll(`input[name="${all.dataset.all}"]`)) one.checked = all.checked;
    });
  }
}

begin();
