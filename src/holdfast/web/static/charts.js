// Draws the charts of a page with uPlot, from JSON, after the page itself is there.
const HEIGHT = 96;
const AGAIN_MS = 30000;
const COLOURS = [1, 2, 3, 4, 5, 6].map((at) => `--chart-${at}`);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const KIBI = ["B", "KiB", "MiB", "GiB", "TiB"];

function bytes(value) {
  let unit = 0;
  while (value >= 1024 && unit < KIBI.length - 1) { value /= 1024; unit += 1; }
  return `${value.toFixed(value < 10 && unit ? 1 : 0)} ${KIBI[unit]}`;
}

function amount(value, unit) {
  if (value == null) return "–";
  if (unit.startsWith("bytes")) return bytes(value) + unit.slice(5);
  if (unit === "%") return `${value.toFixed(0)} %`;
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(2);
}

const POWERS = Array.from({ length: 45 }, (_, at) => 2 ** at);
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6];
const COUNTED = new Set(["machines", "restarts", "check-ins", "crashes"]);
const two = (value) => String(value).padStart(2, "0");

function times(u, ticks) {
  const days = u.scales.x.max - u.scales.x.min > 100000;
  return ticks.map((tick) => {
    const at = new Date(tick * 1000);
    return days ? `${at.getMonth() + 1}-${two(at.getDate())}` : `${two(at.getHours())}:${two(at.getMinutes())}`;
  });
}

// More lines than colours: the last one is the sum of the rest.
function fewer(chart) {
  const rest = chart.series.slice(COLOURS.length - 1);
  if (rest.length < 2) return chart;
  const values = rest[0].values.map((_, i) => rest.reduce((sum, one) => sum + (one.values[i] ?? 0), 0));
  return { ...chart, series: [...chart.series.slice(0, COLOURS.length - 1), { ...rest[0], name: `${rest.length} others`, values }] };
}

function limitLines(u, limits) {
  for (const [at, limit] of limits.entries()) {
    if (limit > u.scales.y.max) continue;
    const y = Math.round(u.valToPos(limit, "y", true));
    u.ctx.save();
    u.ctx.strokeStyle = style(at === limits.length - 1 ? "--bad" : "--warn");
    u.ctx.setLineDash([4, 4]);
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
    u.ctx.restore();
  }
}

// A line needs two points; one between two gaps is drawn as a dot.
function lonely(u, at) {
  const values = u.data[at];
  return values.flatMap((value, i) => (value != null && values[i - 1] == null && values[i + 1] == null ? [i] : []));
}

function options(chart, width, legend) {
  const unit = chart.series[0]?.unit ?? "";
  const line = style("--line");
  const axis = { stroke: style("--muted"), grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width, height: HEIGHT, padding: [6, 18, 0, 0],
    legend: { show: false },
    cursor: { points: { size: 6 }, y: false, drag: { x: false, y: false } },
    scales: { y: { range: (u, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.12] } },
    axes: [
      { ...axis, size: 22, space: 70, grid: { show: false }, values: times },
      { ...axis, size: 48, space: 26, ...(unit.startsWith("bytes") ? { incrs: POWERS } : COUNTED.has(unit) ? { incrs: WHOLE } : {}), values: (u, ticks) => ticks.map((tick) => amount(tick, unit.split("/")[0])) },
    ],
    series: [{}, ...chart.series.map((series, at) => ({
      label: series.name, stroke: style(COLOURS[at]), width: 1.5, spanGaps: false,
      fill: at === 0 ? style("--chart-fill") : undefined, points: { show: true, size: 4, width: 0, fill: style(COLOURS[at]), filter: lonely },
    }))],
    hooks: { setCursor: [(u) => legend(u.cursor.idx)], draw: [(u) => limitLines(u, chart.limits ?? [])] },
  };
}

function caption(figure, chart) {
  const head = document.createElement("figcaption");
  head.append(Object.assign(document.createElement("b"), { textContent: chart.title }));
  const values = chart.series.map((series, at) => {
    const span = document.createElement("span");
    span.className = `key key-${at}`;
    head.append(span);
    return span;
  });
  figure.append(head);
  const last = (list) => list.findLast((value) => value != null) ?? null;
  const legend = (at) => chart.series.forEach((series, i) => {
    const value = at == null ? last(series.values) : series.values[at];
    values[i].textContent = `${series.name} ${amount(value, series.unit)}`;
    const passed = (chart.limits ?? []).filter((limit) => value >= limit).length;
    values[i].dataset.passed = passed ? (passed === chart.limits.length ? "bad" : "warn") : "";
  });
  legend(null);
  return legend;
}

function draw(grid, set) {
  grid.replaceChildren(...set.charts.map(fewer).map((chart) => {
    const figure = document.createElement("figure");
    figure.className = "chart";
    const legend = caption(figure, chart);
    const isEmpty = chart.series.every((series) => series.values.every((value) => value == null));
    const place = document.createElement("div");
    place.className = "chart-place";
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `${chart.title}: ${figure.innerText || figure.textContent}`);
    figure.append(place);
    if (isEmpty) place.append(Object.assign(document.createElement("p"), { className: "muted small", textContent: "Nothing was measured in this window." }));
    figure.plot = () => isEmpty || new uPlot(options(chart, place.clientWidth, legend), [chart.at_s, ...chart.series.map((series) => series.values)], place);
    return figure;
  }));
  for (const figure of grid.children) figure.plot();
}

function start(section) {
  const grid = section.querySelector("[data-grid]");
  let set = null;
  let width = 0;
  const windowNow = () => section.querySelector('[aria-pressed="true"]').dataset.window;
  const fail = (text) => grid.replaceChildren(Object.assign(document.createElement("p"), { className: "muted", textContent: text }));
  async function load() {
    try {
      const response = await fetch(`${section.dataset.charts}?window=${windowNow()}`, { headers: { accept: "application/json" } });
      const body = await response.json();
      if (!response.ok) return set || fail(body.message);
      set = body;
      draw(grid, set);
      width = grid.clientWidth;
    } catch { if (!set) fail("The charts could not be loaded; they are tried again."); }
  }
  section.addEventListener("click", (event) => {
    const button = event.target.closest("[data-window]");
    if (!button) return;
    for (const each of section.querySelectorAll("[data-window]")) each.setAttribute("aria-pressed", each === button);
    if ("inAddress" in section.dataset) {
      const url = new URL(location.href);
      url.searchParams.set("window", button.dataset.window);
      history.replaceState(history.state, "", url);
    }
    load();
  });
  const again = () => set && draw(grid, set);
  document.addEventListener("theme", again);
  new ResizeObserver(() => { if (set && Math.abs(grid.clientWidth - width) > 8) { width = grid.clientWidth; again(); } }).observe(grid);
  setInterval(() => document.hidden || load(), AGAIN_MS);
  load();
}

for (const section of document.querySelectorAll("[data-charts]")) requestAnimationFrame(() => start(section));
