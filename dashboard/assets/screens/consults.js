/* Consults: the list of loops, and one consult with its thread, its advice and what became of it. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const MS = 1e6;
  const todo = (a) => ["proposed", "agreed"].includes(a.state), going = (c) => ["waiting", "active"].includes(c.state);
  const mySide = () => (kit.may("advise") ? "expert" : "bedside");

  kit.todo = todo;
  kit.going = going;
  kit.consultCard = (c) => {
    const open = c.advice.filter(todo), card = make("a", `card consult ${c.state}`);
    card.href = `/consults/${c.id}`;
    card.append(put("div", "row", make("span", `mark state-${c.state}`, say(`consult_${c.state}`)), make("b", "", kit.bedName(c.bed)), make("span", "note", kit.ago(kit.now() - c.opened_ns / MS))),
      make("p", "", c.thread[0].text || say("attached")),
      put("div", "row note", make("span", "", say("from_whom", {who: c.by})), c.accepted_by ? make("span", "", say("taken_by", {who: c.accepted_by})) : "", open.length ? make("span", "todo", say("advice_open", {n: open.length})) : ""));
    return card;
  };
  const late = (a) => todo(a) && a.due_ns / MS < kit.now();

  kit.screens.set("consults", (node, argument) => (argument ? one(node, argument) : list(node)));

  function list(node) {
    const open = make("div", "cards"), closed = make("div", "cards"), times = make("div");
    node.append(put("div", "page", make("h1", "", say("consults")), kit.panel(say("open_loops"), open), kit.panel(say("turnaround"), times), kit.panel(say("closed_loops"), closed)));
    async function load() {
      const found = await kit.get("/api/consults?days=30");
      const still = found.filter(going), over = found.filter((c) => !still.includes(c));
      const rank = (c) => (c.state === "waiting" && c.side !== mySide() ? 0 : c.advice.some(late) ? 1 : 2);
      still.sort((a, b) => rank(a) - rank(b) || b.opened_ns - a.opened_ns);
      open.replaceChildren(...(still.length ? still.map(kit.consultCard) : [make("p", "note", say("no_open_loops"))]));
      closed.replaceChildren(...(over.length ? over.slice(0, 30).map(kit.consultCard) : [make("p", "note", say("none_yet"))]));
      const middle = (key) => { const some = found.map((c) => c.turnaround[key]).filter((s) => s !== null).sort((a, b) => a - b); return [some.length ? kit.span(some[Math.floor(some.length / 2)]) : "–", some.length]; };
      times.replaceChildren(kit.table([say("step"), say("median"), say("count")], ["accepted_s", "first_advice_s", "answered_s", "done_s", "closed_s"].map((key) => [say(`turn_${key}`), ...middle(key)]), say("turnaround")));
    }
    return follow(load, (news) => news.what === "consult");
  }
  function follow(load, about) {
    const now = () => load().catch((error) => kit.toast(error.message, "bad"));
    const hear = (news) => { if (news === null || about(news)) now(); };
    kit.heard.add(hear);
    now();
    return () => kit.heard.delete(hear);
  }

  function one(node, id) {
    const title = make("h1"), state = make("div", "row"), thread = make("div", "thread"), advice = make("div", "advice-list"), actions = make("div", "row"), compose = make("form", "compose");
    const text = kit.area({rows: 2, maxLength: 2000}), back = Object.assign(make("a", "back", `← ${say("consults")}`), {href: "/consults"});
    compose.append(kit.field(say("message"), text), Object.assign(make("button", "primary", say("send")), {type: "submit"}));
    let consult = null;
    compose.addEventListener("submit", async (event) => {
      event.preventDefault();
      try { await kit.post(`/api/consults/${id}/messages`, {text: text.value}); text.value = ""; } catch (error) { kit.toast(error.message, "bad"); }
    });
    const v = window.vigil, parts = ["hr", "spo2", "rr", "bp", "temp"].map(v.makeCell), score = make("span", "score"), who = make("b"), limits = make("span", "limit");
    const now = put("section", "panel consult-now", put("div", "row", who, score, limits), put("div", "cells", ...parts.map((p) => p.node)));
    v.state.draw = () => {
      const bed = consult && v.state.beds.get(consult.bed);
      now.hidden = !bed;
      if (!bed) return;
      const s = v.score(bed), stale = v.isStale(bed);
      for (const part of parts) v.drawCell(part, bed.v, stale, bed.bad);
      kit.set(score, stale ? say("stale") : s.text);
      kit.mark(score, "risk", s.risk);
      kit.set(limits, bed.limits.length ? `${say("limits")}: ${bed.limits.join("；")}` : "");
    };
    let asked = "";
    async function about(bed) {
      if (asked === bed) return;
      asked = bed;
      who.textContent = kit.who(await kit.get(`/api/beds/${bed}/patient`));
    }
    node.append(put("div", "page", put("div", "title", back, title), state, now, put("div", "columns", put("section", "panel", make("h2", "", say("thread")), thread, compose), put("section", "panel", put("div", "head", make("h2", "", say("advice")), actions), advice))));
    let loads = 0;
    async function load() {
      const turn = loads += 1, c = await kit.get(`/api/consults/${id}`);
      if (turn !== loads) return;
      consult = c;
      const place = Object.assign(make("a", "", kit.bedName(c.bed)), {href: `/bed/${c.bed}`});
      title.replaceChildren(say("consult"), " · ", place);
      about(c.bed).catch(() => {});
      v.state.draw();
      const steps = [[say("turn_opened"), c.opened_ns, c.by], [say("turn_accepted"), c.accepted_ns, c.accepted_by], [say("turn_closed"), c.closed_ns, c.closed_by]].filter((s) => s[1]);
      state.replaceChildren(make("span", `mark state-${c.state}`, say(`consult_${c.state}`)), ...steps.map(([name, ns, who]) => make("span", "note", `${name} ${kit.clock(ns / MS)} ${who}`)),
        c.turnaround.accepted_s === null ? "" : make("span", "note", `${say("turn_accepted_s")} ${kit.span(c.turnaround.accepted_s)}`));
      thread.replaceChildren(...c.thread.map((m) => {
        const item = put("article", `said ${m.side}`, put("div", "row note", make("b", "", m.by), `${say(`side_${m.side}`)} · ${kit.clock(m.at_ns / MS)}`), make("p", "", m.text));
        for (const r of m.ranges) item.append(Object.assign(make("a", "attached-range", `▸ ${kit.stamp(r.start_ns / MS)} – ${kit.clock(r.end_ns / MS)} ${r.signal}`), {href: `/bed/${c.bed}#${Math.round(r.start_ns / MS)}-${Math.round(r.end_ns / MS)}`}));
        for (const i of m.images) item.append(Object.assign(new Image(), {src: `/api/consults/${id}/images/${i}`, alt: say("picture"), className: "snap"}));
        return item;
      }));
      advice.replaceChildren(...(c.advice.length ? c.advice.map(card) : [make("p", "note", say(c.state === "waiting" ? "advice_after_accept" : "no_advice"))]));
      actions.replaceChildren();
      if (c.state === "waiting" && c.side !== mySide() && kit.may("consult")) actions.append(kit.button(say("accept"), () => kit.post(`/api/consults/${id}/accept`), "primary"));
      if (c.state === "waiting" && c.side === mySide() && kit.may("consult")) actions.append(kit.button(say("withdraw"), () => kit.post(`/api/consults/${id}/withdraw`)));
      if (c.state === "active" && kit.may("advise")) actions.append(kit.button(say("advise"), () => kit.advise(id, c.bed), "primary"));
      if (c.state === "active" && kit.may("consult")) actions.append(kit.button(say("close_consult"), () => kit.post(`/api/consults/${id}/close`)));
      compose.hidden = !going(c) || !kit.may("consult");
    }
    function card(a) {
      const node_ = put("article", `advice ${a.state}`, put("div", "row", make("span", `mark advice-${a.state}`, say(`advice_${a.state}`)), late(a) ? make("span", "mark high", say("overdue")) : "",
        make("span", "note", `${say("due")} ${kit.stamp(a.due_ns / MS)} · ${a.by}`)), make("p", "what", a.what), make("p", "note", `${say("why_advice")}: ${a.why}`));
      if (a.reason) node_.append(make("p", "note", `${say("reason")}: ${a.reason}`));
      if (a.answered_ns) node_.append(make("p", "note", `${say("answered")} ${kit.clock(a.answered_ns / MS)} ${a.answered_by}${a.done_ns ? ` · ${say("advice_done")} ${kit.clock(a.done_ns / MS)}` : ""}`));
      const row = make("div", "row");
      if (kit.may("answer") && consult.state === "active") {
        if (a.state === "proposed") row.append(kit.button(say("agree"), () => kit.answer(id, a.id, "agreed"), "primary"));
        if (todo(a)) row.append(kit.button(say("mark_done"), () => kit.answer(id, a.id, "done")), kit.button(say("decline_advice"), () => kit.answer(id, a.id, "declined")));
      }
      if (kit.may("advise") && todo(a) && consult.state === "active") row.append(kit.button(say("withdraw"), () => kit.answer(id, a.id, "withdrawn")));
      node_.append(row);
      if (a.done_ns) node_.append(response(a));
      return node_;
    }
    function response(a) {
      const names = Object.keys(a.response).filter((v) => v !== "none");
      const left = a.done_ns / MS + 3600000 - kit.now();
      if (!names.length) return make("p", "note", a.response.none ? say("response_none") : left > 0 ? say("response_in", {n: Math.ceil(left / 60000)}) : say("response_soon"));
      const heads = [say("vital"), say("before_10"), "0–15", "15–30", "30–45", "45–60"];
      return put("div", "", make("h3", "", say("response")), kit.table(heads, names.map((v) => [kit.vitalName(v), ...a.response[v]]), say("response")));
    }
    return follow(load, (news) => news.what === "consult" && news.id === id);
  }
})();
