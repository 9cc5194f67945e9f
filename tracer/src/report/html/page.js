"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
// Names are text: nothing here ever parses them as markup.
const make = (tag, text, className) => {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  return element;
};
const STATUS = { loaded: "good", "already-loaded": "good", "not-found": "doubt", "built-in": "doubt", "not-waited": "doubt", unknown: "doubt", unloaded: "good" };
const statusClass = (status) => STATUS[status] || "bad";
const duration = (ns) => {
  if (ns === null || ns === undefined) return "-";
  for (const [size, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "us"]]) {
    if (ns >= size) return (ns / size >= 100 ? Math.floor(ns / size) : (Math.floor(ns / size * 10) / 10).toFixed(1)) + " " + unit;
  }
  return ns + " ns";
};
const time = (ms, digits) => new Date(ms).toISOString().replace("T", " ").slice(0, digits ? 23 : 19);

const state = { q: "", host: "", result: "", from: null, to: null };
const read = () => {
  const hash = new URLSearchParams(location.hash.slice(1));
  for (const key of ["q", "host", "result"]) state[key] = hash.get(key) || "";
  state.from = hash.has("from") ? Number(hash.get("from")) : null;
  state.to = hash.has("to") ? Number(hash.get("to")) : null;
};
const write = () => {
  const hash = new URLSearchParams();
  for (const key of ["q", "host", "result", "from", "to"]) if (state[key] !== "" && state[key] !== null) hash.set(key, state[key]);
  history.replaceState(null, "", "#" + hash);
};
const matches = (entry) =>
  state.q.toLowerCase().split(/\s+/).every((word) => entry.text.includes(word)) &&
  (!state.host || entry.host === state.host) &&
  (!state.result || state.result in entry.results);
const wants = (entry) => matches(entry) &&
  (state.from === null || entry.last >= state.from) && (state.to === null || entry.first < state.to);

const textOf = (parts) => parts.filter((part) => part).join(" ").toLowerCase();
for (const row of data.rows) row.text = textOf([row.name, row.program, row.user, row.place, row.host, Object.keys(row.results).join(" ")]);
for (const chain of data.chains) {
  chain.host = data.streams[chain.stream].host;
  chain.results = { [chain.result]: 1 };
  chain.first = chain.last = chain.time;
  chain.text = textOf([chain.asked, chain.who, chain.user, chain.place, chain.host, chain.result, chain.why, (chain.modules || []).join(" "), chain.details]);
}

const ROWS = [
  ["module or alias", (row) => row.name, (row) => make("td", row.name, row.fresh ? "wrap first" : "wrap")],
  ["by", (row) => row.program, null, "wrap"],
  ["user", (row) => row.user],
  ["unit or container", (row) => row.place, null, "wrap"],
  ["host", (row) => row.host],
  ["times", (row) => row.times, null, "number"],
  ["blocked", (row) => row.blocked_ns, (row) => make("td", row.blocked_ns ? duration(row.blocked_ns) : "-", "number"), "number"],
  ["result", (row) => Object.keys(row.results).join(", "), (row) => {
    const cell = make("td");
    const all = Object.entries(row.results);
    all.forEach(([status, count], place) => {
      if (place) cell.append(", ");
      cell.append(make("span", all.length > 1 ? status + " " + count : status, statusClass(status)));
    });
    return cell;
  }],
  ["first (UTC)", (row) => row.first, (row) => make("td", time(row.first))],
  ["last (UTC)", (row) => row.last, (row) => make("td", time(row.last))],
];
// Toggles a row below with the full description, as the tree format prints it.
const details = (open, chain) => {
  const line = open.closest("tr");
  const is_open = open.getAttribute("aria-expanded") === "true";
  open.setAttribute("aria-expanded", String(!is_open));
  if (is_open) { line.nextElementSibling.remove(); return; }
  const cell = make("td");
  cell.colSpan = CHAINS.length;
  cell.append(make("pre", chain.details));
  const below = make("tr");
  below.append(cell);
  line.after(below);
};
const CHAINS = [
  ["time (UTC)", (chain) => chain.time, (chain) => {
    const cell = make("td");
    const open = make("button", time(chain.time, true));
    open.type = "button";
    open.setAttribute("aria-expanded", "false");
    open.addEventListener("click", () => details(open, chain));
    cell.append(open);
    return cell;
  }],
  ["who", (chain) => chain.who, null, "wrap"],
  ["user", (chain) => chain.user],
  ["unit or container", (chain) => chain.place, null, "wrap"],
  ["host", (chain) => chain.host],
  ["asked for", (chain) => chain.asked, (chain) => {
    const cell = make("td", chain.asked, "wrap");
    if (chain.why) cell.append(make("div", chain.why, "quiet"));
    return cell;
  }],
  ["result", (chain) => chain.result, (chain) => make("td", chain.result, statusClass(chain.result))],
  ["blocked", (chain) => chain.blocked_ns || 0, (chain) => make("td", duration(chain.blocked_ns), "number"), "number"],
  ["modules", (chain) => (chain.modules || []).join(" "), (chain) => {
    const cell = make("td", (chain.modules || []).join(" "), "wrap");
    if (chain.is_first) cell.append(" ", make("span", "first seen", "first"));
    for (const note of chain.incomplete || []) cell.append(make("div", "incomplete: " + note, "doubt"));
    return cell;
  }],
];
const LIMIT = 500;
const table = (id, columns, entries, sort) => {
  const order = sort;
  const draw = () => {
    const chosen = entries.filter(wants);
    const key = columns[order.column][1];
    chosen.sort((a, b) => { const [x, y] = [key(a), key(b)]; return (x < y ? -1 : x > y ? 1 : 0) * order.sign; });
    const body = make("tbody");
    for (const entry of chosen.slice(0, LIMIT)) {
      const line = make("tr");
      for (const [, value, cell, className] of columns) line.append(cell ? cell(entry) : make("td", value(entry), className || ""));
      body.append(line);
    }
    const head = make("tr");
    columns.forEach(([name, , , className], column) => {
      const cell = make("th", null, className || "");
      const button = make("button", name + (order.column === column ? (order.sign > 0 ? " ↑" : " ↓") : ""));
      button.type = "button";
      button.addEventListener("click", () => { order.sign = order.column === column ? -order.sign : 1; order.column = column; draw(); });
      cell.append(button);
      head.append(cell);
    });
    const top = make("thead");
    top.append(head);
    byId(id).replaceChildren(top, body);
    byId(id + "-count").textContent = chosen.length > LIMIT ? LIMIT + " of " + chosen.length + " shown" : String(chosen.length);
  };
  return draw;
};
const SVG = "http://www.w3.org/2000/svg";
const KINDS = ["good", "doubt", "bad"];
// Without a filter it counts everything; with one, the matching entries of the page.
const counted = () => {
  const { begin, width, buckets } = data.timeline;
  const is_filtered = state.q.trim() || state.host || state.result;
  byId("when").textContent = !is_filtered ? "" : data.all ? "what matches" : "what matches, of those that are shown below";
  if (!is_filtered) return buckets;
  const own = buckets.map(() => [0, 0, 0]);
  for (const chain of data.chains) {
    const bucket = own[Math.floor((chain.time - begin) / width)];
    if (bucket && chain.asked !== "unload" && matches(chain)) bucket[KINDS.indexOf(statusClass(chain.result))]++;
  }
  return own;
};
const timeline = () => {
  const { begin, width } = data.timeline;
  const buckets = counted();
  const svg = byId("timeline");
  const most = Math.max(1, ...buckets.map(([good, doubt, bad]) => good + doubt + bad));
  const rect = (x, y, w, h, className) => {
    const bar = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ x, y, width: w, height: h, class: className })) bar.setAttribute(name, value);
    svg.append(bar);
    return bar;
  };
  svg.replaceChildren();
  svg.setAttribute("viewBox", "0 0 " + Math.max(1, buckets.length) + " 100");
  svg.setAttribute("preserveAspectRatio", "none");
  buckets.forEach((counts, place) => {
    let y = 100;
    KINDS.forEach((className, kind) => {
      const height = counts[kind] / most * 100;
      y -= height;
      if (height) rect(place, y, 0.9, height, className);
    });
    const [from, to] = [begin + place * width, begin + (place + 1) * width];
    const pick = rect(place, 0, 1, 100, state.from === from ? "pick picked" : "pick");
    const title = document.createElementNS(SVG, "title");
    title.textContent = time(from) + " UTC: " + counts.reduce((sum, count) => sum + count, 0);
    pick.append(title);
    pick.addEventListener("click", () => {
      [state.from, state.to] = state.from === from ? [null, null] : [from, to];
      all();
    });
  });
  byId("begin").textContent = buckets.length ? time(begin) + " UTC" : "";
  byId("end").textContent = buckets.length ? time(begin + buckets.length * width) + " UTC" : "";
};
const rows = table("rows", ROWS, data.rows, { column: 8, sign: 1 });
const chains = table("chains", CHAINS, data.chains, { column: 0, sign: 1 });
const all = () => { write(); timeline(); rows(); chains(); };

const options = (id, values) => {
  for (const value of values) { const option = make("option", value); option.value = value; byId(id).append(option); }
  byId(id).value = state[id];
  byId(id).addEventListener("change", (event) => { state[id] = event.target.value; all(); });
};
read();
byId("about").textContent = data.about;
byId("note").textContent = data.note;
for (const stream of data.streams) {
  const line = make("li", stream.source);
  byId("streams").append(line);
  for (const issue of stream.missing) byId("missing-list").append(make("li", stream.name + ": " + issue));
}
byId("missing").hidden = !byId("missing-list").childElementCount;
options("host", [...new Set(data.streams.map((stream) => stream.host))].sort());
options("result", [...new Set(data.rows.flatMap((row) => Object.keys(row.results)))].sort());
byId("q").value = state.q;
byId("q").addEventListener("input", (event) => { state.q = event.target.value; all(); });
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("reset").addEventListener("click", () => {
  Object.assign(state, { q: "", host: "", result: "", from: null, to: null });
  for (const id of ["q", "host", "result"]) byId(id).value = "";
  all();
});
all();
document.documentElement.dataset.ready = "yes";
