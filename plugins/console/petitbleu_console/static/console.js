"use strict";
// What the pages cannot do without a script: charts, and the menu folded on a phone. Everything can be read without it.

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(name).trim();
  return { ink: named("--soft"), line: named("--line"), strokes: ["--blue", "--good", "--bad", "--warn"].map(named) };
};

// By the clock of the browser, in the way of the page's language: times within two days, dates beyond.
function marks(chart, splits) {
  const lang = document.documentElement.lang;
  const days = splits.length > 1 && splits[splits.length - 1] - splits[0] > 172800;
  const how = days ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return splits.map((seconds) => new Intl.DateTimeFormat(lang, how).format(seconds * 1000));
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
    series: [{ label: "⏱", value: (chart, value) => value === null ? "–" : marks(chart, [value])[0] }, ...labels.map((label, place) => ({
      label, stroke: strokes[place % strokes.length], width: 2, dash: place < 4 ? [] : [6, 4], points: { show: data[0].length < 40 },
      value: (chart, value) => value === null ? "–" : `${value.toLocaleString(document.documentElement.lang)} ${unit}`,
    }))],
    axes: [{ ...axis, values: marks }, { ...axis, size: 64 }],
    scales: { y: { range: (chart, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
  };
  const chart = new uPlot(options, data, holder);
  drawn.set(figure, chart);
  new ResizeObserver(() => chart.setSize({ width: holder.clientWidth, height: 240 })).observe(holder);
}

function begin() {
  for (const figure of document.querySelectorAll("figure[data-series]")) {
    draw(figure);
    const seconds = Number(figure.dataset.refresh || 0);
    if (seconds > 0) setInterval(() => { if (!document.hidden) draw(figure); }, seconds * 1000);
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
