/* Handover: one page a unit, made to be printed: who changed, what is open, the last twelve hours. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const STEPS = 72, WIDTH = 150, HEIGHT = 34, SVG = "http://www.w3.org/2000/svg";
  const BOUNDS = {hr: [30, 180], spo2: [75, 100], rr: [0, 50], abp_mean: [30, 140], nibp_mean: [30, 140], temp: [34, 41]};

  kit.screens.set("handover", (node, argument) => {
    const units = kit.units(), unit = argument || localStorage.getItem("vigil_unit") || (units[0] || [""])[0];
    const pick = kit.select(units, unit), page = make("div", "sheets");
    pick.setAttribute("aria-label", say("unit"));
    pick.addEventListener("change", () => kit.go(`/handover/${pick.value}`));
    node.append(put("div", "page handover", put("div", "title", make("h1", "", say("handover")), pick, kit.button(say("print"), () => window.print())), page));
    let gone = false;
    function line(points, vital) {
      const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path"), [low, high] = BOUNDS[vital];
      svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
      svg.setAttribute("role", "img");
      const show = (x) => (vital === "temp" ? x.toFixed(1) : String(Math.round(x)));
      const values = points.map((p) => p[1]), least = Math.min(...values), most = Math.max(...values);
      svg.setAttribute("aria-label", `${kit.vitalName(vital)} ${least}–${most}`);
      let d = "", before = -9;
      for (const [step, value] of points) {
        const x = (step + 0.5) / STEPS * WIDTH, y = HEIGHT - 2 - Math.min(1, Math.max(0, (value - low) / (high - low))) * (HEIGHT - 4);
        d += `${step - before <= 2 ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
        if (step - before > 2) d += `h0.1`;
        before = step;
      }
      path.setAttribute("d", d);
      path.setAttribute("class", vital);
      svg.append(path);
      return put("div", "multiple", make("span", "k", kit.vitalName(vital)), make("span", "range", least === most ? show(least) : `${show(least)}–${show(most)}`), svg);
    }
    async function load() {
      page.replaceChildren(make("p", "note", say("loading")));
      const h = await kit.get(`/api/units/${unit}/handover`);
      if (gone) return;
      const named = (stay) => { const bed = Object.keys(h.patients).find((b) => h.patients[b].stay === stay); return bed ? kit.number(bed) : stay; };
      const change = (c) => {
        const d = c.detail, what = d.stays ? d.stays.map(named).join(" ⇄ ") : d.bed ? kit.number(d.bed) : d.stay ? named(d.stay) : "";
        return make("li", "", `${kit.minute(Date.parse(c.at))} ${say(`change_${c.what}`)} ${what} · ${c.by}`);
      };
      const changes = h.changes.filter((c) => !["duty", "ladder"].includes(c.what));
      const cards = h.beds.filter((b) => b.st !== "empty" || h.patients[b.id]).map((b) => {
        const patient = h.patients[b.id], mine = h.alerts.filter((a) => a.bed === b.id && !a.muted_by), open = h.open.filter((a) => a.bed === b.id && !a.muted), advice = h.consults.filter((c) => c.bed === b.id).flatMap((c) => c.advice.map((a) => ({...a, consult: c.id})));
        const s = window.vigil.score(b), count = (l) => mine.filter((a) => kit.level(a) === l).length;
        const card = put("article", "sheet-bed", put("div", "top", Object.assign(make("a", "num", kit.number(b.id)), {href: `/bed/${b.id}`}),
          make("span", "who", kit.who(patient)),
          make("span", "score", s.text ? (s.old ? `${s.text} · ${say("as_of", {at: kit.stamp(s.at)})}` : s.text) : "NEWS2 –"), b.st === "standby" ? make("span", "note", say("standby")) : ""));
        if (patient && patient.limits.length) card.append(make("p", "limit", patient.limits.join("；")));
        const lines = h.lines[b.id] || {};
        card.append(put("div", "multiples", ...Object.entries(lines).map(([v, points]) => line(points, v))));
        if (!Object.keys(lines).length) card.append(make("p", "note", say("trend_empty")));
        card.append(make("p", "note", say("alerts_12h", {high: count("high"), medium: count("medium"), low: count("low"), technical: count("technical")})));
        for (const a of open) card.append(put("p", "now", kit.badge(kit.level(a)), make("span", "", kit.sentence(a))));
        for (const a of advice.filter((x) => x.state !== "withdrawn")) card.append(put("p", "now", make("span", "mark", `✎ ${say(`advice_${a.state}`)}`), make("span", "", `${a.what} · ${say("due")} ${kit.minute(a.due_ns / 1e6)}`)));
        for (const e of b.ex) card.append(make("p", "note", `${say("exceptions")}: ${e[0]} · ${e[2]} · ${say("until", {at: kit.stamp(e[3])})}`));
        return card;
      });
      const name = (units.find(([id]) => id === unit) || ["", unit])[1];
      page.replaceChildren(make("p", "when", `${name} · ${kit.stamp(Date.parse(h.since))} – ${kit.stamp(Date.parse(h.until))}`),
        put("div", "columns", kit.panel(say("changes"), changes.length ? put("ul", "plain", ...changes.slice(0, 30).map(change)) : make("p", "note", say("no_changes"))),
          kit.panel(say("open_now"), make("p", "", say("open_now_says", {alerts: h.open.filter((a) => !a.muted).length, consults: h.consults.filter(kit.going).length, advice: h.consults.flatMap((c) => c.advice).filter(kit.todo).length})))),
        put("div", "sheet-beds", ...cards), make("p", "note print-only", say("supplement")));
    }
    load().catch((error) => page.replaceChildren(make("p", "problem", error.message)));
    return () => { gone = true; };
  });
})();
