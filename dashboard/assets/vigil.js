/* The live regions: the wall and the numbers of one bed. The page has empty nodes, this file owns
   what is below them, and attaches again when another page comes. Numbers come from a socket of our
   own; a value that is old never looks live. */
"use strict";
(() => {
  const ALIVE_MS = 5000, OUTAGE_SHOWN_MS = 1800000, PHONE = "(max-width: 700px)", RETRY_MAX_MS = 5000, FEED_DEAD_MS = 3500, DASHES_AFTER_MS = 60000, FRESH_MS = 5000, PAINTS_KEPT = 4000;
  const SVG = "http://www.w3.org/2000/svg";
  const CELLS = ["hr", "spo2", "rr", "temp", "bp"];
  const BIG = ["hr", "spo2", "rr", "pr", "bp", "temp", "pi", "etco2", "cvp"];
  const ALIKE = 3, MUTED_SHOWN = 100;
  const UNSCORED = 2.5;
  const ORDER = {high: 0, medium: 1, low: 2};
  const RANK = {high: 0, medium: 2, low: 4, technical: 5, none: 7};  // of a tile; acknowledged: one more
  const SPARK_STEP_MS = 10000, SPARK_KEPT = 60, SPARK_GAP_MS = 30000, LARGE_UP_TO = 12, SMALL_FROM = 121, PREFERENCES = "vigil_wall";
  const state = {only: "", leave: null, beds: new Map(), alerts: new Map(), outages: new Map(), sparks: new Map(),
                 tiles: new Map(), others: {}, problem: "", socket: null, retry: 0, heard: 0, status: "connecting", kept: true, room: ""};
  // From the oldest change's arrival at the server to paint, and from a device's measurement to paint, ms: what `vigil bench wall` reads.
  const paints = [], measured = [];
  window.vigil = {paints, measured, state};

  const kit = window.vigilKit, {say, make, set, mark, dress, ago, clock} = kit;
  const {now} = kit;

  /* ---- one vital on the screen ---- */
  const whole = (x) => (x === null || x === undefined ? "–" : String(Math.round(x)));
  function pressure(v) {
    for (const kind of ["abp", "nibp", "bp"]) {
      const parts = ["sys", "dia", "mean"].map((p) => v[`${kind}_${p}`]);
      const some = parts.find((p) => p);
      if (!some) continue;
      const usable = parts.some((p) => p && p[0] !== null);
      const text = usable ? `${whole(parts[0] && parts[0][0])}/${whole(parts[1] && parts[1][0])} (${whole(parts[2] && parts[2][0])})` : "";
      return {kind, text, measured: some[1], quality: usable ? "ok" : some[2], interval: some[3]};
    }
    return null;
  }
  function vital(name, v) {
    if (name === "bp") return pressure(v);
    const cell = v[name];
    if (!cell) return null;
    const text = cell[0] === null ? "" : (name === "temp" || name === "pi") ? cell[0].toFixed(1) : String(Math.round(cell[0]));
    return {kind: name, text, measured: cell[1], quality: cell[2], interval: cell[3]};
  }
  function makeCell(name) {
    const node = make("div", `cell ${name}`);
    const label = make("span", "k"), key = make("span"), why = make("time"), number = make("span", "n", "--");
    number.dataset.vital = name;
    label.append(key, why);
    node.append(label, number);
    return {node, key, number, why, name};
  }
  const OF_CELL = {bp: ["abp_sys", "abp_dia", "abp_mean", "nibp_sys", "nibp_dia", "nibp_mean", "bp_sys", "bp_dia", "bp_mean"]};
  function drawCell(cell, v, dead, bad = {}) {
    const shown = vital(cell.name, v);
    const levels = (OF_CELL[cell.name] || [cell.name]).map((name) => bad[name]).filter(Boolean);
    mark(cell.node, "alarm", ["high", "medium", "low"].find((level) => levels.includes(level)) || "none");
    set(cell.key, say(`vital_${shown ? shown.kind : cell.name}`));
    if (!shown) { set(cell.number, "--"); mark(cell.number, "old", "true"); dress(cell.number, "n"); set(cell.why, ""); return; }
    const age = now() - shown.measured;
    const old = dead || age > Math.max(15000, 3000 * shown.interval);
    const unusable = shown.quality !== "ok";
    mark(cell.number, "vital", shown.kind);
    mark(cell.number, "measured", String(shown.measured));
    mark(cell.number, "old", String(old || unusable));
    dress(cell.number, unusable && !old ? "n words" : "n");
    set(cell.number, old && age > Math.max(DASHES_AFTER_MS, 3000 * shown.interval) ? "--" : unusable ? (old ? "--" : say(shown.quality)) : shown.text);
    const timed = shown.interval >= 60;  // what is measured now and then always says when
    set(cell.why, timed ? clock(shown.measured).slice(0, 5) : old && !dead ? ago(age) : "");
  }
  const isStale = (bed) => !bed || !bed.r || now() - bed.r > Math.max(10000, 3000 * bed.i);

  /* ---- the wall ---- */
  const prefs = {order: "place", show: "all", hospital: "", ...JSON.parse(localStorage.getItem(PREFERENCES) || "{}"), find: ""};
  function prefer(changes) {
    Object.assign(prefs, changes);
    localStorage.setItem(PREFERENCES, JSON.stringify({order: prefs.order, show: prefs.show, hospital: prefs.hospital}));
    const node = document.getElementById("wall");
    if (!node) return;
    if ("order" in changes) drawWards(node.querySelector(".wards"));
    drawAll();
  }
  function drawWall(node) {
    const outages = make("div", "outages"), tools = make("div", "tools"), wards = make("div", "wards"), rail = make("aside", "rail"), main = make("div");
    tools.setAttribute("role", "toolbar");
    tools.setAttribute("aria-label", say("wall"));
    rail.id = "rail"; rail.setAttribute("aria-label", say("alerts"));
    outages.setAttribute("role", "status");
    main.append(outages, tools, wards);
    node.replaceChildren(main, rail);
    makeTools(tools);
    drawWards(wards);
    drawAll();
    drawRail();
  }
  function makeTools(tools) {
    const choices = (name, keys) => kit.choice(say(name), keys.map((key) => [key, say(`${name}_${key}`)]), prefs[name], (key) => prefer({[name]: key}));
    const hospital = make("select"), find = make("input");
    hospital.setAttribute("aria-label", say("hospital"));
    hospital.append(new Option(say("all_hospitals"), ""), ...kit.hospitals().sort().map(([id, name]) => new Option(name, id)));
    if (![...hospital.options].some((o) => o.value === prefs.hospital)) prefs.hospital = "";
    hospital.value = prefs.hospital;
    hospital.addEventListener("change", () => prefer({hospital: hospital.value}));
    find.type = "search";
    find.id = "find";
    find.placeholder = say("find");
    find.setAttribute("aria-label", say("find"));
    find.value = prefs.find;
    find.addEventListener("input", () => prefer({find: find.value.trim().toLowerCase()}));
    tools.append(choices("order", ["place", "acuity"]), choices("show", ["all", "alarm", "advice", "silent"]), hospital, find, make("span", "note"));
  }
  function drawWards(wards) {
    wards.replaceChildren();
    state.tiles.clear();
    const groups = new Map(), all = [...new Set([...Object.keys(kit.places), ...state.beds.keys()])].sort();
    for (const id of all) {
      const ward = prefs.order === "place" ? id.split("/").slice(0, 2).join("/") : "";
      if (!groups.has(ward)) groups.set(ward, []);
      groups.get(ward).push(id);
    }
    wards.className = `wards ${prefs.order}`;
    wards.dataset.density = all.length <= LARGE_UP_TO ? "large" : all.length >= SMALL_FROM ? "small" : "normal";
    for (const [ward, ids] of groups) {
      const place = kit.places[ids[0]] || {h: ward, u: "", n: ""};
      const section = make("section", "ward"), head = make("header"), tiles = make("div", "tiles"), note = make("span");
      head.append(make("h2", "", ward ? `${place.h} ${place.u}` : say("order_acuity")), note);
      section.append(head, tiles);
      wards.append(section);
      for (const id of ids) tiles.append(makeTile(id, note).node);
    }
  }
  // The worst first: what nobody has taken, then what somebody has, then NEWS2; empty beds last.
  function rank(tile) {
    const bed = state.beds.get(tile.id);
    if (!bed || bed.st === "empty") return [9, 0];
    return [RANK[bed.al] + (bed.ack ? 1 : 0), -(bed.news2[0] ?? UNSCORED)];  // one that is not scored is not well
  }
  function arrange() {
    const tiles = document.querySelector(".wards.acuity .tiles");
    if (!tiles || tiles.matches(":hover") || tiles.contains(document.activeElement)) return;  // nothing moves under a finger
    const ranked = [...state.tiles.values()].map((tile) => [tile, ...rank(tile)]);
    ranked.sort((a, b) => a[1] - b[1] || a[2] - b[2] || (a[0].id < b[0].id ? -1 : 1));
    if (ranked.some(([tile], n) => tiles.children[n] !== tile.node)) tiles.append(...ranked.map(([tile]) => tile.node));
  }
  function wanted(tile) {
    if (prefs.hospital && tile.id.split("/")[0] !== prefs.hospital) return false;
    if (prefs.show === "alarm" && tile.node.dataset.alarm === "none") return false;
    if (prefs.show === "silent" && tile.node.dataset.stale !== "true") return false;
    if (prefs.show === "advice" && !(state.beds.get(tile.id) || {}).lo) return false;
    return prefs.find.split(" ").every((part) => tile.words.includes(part));
  }
  function makeTile(id, note) {
    const place = kit.places[id] || {h: "", u: "", n: id.split("/")[2]};
    const node = make("a", "tile"), top = make("div", "top"), cells = make("div", "cells");
    node.href = `/bed/${id}`;
    node.dataset.bed = id;
    const number = make("span", "num", say("bed_n", {n: place.n}));
    const badge = make("span", "badge"), age = make("span", "age");
    const scored = make("span", "score"), scoreName = make("span"), scoreNumber = make("span", "s");
    scoreNumber.dataset.vital = "news2";
    const scoreTrend = make("span", "change");
    scored.append(scoreName, scoreNumber, scoreTrend);
    top.append(number, badge, age);
    const parts = CELLS.map(makeCell);
    parts[4].node.classList.add("wide");
    cells.append(...parts.map((p) => p.node));
    const spark = document.createElementNS(SVG, "svg"), lines = {};
    spark.setAttribute("viewBox", `0 0 ${SPARK_KEPT} 20`);
    spark.setAttribute("preserveAspectRatio", "none");
    spark.setAttribute("aria-hidden", "true");
    for (const name of ["spo2", "hr"]) {
      lines[name] = document.createElementNS(SVG, "path");
      lines[name].setAttribute("class", name);
      spark.append(lines[name]);
    }
    const people = make("div", "people");
    node.append(top, make("div", "place", `${place.h} ${place.u}`), cells, scored, people, spark);
    const words = `${place.h} ${place.u} ${number.textContent} ${id}`.toLowerCase();
    const tile = {node, badge, age, parts, note, id, words, people, score: scored, scoreName, scoreNumber, scoreTrend, lines};
    state.tiles.set(id, tile);
    drawSpark(tile);
    return tile;
  }
  // Ten minutes of heart rate and SpO2, ten seconds a step; where nothing came there is no line.
  function drawSpark(tile) {
    const points = state.sparks.get(tile.id) || [], last = points.length ? points[points.length - 1][0] : 0;
    for (const [name, at, low, high] of [["hr", 1, 30, 180], ["spo2", 2, 75, 100]]) {
      let path = "", before = 0;
      for (const point of points) {
        if (point[at] === null) continue;
        const x = SPARK_KEPT - 0.5 - (last - point[0]) / SPARK_STEP_MS;
        const y = 19 - 18 * Math.min(1, Math.max(0, (point[at] - low) / (high - low)));
        if (x < 0) continue;
        path += `${before && point[0] - before <= SPARK_GAP_MS ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
        before = point[0];
      }
      tile.lines[name].setAttribute("d", path);
    }
  }
  function noteSpark(bed) {
    const value = (cell) => (cell && now() - cell[1] < SPARK_STEP_MS ? cell[0] : null);
    if (!state.sparks.has(bed.id)) state.sparks.set(bed.id, []);
    const points = state.sparks.get(bed.id), last = points[points.length - 1];
    if (!bed.r || (last && bed.r - last[0] < SPARK_STEP_MS)) return;
    points.push([bed.r, value(bed.v.hr), value(bed.v.spo2)]);
    if (points.length > SPARK_KEPT) points.shift();
    const tile = state.tiles.get(bed.id);
    if (tile) drawSpark(tile);
  }
  function score(bed) {
    if (!bed || !bed.r || bed.st === "empty") return {text: "", total: null, risk: "none"};
    const [total, risk, at, change] = bed.news2;
    if (isStale(bed)) return {text: total === null ? "" : `NEWS2 ${total}`, total, risk: "none", at, change: 0, old: true};  // nothing new has come: of its time only
    if (risk === "age" || risk === "pregnancy") return {text: say("not_scored"), total: null, risk: "none"};
    return total === null ? {text: "", total, risk: "none"} : {text: `NEWS2 ${total}`, total, risk, at, change};
  }
  function drawTile(tile) {
    const bed = state.beds.get(tile.id), stale = isStale(bed);
    tile.drawn = true;
    const alarm = bed ? bed.al : "none";
    mark(tile.node, "stale", String(stale));
    mark(tile.node, "alarm", alarm);
    mark(tile.node, "ack", String(!!(bed && bed.ack)));
    dress(tile.badge, `badge ${alarm}`);
    set(tile.badge, alarm === "none" ? "" : `${kit.sign(alarm)}${bed.ack ? " ✓" : ""}`);
    const care = bed ? bed.st : "monitored";
    mark(tile.node, "care", care);
    set(tile.age, care === "empty" ? say("empty") : care === "standby" ? say("standby")
      : !bed || !bed.r ? say("never") : stale ? ago(now() - bed.r, "for_") : "");
    const s = score(bed);
    set(tile.scoreName, s.text && s.total === null ? s.text : s.text && "NEWS2 ");
    set(tile.scoreNumber, s.total === null ? "" : String(s.total));
    mark(tile.scoreNumber, "measured", s.total === null ? "" : String(s.at));
    set(tile.scoreTrend, s.change ? ` ${s.change > 0 ? "↑" : "↓"}${Math.abs(s.change)}` : "");
    mark(tile.score, "risk", s.risk);
    mark(tile.score, "old", String(!!s.old));
    set(tile.people, doing(bed));
    mark(tile.people, "urgent", String(!!(bed && (bed.q || (bed.lo && (bed.lo[0] || (bed.lo[4] && bed.lo[4] < now())))))));
    for (const part of tile.parts) drawCell(part, bed ? bed.v : {}, stale, bed ? bed.bad : {});
  }
  function loopLink(bed) {
    const [waiting, , proposed, agreed, , consult] = bed.lo, link = make("a", `loop ${proposed || waiting ? "urgent" : ""}`);
    link.href = `/consults/${consult}`;
    link.textContent = proposed ? `✎ ${say("advice_waits", {n: proposed})}` : waiting ? `☎ ${say("consult_waits")}` : agreed ? `✎ ${say("advice_n", {n: agreed})}` : `☎ ${say("consult")}`;
    return link;
  }
  // What people are doing about a bed: a question of identity, a consult that waits, open advice, who looks on.
  function doing(bed) {
    if (!bed) return "";
    const said = [], [waiting, active, proposed, agreed, due] = bed.lo || [0, 0, 0, 0, 0];
    if (bed.q) said.push(`? ${say("identity")}`);
    if (waiting) said.push(`☎ ${say("consult_waits")}`);
    if (proposed + agreed) said.push(`✎ ${say("advice_n", {n: proposed + agreed})}${due && due < now() ? ` ${say("overdue")}` : ""}`);
    else if (active) said.push(`☎ ${say("consult")}`);
    if (bed.w) said.push(`◉ ${bed.w.join(" ")}`);
    return said.join("  ");
  }
  function drawAll() {
    const counts = new Map();
    for (const tile of state.tiles.values()) {
      const bed = state.beds.get(tile.id);
      if (!bed || !tile.drawn || now() - bed.r > FRESH_MS) drawTile(tile);  // frames draw the fresh ones
      const c = counts.get(tile.note) || {beds: 0, stale: 0, shown: 0};
      const shown = wanted(tile);
      if (tile.node.hidden === shown) tile.node.hidden = !shown;
      c.beds += 1;
      c.shown += shown;
      if (tile.node.dataset.stale === "true") c.stale += 1;
      counts.set(tile.note, c);
    }
    let hidden = 0;
    for (const [note, c] of counts) {
      hidden += c.beds - c.shown;
      note.closest(".ward").hidden = !c.shown;
      set(note, `${c.beds} ${say("beds")}${c.stale ? ` · ${c.stale} ${say("stale_beds")}` : ""}`);
    }
    const said = document.querySelector(".tools .note");
    if (said) set(said, hidden ? say("hidden_beds", {n: hidden}) : "");
    arrange();
    drawOutages();
    drawSummary();
  }
  // Hospitals of which no bed is heard: since when; and, when they are back, what was known only afterwards.
  function noteOutages() {
    const heard = new Map();
    for (const bed of state.beds.values()) {
      if (!bed.r || bed.st !== "monitored") continue;
      const hospital = bed.id.split("/")[0], known = heard.get(hospital) || {beds: 0, stale: 0, last: 0};
      heard.set(hospital, {beds: known.beds + 1, stale: known.stale + isStale(bed), last: Math.max(known.last, bed.r)});
    }
    for (const [hospital, h] of heard) {
      const out = state.outages.get(hospital);
      if (h.stale === h.beds && !(out && !out.until)) state.outages.set(hospital, {since: h.last, until: 0, beds: h.beds, unseen: new Set()});
      else if (h.stale < h.beds && out && !out.until) out.until = now();
      if (out && out.until && now() - out.until > OUTAGE_SHOWN_MS) state.outages.delete(hospital);
    }
  }
  function noteUnseen(alert) {
    const out = state.outages.get(alert.bed.split("/")[0]);
    if (out && (alert.delayed || alert.kind === "finding" || (out.until && alert.onset < out.until))) out.unseen.add(alert.id);
  }
  function drawOutages() {
    noteOutages();
    const box = document.querySelector(".outages");
    if (!box) return;
    const said = [...state.outages].map(([hospital, out]) => {
      const name = kit.hospitalName(hospital);
      return out.until ? say("outage_over", {name, from: clock(out.since), to: clock(out.until), n: out.unseen.size})
        : say("outage", {name, since: clock(out.since), ago: ago(now() - out.since, "for_"), n: out.beds});
    });
    const looks = [...state.outages.values()].map((out) => (out.until ? "over" : "out"));
    if (state.room) { said.push(`${say("room")}: ${state.room}`); looks.push("out"); }
    if (!state.kept) { said.push(say("not_kept")); looks.push("over"); }
    const text = said.join("|");
    if (box.vigilText === text) return;
    box.vigilText = text;
    box.replaceChildren(...looks.map((look, i) => make("p", look, said[i])));
  }
  function drawSummary() {
    const node = document.getElementById("summary");
    if (!node) return;
    const count = {high: 0, medium: 0, low: 0};
    for (const a of state.alerts.values()) if (!a.muted) count[a.pri] += 1;
    const words = (c) => ["high", "medium", "low"].filter((p) => c[p]).map((p) => `${say(p)} ${c[p]}`).join(" · ");
    const others = state.only ? words(state.others) : "";
    const waiting = [...state.beds.values()].filter((b) => b.lo && b.lo[0]).length, advised = [...state.beds.values()].filter((b) => b.lo && b.lo[2]).length;
    mark(node, "asked", String(!!((waiting && kit.may("advise")) || (advised && kit.may("answer")))));
    const failed = state.undelivered ? `⚠ ${say("undelivered", {n: state.undelivered})}` : "";
    set(node, [words(count) || say("no_alerts"), waiting && `☎ ${say("consults_wait", {n: waiting})}`, advised && kit.may("answer") && `✎ ${say("advice_waits", {n: advised})}`, others && `${say("other_beds")} ${others}`, failed].filter(Boolean).join("  |  "));
    mark(node, "others", state.only && state.others.high ? "high" : "none");
    drawSound();
  }
  // Sound is for the worst that nobody has taken, on any bed that this person may see.
  function drawSound() {
    const asking = [...state.alerts.values()].filter((a) => !a.muted && !a.ack).map((a) => a.pri);
    const elsewhere = state.only ? Object.keys(ORDER).filter((p) => state.others[p]) : [];
    if (state.problem) elsewhere.push("medium");  // what cannot be heard of is itself to be heard
    window.vigilSound.want(["high", "medium", "low"].find((p) => asking.includes(p) || elsewhere.includes(p)) || "none");
    const button = document.getElementById("sound");
    if (!button) return;
    const how = window.vigilSound.state();
    set(button, say(`sound_${how}`));
    mark(button, "state", how);
    button.setAttribute("aria-pressed", String(how === "on"));
  }
  window.vigilSound.listener = drawSound;

  /* ---- alerts ---- */
  function alertItem(alert) {
    // a technical alert that is high (a whole hospital silent) looks as urgent as it is
    const level = alert.tech && alert.pri !== "high" ? "technical" : alert.pri;
    const item = make("div", `alert ${level}`), row = make("div", "row");
    item.dataset.alert = alert.id;
    row.append(kit.badge(level), make("span", "", clock(alert.onset)));
    if (alert.tech && level === "high") row.append(make("span", "", `⚙ ${say("technical")}`));
    if (alert.delayed) row.append(make("span", "", say("delayed")));
    if (alert.latched) row.append(make("span", "mark latched", say("latched")));
    const sentence = make("p");
    const link = make("a", "", kit.sentence(alert));
    link.href = `/bed/${alert.bed}`;
    sentence.append(link);
    item.append(row, sentence);
    const live = make("p", "live");
    item.append(live);
    item.vigilAlert = alert;
    drawLive(item, live);
    if (alert.muted) {
      const until = alert.until ? say("shelved", {until: clock(alert.until).slice(0, 5)}) : say("muted_by", {what: mutedBy(alert)});
      item.classList.add("quiet");
      item.append(make("div", "done", [until, alert.until ? alert.reason : ""].filter(Boolean).join(" · ")));
      return item;
    }
    if (alert.role && !alert.ack) item.append(make("div", "done told", say("told", {who: say(`role_${alert.role}`)})));
    if (alert.ack) item.append(make("div", "done", `✓ ${say("by", {who: alert.ack})}`));
    else if (kit.may("alerts")) {
      const button = make("button", "", say("acknowledge"));
      button.type = "button";
      button.addEventListener("click", () => act(alert, button, "acknowledge"));
      const buttons = make("div", "buttons");
      buttons.append(button);
      if (alert.role && alert.role !== "remote-intensivist") {
        const other = make("button", "second", say("decline"));
        other.type = "button";
        other.addEventListener("click", () => act(alert, other, "decline"));
        buttons.append(other);
      }
      item.append(buttons);
    }
    if (!kit.isPlace(alert.bed)) item.append(more(alert));
    return item;
  }
  // The name of the rule that mutes, as its own alert on the bed says it.
  function mutedBy(alert) {
    const other = [...state.alerts.values()].find((a) => a.bed === alert.bed && a.rule === alert.muted);
    return other ? kit.ruleName(other) : alert.muted;
  }
  // The sentence is of the onset; beside it stands what is now.
  function drawLive(item, live) {
    const alert = item.vigilAlert, bed = state.beds.get(alert.bed), cell = bed && alert.vital && bed.v[alert.vital];
    const value = cell && cell[0] !== null && !isStale(bed) ? `${say("now")} ${Number(cell[0].toFixed(1))} · ` : "";
    set(live, alert.latched ? "" : `${value}${say("since_ago", {ago: ago(now() - alert.onset, "for_")})}`);
  }
  const drawAllLive = () => { for (const item of document.querySelectorAll(".alert")) if (item.vigilAlert) drawLive(item, item.querySelector(".live")); };
  function more(alert) {
    const links = kit.put("div", "links", kit.button(say("why"), () => { kit.why(alert.bed, alert.rule, alert.onset); }, "link"));
    if (kit.may("consult")) links.append(kit.button(say("consult_from"), () => kit.openConsult(alert.bed, alert), "link"));
    return links;
  }
  async function act(alert, button, what) {
    button.disabled = true;
    button.textContent = say("acknowledging");
    try {
      const answer = await fetch(`/api/beds/${alert.bed}/alerts/${alert.id}/${what}`, {method: "POST"});
      if (!answer.ok) throw new Error((await answer.json()).detail);
      if (what === "decline") button.textContent = say("declined");
    } catch (error) {
      button.disabled = false;
      button.textContent = say("ack_failed");
      kit.toast(error.message, "bad");
    }
  }
  // A power cut is one card a hospital, not one a bed: more than a few alike, unacknowledged, stand together.
  function together(open) {
    const groups = new Map(), items = [];
    for (const a of open) {
      const key = a.ack || !a.tech ? a.id : `${a.bed.split("/")[0]} ${a.rule}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(a);
    }
    for (const some of groups.values()) {
      if (some.length <= ALIKE) { items.push(...some.map(alertItem)); continue; }
      const place = kit.places[some[0].bed] || {h: some[0].bed.split("/")[0]};
      const group = make("details", "alert technical group");
      group.append(make("summary", "", `⚙ ${place.h} · ${say("grouped", {beds: some.length, what: kit.ruleName(some[0])})}`), ...some.slice(0, MUTED_SHOWN).map(alertItem));
      items.push(group);
    }
    return items;
  }
  function drawRail() {
    const rail = document.getElementById("rail");
    if (!rail) return;
    const all = [...state.alerts.values()].sort((a, b) =>
      (!!a.ack - !!b.ack) || (ORDER[a.pri] - ORDER[b.pri]) || (a.tech - b.tech) || (b.onset - a.onset));
    const open = all.filter((a) => !a.muted), muted = all.filter((a) => a.muted);
    const head = make("div", "head"), focused = rail.contains(document.activeElement) ? document.activeElement.closest(".alert") : null;
    const at = focused && [focused.dataset.alert, [...focused.querySelectorAll("a, button")].indexOf(document.activeElement)];
    head.append(make("h2", "", `${say("alerts")} ${open.length || ""}`));
    rail.replaceChildren(head, ...(open.length ? together(open) : [make("p", "note", say("no_alerts"))]));
    if (muted.length) {
      const kept = make("details", "kept");
      kept.open = !!rail.vigilKept;
      kept.addEventListener("toggle", () => { rail.vigilKept = kept.open; });
      kept.append(make("summary", "", `${say("muted")} ${muted.length}`), ...muted.slice(0, MUTED_SHOWN).map(alertItem));
      rail.append(kept);
    }
    if (at) {  // the list is new, the person's place in it is not
      const again = rail.querySelector(`[data-alert="${at[0]}"]`), target = again && again.querySelectorAll("a, button")[at[1]];
      if (target) target.focus();
    }
    drawSummary();
  }

  Object.assign(window.vigil, {drawCell, makeCell, score, isStale, together, loopLink});  // what other screens draw too

  /* ---- one bed ---- */
  let big = null;
  function drawBed(node) {
    const place = kit.places[state.only] || {h: "", u: "", n: state.only.split("/")[2]};
    const title = make("div", "bed-title"), back = make("a", "back", `← ${say("wall")}`);
    back.href = "/";
    const age = make("span", "where"), care = make("div", "care");
    title.append(back, make("h1", "", say("bed_n", {n: place.n})),
                 make("span", "where", `${place.h} ${place.u}`), age);
    const grid = make("div", "big"), rail = make("div", "rail");
    rail.id = "rail";
    const parts = BIG.map(makeCell);
    grid.append(...parts.map((p) => p.node));
    const patient = make("div"), rest = make("dl", "rest");
    patient.id = "patient";
    rest.setAttribute("aria-label", say("other_vitals"));
    node.replaceChildren(title, patient, care, grid, rest, rail);
    big = {parts, age, care, rest, lines: new Map()};
    drawNumbers();
    drawRail();
  }
  function drawNumbers() {
    if (!big) return;
    const bed = state.beds.get(state.only), stale = isStale(bed), v = bed ? bed.v : {};
    for (const part of big.parts) {
      const there = CELLS.includes(part.name) || !!vital(part.name, v);
      part.node.hidden = !there;
      part.node.style.display = there ? "" : "none";
      drawCell(part, v, stale, bed ? bed.bad : {});
    }
    drawRest(v, stale);
    const waves = window.vigilWaves && performance.now() - window.vigilWaves.heard < 3000;
    set(big.age, !stale ? say("live") : waves ? say("waves_only") : bed && bed.r ? `${say("stale")} · ${ago(now() - bed.r)}` : say("never"));
    mark(big.age, "stale", String(stale && !waves));
    drawCare(bed);
  }

  // Everything else that the bed sends: one line each, the newest value with its unit, or why there is none.
  const TILED = /^(abp|nibp|bp)_(sys|dia|mean)$/;
  function drawRest(v, stale) {
    for (const name of Object.keys(v).sort()) {
      if (BIG.includes(name) || TILED.test(name) || big.lines.has(name)) continue;
      const row = make("div"), key = make("dt", "", kit.vitalName(name)), value = make("dd", "n");
      value.dataset.vital = name;
      row.append(key, value);
      big.lines.set(name, value);
      big.rest.append(row);
    }
    for (const [name, node] of big.lines) {
      const cell = v[name], age = cell ? now() - cell[1] : 0;
      const old = !cell || stale || age > Math.max(15000, 3000 * cell[3]), unusable = cell && cell[2] !== "ok";
      mark(node, "measured", cell ? String(cell[1]) : "");
      mark(node, "old", String(old || !!unusable));
      const unit = kit.words[`unit_${name}`] || "";
      set(node, !cell || (old && age > Math.max(DASHES_AFTER_MS, 3000 * cell[3])) ? "--" : unusable ? (old ? "--" : say(cell[2])) : `${+cell[0].toFixed(2)}${unit && unit !== "1" ? ` ${unit}` : ""}`);
    }
    big.rest.hidden = !big.lines.size;
  }

  // What is not as usual with this patient: state of the bed, score, limits of treatment, limits changed for them.
  function drawCare(bed) {
    const at = kit.stamp, notes = [];
    if (bed) {
      const s = score(bed);
      if (s.old && s.text) s.text = `${s.text} · ${say("as_of", {at: kit.stamp(s.at)})}`;
      notes.push(["score", s.text && !s.text.startsWith("NEWS2") ? `NEWS2 ${s.text}` : s.text || (bed.r && bed.st !== "empty" ? say("news2_none") : ""), s.risk]);
      if (bed.st === "empty") notes.push(["state", say("empty")]);
      if (bed.st === "standby") notes.push(["state", `${say("standby")} · ${bed.why} · ${say("back_at", {at: at(bed.until)})}`]);
      for (const limit of bed.limits) notes.push(["limit", `${say("limits")}: ${limit}`]);
      for (const [rule, by, why, until, off, above, below] of bed.ex) {
        const change = off ? say("off") : above !== null && above !== undefined ? `> ${above}` : `< ${below}`;
        notes.push(["exception", `${say("exceptions")}: ${rule} ${change} · ${why} · ${by} · ${say("until", {at: at(until)})}`]);
      }
    }
    const text = JSON.stringify([notes, bed && bed.lo]);
    if (big.care.vigilText === text) return;
    big.care.vigilText = text;
    big.care.replaceChildren(...notes.filter((n) => n[1]).map(([kind, words, risk]) => {
      const node = make("span", kind, words);
      if (risk) node.dataset.risk = risk;
      return node;
    }), ...(bed && bed.lo && bed.lo[5] ? [loopLink(bed)] : []));
  }

  /* ---- the socket ---- */
  function take(text) {
    const frame = JSON.parse(text);
    kit.offset = frame.t - performance.now();
    state.heard = performance.now();
    state.retry = 0;
    if (frame.full) { state.beds.clear(); state.alerts.clear(); state.sparks = new Map(Object.entries(frame.sparks || {})); }
    for (const bed of frame.b) { state.beds.set(bed.id, bed); if (state.tiles.size) noteSpark(bed); }
    for (const alert of frame.a) {
      noteUnseen(alert);
      if (alert.open) state.alerts.set(alert.id, alert);
      else state.alerts.delete(alert.id);
    }
    state.status = frame.status;
    state.kept = frame.kept;
    state.room = frame.room;
    state.undelivered = frame.undelivered;
    if (state.only) { state.others = frame.others; drawSummary(); }
    if (state.only) drawNumbers();
    else {
      let fresh = frame.full;
      for (const bed of frame.b) { const tile = state.tiles.get(bed.id); if (tile) drawTile(tile); else fresh = true; }
      if (fresh) { const wards = document.querySelector("#wall .wards"); if (wards) { drawWards(wards); drawAll(); } }
    }
    if (frame.a.length || frame.full) drawRail();
    if (!document.getElementById("rail")) drawSummary();
    if (state.draw) state.draw(frame);
    if (frame.news_lost || frame.full) kit.tell(null);
    else for (const news of frame.news || []) kit.tell(news);
    drawFeed();
    if (frame.b.length) requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        const at = Date.now();
        paints.push(at - frame.arrived);
        for (const bed of frame.b) if (bed.v.hr && at - bed.r < FRESH_MS) measured.push(at - bed.v.hr[1]);
        for (const kept of [paints, measured]) if (kept.length > PAINTS_KEPT) kept.splice(0, kept.length - PAINTS_KEPT);
      };
      channel.port2.postMessage(0);
    });
  }
  function drawFeed() {
    const banner = document.getElementById("feed-banner"), light = document.getElementById("feed-state");
    if (!banner || !light) return;
    const silent = performance.now() - state.heard;
    let problem = "";
    if (!state.heard) problem = "";
    else if (silent > FEED_DEAD_MS) problem = `${say("lost")} · ${ago(silent)}`;
    else if (state.status !== "ok") problem = say(state.status);
    if (state.problem !== problem) { state.problem = problem; drawSound(); }
    set(banner, problem);
    const monitored = [...state.beds.values()].filter((b) => b.r && b.st === "monitored"), dead = problem || (monitored.length && monitored.every(isStale));
    mark(light, "state", dead ? "bad" : state.heard ? "ok" : "wait");
    set(light, dead ? say("stale") : state.heard ? say("live") : say("connecting"));
  }
  // A sign of life: who hears nothing of a screen takes nobody for a receiver there. A phone is a secondary one.
  function alive() {
    if (!state.socket || state.socket.readyState !== WebSocket.OPEN) return;
    const sorted = paints.slice(-500).sort((a, b) => a - b), at = (q) => (sorted.length ? Math.round(sorted[Math.floor((sorted.length - 1) * q)]) : 0);
    state.socket.send(JSON.stringify({phone: matchMedia(PHONE).matches, paint: [at(0.5), at(0.99)]}));
  }
  function connect() {
    if (state.socket) { state.socket.onclose = null; state.socket.close(); state.socket = null; }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${state.only ? `/ws/bed/${state.only}` : "/ws/wall"}${kit.numbers ? "?numbers=1" : ""}`);
    state.socket = socket;
    socket.onopen = alive;
    socket.onmessage = (event) => take(event.data);
    socket.onclose = (event) => {
      if (state.socket !== socket) return;
      if (event.code === 4401) { location.href = "/login"; return; }
      state.retry += 1;
      setTimeout(() => { if (state.socket === socket) connect(); }, Math.min(RETRY_MAX_MS, 250 * 2 ** state.retry) * (0.5 + Math.random() / 2));
    };
  }

  /* ---- a page has come ---- */
  document.addEventListener("keydown", (event) => {
    const find = document.getElementById("find");
    if (event.key !== "/" || !find || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    find.focus();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const path = link && link.getAttribute("href");
    if (path && path.startsWith("/") && !path.startsWith("/api/") && !link.target && !event.metaKey && !event.ctrlKey && event.button === 0) {
      event.preventDefault();
      kit.go(path);
    }
    if (event.target.id === "numbers") {
      document.cookie = `vigil_numbers=${kit.numbers ? "" : "1"};path=/;max-age=31536000;samesite=strict`;
      location.reload();
    }
    if (event.target.id === "sound") window.vigilSound.set(window.vigilSound.state() !== "on");
    if (event.target.id === "language") {
      document.cookie = `vigil_language=${event.target.dataset.to};path=/;max-age=31536000;samesite=strict`;
      location.reload();
    }
  });
  function attach() {
    const context = document.getElementById("context");
    if (state.leave) state.leave();
    state.leave = state.draw = null;
    kit.words = JSON.parse(context.dataset.words);
    kit.places = JSON.parse(context.dataset.places);
    kit.lang = context.dataset.lang;
    kit.me = JSON.parse(context.dataset.me);
    kit.numbers = document.cookie.includes("vigil_numbers=1");
    document.documentElement.lang = kit.lang === "zh" ? "zh-CN" : "en";
    big = null;
    state.only = document.getElementById("bed") ? context.dataset.bed : "";
    state.beds.clear(); state.alerts.clear(); state.tiles.clear();
    const wall = document.getElementById("wall"), bed = document.getElementById("bed");
    if (wall) drawWall(wall);
    if (bed) drawBed(bed);
    const screen = document.querySelector("[data-screen]");
    if (screen) state.leave = kit.screens.get(screen.dataset.screen)(screen, screen.dataset.argument || "") || null;
    connect();
    drawFeed();
  }
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("/worker.js").catch(() => {});  // only installing needs it
  setInterval(() => { drawAllLive(); if (state.tiles.size) drawAll(); else drawOutages(); if (state.only) drawNumbers(); if (state.draw) state.draw(null); drawFeed(); }, 1000);
  setInterval(alive, ALIVE_MS);
  kit.enter.push(attach);
})();
