/* What every script shares: words, places, the person, small builders of nodes, the API, dialogs,
   and the register of screens. Loaded first. */
"use strict";
(() => {
  const TOAST_MS = 6000;
  const kit = window.vigilKit = {
    words: {}, places: {}, lang: "zh", me: {role: "", may: [], username: ""}, numbers: false,
    screens: new Map(),  // name -> (node, argument) => leave()
    heard: new Set(),    // what people did: (news) => void, news null when some were lost
    offset: 0,           // hub time = performance.now() + offset
  };
  kit.say = (key, fields = {}) =>
    Object.entries(fields).reduce((text, [k, v]) => text.replaceAll(`{${k}}`, v), kit.words[key] || key);
  kit.may = (what) => kit.me.may.includes(what);
  kit.now = () => (kit.offset ? performance.now() + kit.offset : Date.now());
  kit.make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined && text !== null) node.textContent = text;
    return node;
  };
  kit.put = (tag, className, ...children) => {
    const node = kit.make(tag, className);
    node.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
    return node;
  };
  // The page is compared with what we last wrote, kept beside it: reading the DOM back costs more.
  kit.set = (node, text) => {
    if (node.vigilText === text) return;
    node.vigilText = text;
    if (node.firstChild && text) node.firstChild.data = text; else node.textContent = text;
  };
  kit.mark = (node, name, value) => {
    const known = node.vigilMarks || (node.vigilMarks = {});
    if (known[name] !== value) { known[name] = value; node.dataset[name] = value; }
  };
  kit.dress = (node, name) => { if (node.vigilClass !== name) { node.vigilClass = name; node.className = name; } };

  /* ---- times ---- */
  const two = (n) => String(n).padStart(2, "0");
  kit.clock = (ms, at = new Date(ms)) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  kit.minute = (ms) => kit.clock(ms).slice(0, 5);
  kit.day = (ms, at = new Date(ms)) => `${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  kit.stamp = (ms) => `${kit.day(ms)} ${kit.minute(ms)}`;
  kit.ago = (ms, form = "ago_") => {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 120) return kit.say(`${form}s`, {n: s});
    return s < 7200 ? kit.say(`${form}m`, {n: Math.round(s / 60)}) : kit.say(`${form}h`, {n: Math.round(s / 3600)});
  };
  kit.span = (s) => (s === null || s === undefined ? "–" : s < 120 ? kit.say("for_s", {n: Math.round(s)})
    : s < 7200 ? kit.say("for_m", {n: Math.round(s / 60)}) : kit.say("for_h", {n: Math.round(s / 360) / 10}));

  /* ---- places ---- */
  kit.place = (bed) => kit.places[bed] || {h: bed.split("/")[0], u: bed.split("/")[1] || "", n: bed.split("/")[2] || ""};
  kit.number = (bed) => kit.say("bed_n", {n: kit.place(bed).n});
  kit.isPlace = (bed) => /\/(unit|hospital)$/.test(bed);  // a unit or a hospital has alerts of its own
  kit.bedName = (bed) => {
    const levels = bed.split("/"), whole = levels[2] === "hospital" ? 1 : 2;
    if (kit.isPlace(bed)) {
      const known = Object.keys(kit.places).find((b) => b.startsWith(`${levels.slice(0, whole).join("/")}/`));
      const p = known ? kit.places[known] : {h: levels[0], u: levels[1]};
      return whole === 1 ? p.h : `${p.h} ${p.u}`;
    }
    const p = kit.place(bed);
    return `${p.h} ${p.u} ${kit.number(bed)}`;
  };
  kit.hospitals = () => [...new Map(Object.entries(kit.places).map(([bed, place]) => [bed.split("/")[0], place.h]))];
  kit.units = () => [...new Map(Object.keys(kit.places).sort().map((bed) =>
    [bed.split("/").slice(0, 2).join("/"), `${kit.places[bed].h} ${kit.places[bed].u}`]))];
  kit.vitalName = (name) => kit.words[`vital_${name}`] || kit.words[`vital_${name.split("_")[0]}`] || name;

  /* ---- the hub ---- */
  kit.api = async (method, path, body) => {
    const options = {method, headers: {}};
    if (body instanceof Blob) options.body = body;
    else if (body !== undefined) { options.body = JSON.stringify(body); options.headers["content-type"] = "application/json"; }
    let answer;
    try { answer = await fetch(path, options); } catch { throw new Error(kit.say("lost_try")); }
    if (answer.status === 401) { location.href = "/login"; throw new Error(kit.say("sign_in")); }
    const text = await answer.text();
    let found = null;
    try { found = text ? JSON.parse(text) : null; } catch { found = text; }
    if (!answer.ok) {
      const detail = found && found.detail !== undefined ? found.detail : found;
      const said = typeof detail === "string" ? detail : Array.isArray(detail) ? detail.map((d) => `${(d.loc || []).slice(-1)}: ${d.msg}`).join("; ") : "";
      throw new Error([kit.words[`error_${answer.status}`] || kit.say("error_other", {n: answer.status}), said].filter(Boolean).join(kit.lang === "zh" ? "：" : ": "));
    }
    return found;
  };
  kit.get = (path) => kit.api("GET", path);
  kit.post = (path, body) => kit.api("POST", path, body);

  /* ---- pieces ---- */
  /* What went wrong stands where one looks: in the dialog, which lies above everything else, or in a toast. */
  function tellError(node, text) {
    const dialog = node.closest("dialog");
    if (!dialog) { kit.toast(text, "bad"); return; }
    let line = dialog.querySelector(".dialog-problem");
    if (!line) {
      line = kit.make("p", "problem dialog-problem");
      line.setAttribute("role", "alert");
      dialog.insertBefore(line, dialog.querySelector(":scope > footer"));
    }
    line.textContent = text;
  }
  kit.button = (text, act, className = "") => {
    const button = kit.make("button", className, text);
    button.type = "button";
    button.addEventListener("click", async () => {
      button.disabled = true;
      try { await act(button); } catch (error) { tellError(button, error.message); }
      button.disabled = false;
    });
    return button;
  };
  let fields = 0;
  kit.field = (label, input, note) => {
    const row = kit.make("div", "field"), name = kit.make("label", "", label);
    input.id = input.id || `field-${fields += 1}`;
    name.htmlFor = input.id;
    row.append(name, input);
    if (note) row.append(kit.make("p", "note", note));
    return row;
  };
  kit.input = (type, options = {}) => Object.assign(document.createElement("input"), {type, ...options});
  kit.area = (options = {}) => Object.assign(document.createElement("textarea"), {rows: 3, ...options});
  kit.select = (options, value) => {
    const node = document.createElement("select");
    node.append(...options.map(([key, text]) => new Option(text, key)));
    if (value !== undefined) node.value = value;
    return node;
  };
  /* One of several, by touch: buttons that say which is pressed. */
  kit.choice = (label, options, value, change) => {
    const group = kit.make("div", "choices");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", label);
    const press = (key) => { group.value = key; for (const b of group.children) b.setAttribute("aria-pressed", String(b.dataset.key === String(key))); };
    for (const [key, text] of options) {
      const button = kit.make("button", "", text);
      button.type = "button";
      button.dataset.key = key;
      button.addEventListener("click", () => { press(key); if (change) change(key); });
      group.append(button);
    }
    press(value);
    return group;
  };
  kit.toast = (text, kind = "good") => {
    let box = document.getElementById("toasts");
    if (!box) {
      box = kit.make("div");
      box.id = "toasts";
      box.setAttribute("role", "status");
      document.body.append(box);
    }
    const toast = kit.make("div", `toast ${kind}`, text);
    box.append(toast);
    setTimeout(() => toast.remove(), TOAST_MS);
  };
  /* A dialog: the browser's own, so the focus stays in it and Escape closes it. */
  kit.dialog = (title, body, actions = []) => {
    const dialog = document.createElement("dialog"), head = kit.make("header"), close = kit.make("button", "close", "×");
    close.type = "button";
    close.setAttribute("aria-label", kit.say("close"));
    close.addEventListener("click", () => dialog.close());
    const heading = kit.make("h2", "", title);
    heading.id = `dialog-${fields += 1}`;
    dialog.setAttribute("aria-labelledby", heading.id);
    head.append(heading, close);
    const foot = kit.make("footer");
    for (const [text, act, className] of actions) {
      foot.append(kit.button(text, async () => { if ((await act()) !== false) dialog.close(); }, className || ""));
    }
    dialog.append(head, kit.put("div", "body", body));
    if (actions.length) dialog.append(foot);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
  };
  kit.table = (heads, rows, label) => {
    const table = kit.make("table"), head = kit.make("tr");
    if (label) table.setAttribute("aria-label", label);
    for (const text of heads) { const cell = kit.make("th", "", text); cell.scope = "col"; head.append(cell); }
    table.append(kit.put("thead", "", head));
    const body = kit.make("tbody");
    for (const row of rows) {
      const line = kit.make("tr");
      for (const cell of row) line.append(cell instanceof Node ? kit.put("td", "", cell) : kit.make("td", "", cell === null || cell === undefined ? "–" : String(cell)));
      body.append(line);
    }
    table.append(body);
    const box = kit.put("div", "table", table);
    box.tabIndex = 0;  // what scrolls can be scrolled by keyboard
    if (label) { box.setAttribute("role", "region"); box.setAttribute("aria-label", label); }
    return box;
  };
  /* Bars: name, number, and a length that says the same. */
  kit.bars = (rows, label) => {
    const most = Math.max(1e-9, ...rows.map((row) => row[1]));
    const list = kit.make("ul", "bars");
    list.setAttribute("aria-label", label);
    for (const [name, number, level, link] of rows) {
      const item = kit.make("li"), bar = kit.make("i", level || "");
      bar.style.width = `${(100 * number / most).toFixed(1)}%`;
      const text = link ? Object.assign(kit.make("a", "name", name), {href: link}) : kit.make("span", "name", name);
      item.append(text, kit.put("span", "track", bar), kit.make("span", "number", String(number)));
      list.append(item);
    }
    return list;
  };
  kit.hospitalName = (h) => kit.bedName(`${h}/hospital/hospital`);
  /* Who lies there, as the person may see it. */
  kit.who = (patient) => (patient ? [patient.name || kit.say("no_name"), patient.age === null ? "" : kit.say("years", {n: patient.age < 2 ? patient.age : Math.floor(patient.age)})].filter(Boolean).join(" · ") : kit.say("nobody_here"));
  kit.sentence = (a) => (kit.lang === "zh" ? a.zh : a.en);
  /* The name of its rule, as an alert's sentence says it: between the bed and the numbers. */
  kit.ruleName = (a) => ((kit.lang === "zh" ? a.zh.split("：")[1] : a.en.split(": ")[1] || a.en) || "").split(/[,，]/)[0].trim();
  kit.level = (a) => (a.tech || a.technical ? "technical" : a.pri || a.priority);
  const SIGNS = {high: "***", medium: "**", low: "*", technical: "⚙"};
  kit.sign = (level) => `${SIGNS[level]} ${kit.say(level)}`;
  kit.badge = (level) => kit.make("span", `mark ${level}`, kit.sign(level));
  kit.panel = (title, ...children) => kit.put("section", "panel", kit.put("div", "head", kit.make("h2", "", title)), ...children);
  const version = new URL(document.currentScript.src).search, libraries = new Map();
  /* A library that only one screen needs, loaded once. */
  kit.library = (name) => {
    if (!libraries.has(name)) {
      libraries.set(name, new Promise((done, failed) => {
        const script = document.createElement("script"), style = document.createElement("link");
        Object.assign(style, {rel: "stylesheet", href: `/assets/vendor/${name}.min.css${version}`});
        Object.assign(script, {src: `/assets/vendor/${name}.iife.min.js${version}`, onload: done, onerror: () => { libraries.delete(name); failed(new Error(kit.say("lost_try"))); }});
        document.head.append(style, script);
      }));
    }
    return libraries.get(name);
  };
  /* To another page within this document, so that sound goes on: its part is put in the place of the one before. */
  let going = 0, here = location.pathname;
  kit.enter = [];  // called when a page has come, in order
  kit.go = (path) => { history.pushState({}, "", path); return load(); };
  async function load() {
    const turn = going += 1;
    here = location.pathname;
    try {
      const answer = await fetch(location.pathname, {headers: {"X-Part": "1"}});
      if (answer.redirected) { location.href = "/login"; return; }
      const text = await answer.text();
      if (turn !== going) return;
      if (!answer.ok) throw new Error(text);
      const part = document.createElement("template");
      part.innerHTML = text;  // our own page, as the server made it
      document.getElementById("page").replaceChildren(part.content);
      window.scrollTo(0, 0);
      for (const enter of kit.enter) enter();
    } catch (error) { if (turn === going) kit.toast(error instanceof TypeError ? kit.say("lost_try") : error.message, "bad"); }
  }
  window.addEventListener("popstate", () => { if (location.pathname !== here) load(); });  // within a page nothing is loaded
  document.addEventListener("DOMContentLoaded", () => { for (const enter of kit.enter) enter(); });
  kit.tell = (news) => { for (const hear of kit.heard) hear(news); };
})();
