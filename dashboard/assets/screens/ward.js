/* The ward station: one unit on the desk's computer, the primary receiver of its alerts; on a phone
   the same page, which says that a phone is secondary. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const SHIFT_MS = 8 * 3600000, CHECK_MS = 60000, PHONE = "(max-width: 700px)";
  const SHOWN = ["hr", "spo2", "rr", "bp", "temp"];

  kit.screens.set("ward", (node, argument) => {
    const units = kit.units();
    const unit = argument || localStorage.getItem("vigil_unit") || (units[0] || [""])[0];
    if (!units.some(([id]) => id === unit)) { node.append(make("p", "problem", say("no_unit", {unit}))); return null; }
    localStorage.setItem("vigil_unit", unit);
    const v = window.vigil, name = units.find(([id]) => id === unit)[1];
    const pick = kit.select(units, unit), lost = make("div", "lost"), sound = make("div", "sound-check"), alerts = make("div", "station-alerts"), beds = make("div", "station-beds"), asked = make("div", "asked"), duty = make("p", "note");
    pick.setAttribute("aria-label", say("unit"));
    pick.addEventListener("change", () => kit.go(`/ward/${pick.value}`));
    lost.setAttribute("role", "alert");
    const outages = make("div", "outages");
    outages.setAttribute("role", "status");
    node.append(put("div", "page station", lost, outages,
      put("div", "title", make("h1", "", `${say("ward")} · ${name}`), pick, put("span", "phone-note", say("phone_secondary"))),
      asked, put("div", "station-columns",
        put("section", "panel alerts-panel", put("div", "head", make("h2", "", say("alerts"))), sound, alerts),
        put("section", "panel beds-panel", put("div", "head", make("h2", "", say("beds_here")), duty), beds))));
    let known = {patients: {}, beds: [], questions: [], sound_check: null, ladder: [], duty: {}}, rows = new Map(), shown = "", gone = false;

    /* ---- alerts: one touch ---- */
    function drawAlerts() {
      const mine = [...v.state.alerts.values()].filter((a) => a.bed.startsWith(`${unit}/`) || a.bed.startsWith(`${unit.split("/")[0]}/hospital/`));
      const open = mine.filter((a) => !a.muted).sort((a, b) => (!!a.ack - !!b.ack) || ({high: 0, medium: 1, low: 2}[a.pri] - {high: 0, medium: 1, low: 2}[b.pri]) || b.onset - a.onset);
      const quiet = mine.length - open.length, text = JSON.stringify([open, quiet]);
      if (text === shown) return;
      shown = text;
      alerts.replaceChildren(...(open.length ? v.together(open) : [make("p", "calm", say("no_alerts"))]), quiet ? make("p", "note", `${say("muted")} ${quiet}`) : "");
      for (const a of open) {
        const item = alerts.querySelector(`[data-alert="${a.id}"]`);
        const links = item && item.querySelector(".links");
        if (links && a.rule && !a.extreme && kit.may("alerts")) links.append(kit.button(say("shelve"), () => kit.shelve(a.bed, a.rule), "link"));
      }
    }

    /* ---- beds: what is measured, and what is done with a bed ---- */
    function makeRow(bed) {
      const row = make("article", "station-bed"), who = make("span", "who"), state = make("span", "state"), cells = make("div", "cells"), doing = make("span", "note");
      row.dataset.bed = bed;
      const link = Object.assign(make("a", "num", kit.number(bed)), {href: `/bed/${bed}`});
      const parts = SHOWN.map(v.makeCell), score = make("span", "score");
      cells.append(...parts.map((p) => p.node));
      const acts = make("div", "acts");
      row.append(put("div", "top", link, who, state, score), cells, doing, acts);
      return {row, who, state, parts, acts, score, doing, bed, drawn: ""};
    }
    function drawBeds() {
      for (const item of rows.values()) {
        const bed = v.state.beds.get(item.bed);
        if (!bed) continue;
        const stale = v.isStale(bed), patient = known.patients[item.bed];
        kit.mark(item.row, "alarm", bed.al);
        kit.mark(item.row, "stale", String(stale));
        kit.mark(item.row, "care", bed.st);
        for (const part of item.parts) v.drawCell(part, bed.v, stale, bed.bad);
        kit.set(item.who, kit.who(patient));
        kit.set(item.state, bed.st === "empty" ? say("empty") : bed.st === "standby" ? `${say("standby")} · ${say("back_at", {at: kit.minute(bed.until)})}` : stale ? (bed.r ? kit.ago(kit.now() - bed.r, "for_") : say("never")) : bed.al === "none" ? "" : say(bed.al));
        const s = v.score(bed);
        kit.set(item.score, s.text);
        kit.mark(item.score, "risk", s.risk);
        const loop = JSON.stringify(bed.lo || "");
        if (item.loop !== loop) { item.loop = loop; item.doing.replaceChildren(...(bed.lo && bed.lo[5] ? [v.loopLink(bed)] : [])); }
        const kind = `${bed.st} ${patient ? patient.stay : ""} ${kit.me.may}`;
        if (item.drawn !== kind) { item.drawn = kind; drawActs(item, bed, patient); }
      }
    }
    function drawActs(item, bed, patient) {
      item.acts.replaceChildren();
      if (kit.may("observe") && bed.st !== "empty") item.acts.append(kit.button(say("observe"), () => kit.observe(item.bed), "primary"));
      if (!kit.may("place")) return;
      if (bed.st === "standby") item.acts.append(kit.button(say("back_now"), () => state(item.bed, {state: "monitored"})));
      else if (patient) item.acts.append(kit.button(say("standby"), () => standby(item.bed)));
      if (patient) {
        item.acts.append(kit.button(say("move"), () => move(patient, item.bed)), kit.button(say("discharge"), () => discharge(patient, item.bed)), kit.button(say("patient"), () => admit(item.bed, patient)));
      } else item.acts.append(kit.button(say("admit"), () => admit(item.bed, null)));
    }
    const state = async (bed, body) => { await kit.api("PUT", `/api/care/beds/${bed}/state`, body); await load(); };
    function standby(bed) {
      const minutes = kit.choice(say("back_in"), [15, 30, 60, 120, 240].map((m) => [m, kit.span(m * 60)]), 60), why = kit.choice(say("reason"), ["ct", "mri", "theatre", "bronchoscopy", "wash"].map((k) => [say(`standby_${k}`), say(`standby_${k}`)]), say("standby_ct"));
      kit.dialog(`${say("standby")} · ${kit.bedName(bed)} · ${kit.who(known.patients[bed])}`, put("div", "form", make("h3", "", say("reason")), why, make("h3", "", say("back_in")), minutes, make("p", "note", say("standby_says"))),
        [[say("save"), () => state(bed, {state: "standby", reason: why.value, until: new Date(kit.now() + minutes.value * 60000).toISOString()}), "primary"]]);
    }
    function admit(bed, patient) {
      const p = patient || {name: "", age: null, pregnant: false, spo2_scale: 1, spo2_ordered_by: "", limits: []};
      const nameIn = kit.input("text", {value: p.masked ? "" : p.name, maxLength: 80, autocomplete: "off"}), age = kit.input("number", {value: p.age === null ? "" : p.age, min: 0, max: 130, step: "any", inputMode: "decimal"});
      const pregnant = kit.choice(say("pregnant"), [[false, say("no")], [true, say("yes")]], p.pregnant), scale = kit.choice(say("spo2_scale"), [[1, say("scale1")], [2, say("scale2_short")]], p.spo2_scale);
      const ordered = kit.input("text", {value: p.spo2_ordered_by, maxLength: 64}), limits = kit.area({value: p.limits.join("\n"), rows: 2});
      const body = () => ({name: p.masked && !nameIn.value ? null : nameIn.value, age: age.value === "" ? null : Number(age.value), pregnant: pregnant.value === true || pregnant.value === "true", spo2_scale: Number(scale.value), spo2_ordered_by: ordered.value, limits: limits.value.split("\n").map((l) => l.trim()).filter(Boolean)});
      kit.dialog(`${say(patient ? "patient" : "admit")} · ${kit.bedName(bed)}`, put("div", "form", kit.field(say("name"), nameIn, say("name_says")), kit.field(say("age_years"), age), put("div", "field", make("span", "", say("pregnant")), pregnant), put("div", "field", make("span", "", say("spo2_scale")), scale), kit.field(say("ordered_by"), ordered), kit.field(say("treatment_limits"), limits)),
        [[say("save"), async () => {
          if (patient) await kit.api("PUT", `/api/care/stays/${patient.stay}/patient`, {...body(), was: {age: p.age, pregnant: p.pregnant, spo2_scale: p.spo2_scale, spo2_ordered_by: p.spo2_ordered_by, limits: p.limits}});
          else await kit.post("/api/care/stays", {bed, ...body()});
          await load();
        }, "primary"]]);
    }
    function move(patient, bed) {
      const free = [...rows.keys()].filter((other) => !known.patients[other]), full = [...rows.keys()].filter((other) => known.patients[other] && other !== bed);
      const to = kit.select([...free.map((b) => [b, kit.number(b)]), ...full.map((b) => [b, `${kit.number(b)} · ${kit.who(known.patients[b])} (${say("swap")})`])]);
      kit.dialog(`${say("move")} · ${kit.bedName(bed)} · ${kit.who(patient)}`, put("div", "form", kit.field(say("to_bed"), to)), [[say("move"), async () => {
        const other = known.patients[to.value];
        if (other) await kit.post(`/api/care/stays/${patient.stay}/swap`, {other: other.stay});
        else await kit.post(`/api/care/stays/${patient.stay}/move`, {bed: to.value});
        await load();
      }, "primary"]]);
    }
    function discharge(patient, bed) {
      kit.dialog(`${say("discharge")} · ${kit.bedName(bed)} · ${kit.who(patient)}`, make("p", "", say("discharge_says")), [[say("discharge"), async () => { await kit.post(`/api/care/stays/${patient.stay}/discharge`, {}); await load(); }, "danger"]]);
    }

    /* ---- sound check, connection ---- */
    function drawSound() {
      const check = known.sound_check, at = check ? Date.parse(check.at) : 0, due = !check || kit.now() - at > SHIFT_MS || !check.heard;
      sound.className = `sound-check ${due ? "due" : ""}`;
      sound.replaceChildren(make("span", "", check ? say(check.heard ? "sound_checked" : "sound_unheard", {at: kit.stamp(at), who: check.by}) : say("sound_never")));
      if (due) sound.append(make("b", "", say("sound_due")));
      if (kit.may("alerts") && !matchMedia(PHONE).matches) sound.append(kit.button(say("sound_test"), test));
    }
    async function test() {
      window.vigilSound.set(true);
      const played = new Set(), yes_ = () => { const button = dialog.querySelector("footer .primary"); button.disabled = played.size < 3; };
      const heard = async (yes) => { await kit.post(`/api/units/${unit}/sound-check`, {heard: yes}); await load(); if (!yes) kit.toast(say("sound_fix"), "bad"); };
      const play = (p) => { window.vigilSound.play(p); played.add(p); yes_(); };
      const dialog = kit.dialog(say("sound_test"), put("div", "form", make("p", "", say("sound_question")), put("div", "row", ...["high", "medium", "low"].map((p) => kit.button(say(p), () => play(p))))),
        [[say("heard_not"), () => heard(false), "danger"], [say("heard_all"), () => heard(true), "primary"]]);
      yes_();
    }
    function drawLost() {
      const how = v.state.problem || (window.vigilSound.state() !== "on" && !matchMedia(PHONE).matches ? say(window.vigilSound.state() === "off" ? "station_muted" : "sound_blocked") : "");
      kit.set(lost, v.state.problem ? say("station_lost", {why: how}) : how);
      kit.mark(lost, "bad", String(!!v.state.problem));
    }
    async function load() {
      const found = await kit.get(`/api/units/${unit}`);
      if (gone) return;
      known = found;
      for (const bed of found.beds) if (!rows.has(bed.id)) { const row = makeRow(bed.id); rows.set(bed.id, row); beds.append(row.row); }
      for (const item of rows.values()) item.drawn = "";
      asked.replaceChildren(...found.questions.map(kit.question));
      const people = found.ladder.map((r) => `${say(`role_${r.role}`)} ${(found.duty[r.role] || [say("nobody")]).join(" ")}`);
      duty.textContent = people.join("  →  ");
      drawSound();
      drawBeds();
      drawAlerts();
    }
    v.state.draw = () => { drawAlerts(); drawBeds(); drawLost(); };
    const hear = (news) => { if (news === null || (news.what === "question" && news.bed.startsWith(`${unit}/`)) || (news.what === "care" && news.bed.startsWith(`${unit}/`))) load().catch(() => {}); };
    kit.heard.add(hear);
    const timer = setInterval(() => load().catch(() => {}), CHECK_MS);
    load().catch((error) => kit.toast(error.message, "bad"));
    return () => { gone = true; clearInterval(timer); kit.heard.delete(hear); };
  });
})();
