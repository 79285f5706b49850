/* What can be asked and said about a bed from anywhere: why, annotate, observe, a consult. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const UNITS = {"mm[Hg]": "mmHg", Cel: "°C"};  // UCUM, as people write it
  const STORED_MS = 2500;
  const WITHIN_MIN = [5, 15, 30, 60, 240, 720];

  /* Throw, naming the first field that was left empty. */
  function filled(...inputs) {
    for (const input of inputs) {
      if (input.value.trim()) continue;
      input.focus();
      throw new Error(say("fill_in", {field: document.querySelector(`label[for="${input.id}"]`).textContent}));
    }
    return true;
  }
  /* ---- why did it (not) alarm? ---- */
  kit.why = async (bed, rule, atMs) => {
    const body = make("div", "why", say("loading"));
    kit.dialog(`${say("why")} · ${kit.bedName(bed)}`, body);
    const ask = new URLSearchParams();
    if (atMs) ask.set("at", new Date(atMs + 1000).toISOString());
    try {
      const wait = atMs ? atMs + STORED_MS - kit.now() : 0;  // the answer is made of what is stored
      if (wait > 0) await new Promise((done) => { setTimeout(done, wait); });
      const found = await kit.get(`/api/beds/${bed}/why?${ask}`);
      const name = rule ? rule.split("/")[0] : "";
      const wanted = found.rules.filter((r) => !rule || r.rule === rule);
      const others = found.rules.filter((r) => rule && r.rule !== rule).sort((a, b) => (a.rule.startsWith(name) ? 0 : 1) - (b.rule.startsWith(name) ? 0 : 1));
      const item = (r) => put("li", "", kit.badge(r.priority), put("div", "",
        make("b", "", kit.lang === "zh" ? r.zh || r.rule : r.en || r.rule), make("p", "", kit.lang === "zh" ? r.why_zh : r.why_en), make("code", "", r.rule)));
      body.replaceChildren(
        make("p", "note", `${kit.stamp(Date.parse(found.at))} · ${found.pack} ${found.pack_version}${found.overlays.length ? ` · ${found.overlays.join(", ")}` : ""}`),
        put("ul", "whys", ...wanted.map(item)));
      const of = (rule || "").split("/")[1];  // what the rule looks at comes first
      const inputs = Object.entries(found.inputs).sort(([a], [b]) => (b === of) - (a === of)).map(([vital, i]) => [vital === of ? make("b", "", kit.vitalName(vital)) : kit.vitalName(vital), `${i.value} ${UNITS[i.unit] || i.unit}`, kit.span(i.age_s), i.fresh ? "" : say("too_old")]);
      body.append(make("h3", "", say("inputs")), kit.table([say("vital"), say("value"), say("age"), ""], inputs, say("inputs")));
      if (others.length) {
        const more = make("details");
        more.append(make("summary", "", say("all_rules", {n: others.length})), put("ul", "whys", ...others.map(item)));
        body.append(more);
      }
    } catch (error) { body.replaceChildren(make("p", "problem", error.message)); }
  };

  /* ---- annotations ---- */
  let labels = null;
  kit.labels = async () => (labels ||= await kit.get("/api/annotations/labels"));
  kit.labelName = (label) => (labels && labels[label] ? labels[label][kit.lang === "zh" ? 0 : 1] : label);
  kit.annotate = async (bed, span, old) => {
    await kit.labels();
    const at = kit.lang === "zh" ? 0 : 1;
    const choice = kit.choice(say("label"), Object.entries(labels).map(([key, names]) => [key, names[at]]), old ? old.label : "");
    choice.classList.add("many");
    const note = kit.area({value: old ? old.note : "", maxLength: 500});
    const when = span.start === span.end ? `${kit.day(span.start)} ${kit.clock(span.start)}` : `${kit.day(span.start)} ${kit.clock(span.start)} – ${kit.clock(span.end)}`;
    const body = put("div", "form", make("p", "note", `${when}${span.signal ? ` · ${kit.vitalName(span.signal)}` : ""}`), choice, kit.field(say("note"), note));
    const fields = () => ({start: span.start, end: span.end, label: choice.value, note: note.value, signal: span.signal || ""});
    const actions = [[say("save"), () => (!choice.value ? Promise.reject(new Error(say("choose_label"))) : old ? kit.api("PUT", `/api/annotations/${old.id}`, fields()) : kit.post(`/api/beds/${bed}/annotations`, fields())), "primary"]];
    if (old) actions.unshift([say("withdraw"), () => kit.api("DELETE", `/api/annotations/${old.id}`), "danger"]);
    kit.dialog(`${say(old ? "annotation_edit" : "annotate")} · ${kit.bedName(bed)}`, body, actions);
  };
  kit.showAnnotation = async (one) => {
    await kit.labels();
    const body = put("div", "form", make("p", "", one.note || ""), make("p", "note", `${one.by} · ${kit.stamp(one.at)}`));
    const older = await kit.get(`/api/annotations/${one.id}`);
    if (older.length > 1) {
      body.append(make("h3", "", say("history")), put("ul", "plain", ...older.map((v) =>
        make("li", "", `${kit.stamp(v.at)} · ${kit.labelName(v.label)} ${v.note}${v.withdrawn ? ` · ${say("withdrawn")}` : ""}`))));
    }
    const mine = one.by === kit.me.username && kit.may("annotate");
    kit.dialog(`${kit.labelName(one.label)} · ${kit.stamp(one.start)}`, body,
      mine ? [[say("edit"), () => { kit.annotate(one.bed, {start: one.start, end: one.end, signal: one.signal}, one); }, ""]] : []);
  };

  /* ---- observations: ten seconds with a thumb ---- */
  kit.observe = (bed) => {
    const said = {}, body = make("div", "observe");
    const pick = (key, label, options, change) => {
      const choice = kit.choice(label, options, "", (value) => { said[key] = value; if (change) change(value); });
      choice.classList.add("thumb");
      body.append(put("div", "row", make("h3", "", label), choice));
      return choice;
    };
    pick("acvpu", say("acvpu"), ["A", "C", "V", "P", "U"].map((k) => [k, `${k} ${say(`acvpu_${k}`)}`]));
    const fio2 = stepper("fio2", say("fio2"), 21, 100, 1, 40, "%");
    fio2.hidden = true;
    pick("on_oxygen", say("oxygen"), [[false, say("air")], [true, say("on_oxygen")]], (on) => { fio2.hidden = !on; if (!on) delete said.fio2; });
    body.append(fio2, stepper("temp", say("temp"), 30, 43, 0.1, 36.8, "°C"), stepper("gcs", "GCS", 3, 15, 1, 15, ""), stepper("urine", say("urine"), 0, 2000, 10, 50, "mL"));
    function stepper(key, label, low, high, step, start, unit) {
      const input = kit.input("number", {min: low, max: high, step, inputMode: "decimal"}), row = make("div", "row stepper");
      const move = (by) => {
        const value = Math.min(high, Math.max(low, (input.value === "" ? start - by : Number(input.value)) + by));
        input.value = step < 1 ? value.toFixed(1) : String(value);
        said[key] = Number(input.value);
      };
      input.addEventListener("input", () => { if (input.value === "") delete said[key]; else said[key] = Number(input.value); });
      const less = kit.button("−", () => move(-step)), more = kit.button("+", () => move(step));
      less.setAttribute("aria-label", `${label} −`);
      more.setAttribute("aria-label", `${label} +`);
      row.append(kit.field(unit ? `${label} (${unit})` : label, input), put("div", "steps", less, more));
      return row;
    }
    kit.dialog(`${say("observe")} · ${kit.bedName(bed)}`, body, [[say("save"), async () => {
      if (!Object.keys(said).length) throw new Error(say("nothing_entered"));
      await kit.post(`/api/beds/${bed}/observations`, {values: said});
      kit.toast(say("saved"));
    }, "primary"]]);
  };

  /* ---- shelve and pause ---- */
  kit.shelve = (bed, rule) => {
    const reason = kit.input("text", {maxLength: 300}), minutes = kit.choice(say("how_long"), [15, 30, 60, 120].map((m) => [m, kit.span(m * 60)]), 30);
    kit.dialog(`${say(rule ? "shelve" : "alarm_pause")} · ${kit.bedName(bed)}`, put("div", "form", make("p", "note", rule || say("pause_says")), minutes, kit.field(say("reason"), reason)),
      [[say("save"), () => filled(reason) && kit.post(`/api/beds/${bed}/commands`, {kind: rule ? "shelve" : "alarm_pause", rule: rule || "", reason: reason.value, minutes: Number(minutes.value)}), "primary"]]);
  };

  /* ---- consults ---- */
  kit.openConsult = (bed, alert) => {
    const text = kit.area({maxLength: 2000});
    const about = alert ? make("p", "note", kit.sentence(alert)) : "";
    const ranges = alert ? [{start: Math.round(alert.onset - 120000), end: Math.round(Math.min(alert.onset + 60000, kit.now())), signal: ""}] : [];
    kit.dialog(`${say(kit.may("advise") ? "consult_offer" : "consult_ask")} · ${kit.bedName(bed)}`, put("div", "form", about, kit.field(say("question"), text)), [[say("send"), async () => {
      filled(...(alert ? [] : [text]));
      const made = await kit.post(`/api/beds/${bed}/consults`, {text: text.value, ranges, alert: alert ? alert.id : ""});
      kit.go(`/consults/${made.id}`);
    }, "primary"]]);
  };
  /* A time and a picture into a consult that is open, or a new one. */
  kit.attach = async (bed, span, snap) => {
    const range = {start: span.start, end: span.end, signal: span.signal || ""}, image = snap ? await snap() : null;
    const open = (await kit.get(`/api/consults?open=true&bed=${encodeURIComponent(bed)}`)).filter((c) => c.bed === bed);
    const text = kit.area({maxLength: 2000}), preview = make("div", "preview");
    if (image) preview.append(Object.assign(new Image(), {src: URL.createObjectURL(image), alt: say("picture")}));
    kit.dialog(`${say("to_consult")} · ${kit.bedName(bed)}`, put("div", "form", preview, kit.field(say("message"), text)), [[say("send"), async () => {
      const consult = open[0] || await kit.post(`/api/beds/${bed}/consults`, {text: text.value || say("please_look"), ranges: [range]});
      const images = image ? [(await kit.post(`/api/consults/${consult.id}/images`, image)).image] : [];
      if (open[0] || images.length) await kit.post(`/api/consults/${consult.id}/messages`, {text: open[0] ? text.value : "", ranges: [range], images});
      kit.go(`/consults/${consult.id}`);
    }, "primary"]]);
  };
  kit.advise = (consult, bed) => {
    const what = kit.area({maxLength: 2000}), why = kit.area({maxLength: 2000});
    const within = kit.select(WITHIN_MIN.map((m) => [m, kit.span(m * 60)]), 30);
    kit.dialog(`${say("advise")} · ${kit.bedName(bed)}`, put("div", "form", kit.field(say("what"), what), kit.field(say("why_advice"), why), kit.field(say("within"), within)),
      [[say("send"), () => filled(what, why) && kit.post(`/api/consults/${consult}/advice`, {what: what.value, why: why.value, within_min: Number(within.value)}), "primary"]]);
  };
  kit.answer = (consult, advice, answer) => {
    if (answer !== "declined") return kit.post(`/api/consults/${consult}/advice/${advice}`, {answer});
    const reason = kit.area({maxLength: 2000});
    kit.dialog(say("decline_advice"), kit.field(say("reason"), reason), [[say("save"), () => filled(reason) && kit.post(`/api/consults/${consult}/advice/${advice}`, {answer, reason: reason.value}), "primary"]]);
    return null;
  };
})();
