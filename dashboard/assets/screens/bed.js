/* The lower half of a bed's page: trends with what happened on the same axis, scores, observations,
   full disclosure, consults. The numbers and the sweep above are vigil.js's and waves.js's. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const HOUR = 3600000, SPANS = [1, 6, 24, 72, 168], AXIS_PX = 52, AROUND_PX = 752, RIGHT_PX = 12, LIVE_MS = 10000, OLD_MS = 60000, SCORE_OLD_MS = 60000;
  const PANELS = [
    {title: "hr", span: 40, series: [["hr", "--hr"], ["pr", "--dim"]]},
    {title: "spo2", span: 12, series: [["spo2", "--spo2"]]},
    {title: "rr", span: 12, series: [["rr", "--rr"]]},
    {title: "bp", span: 60, series: [["abp_sys", "--bp"], ["abp_mean", "--bp-mean"], ["abp_dia", "--bp-dia"], ["nibp_sys", "--bp", true], ["nibp_mean", "--bp-mean", true], ["nibp_dia", "--bp-dia", true], ["bp_sys", "--bp", true], ["bp_mean", "--bp-mean", true]]},
    {title: "temp", span: 2, series: [["temp", "--temp"]]},
  ];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /* A column for uPlot: undefined where only another vital was measured (the line goes on), null
     where nothing came for three times the usual distance, at least 15 s (the line ends). */
  function withGaps(t, values, least) {
    const steps = [], at = [];
    values.forEach((v, i) => { if (v !== null) { if (at.length) steps.push(t[i] - t[at[at.length - 1]]); at.push(i); } });
    steps.sort((a, b) => a - b);
    const longest = Math.max(least, 3 * (steps[Math.floor(steps.length / 2)] || 0));
    const out = values.map((v) => (v === null ? undefined : v));
    for (let k = 0; k <= at.length; k += 1) {
      const from = k ? at[k - 1] : -1, to = k < at.length ? at[k] : values.length;
      const gap = k === 0 || k === at.length || t[to] - t[from] > longest;
      if (gap) for (let i = from + 1; i < to; i += 1) out[i] = null;
    }
    return out;
  }
  /* Where no row at all came, one without values is put in, so that every line ends there. */
  function spread(found) {
    const t = found.t || [], longest = Math.max(15000, found.step_s * 3000), rows = [];
    t.forEach((at, i) => { if (i && at - t[i - 1] > longest) rows.push(-1); rows.push(i); });
    const times = rows.map((i, k) => (i < 0 ? t[rows[k - 1]] + 1000 : t[i]));
    const column = (name) => (found[name] ? withGaps(times, rows.map((i) => (i < 0 ? null : found[name][i])), longest) : null);
    return {times, column};
  }

  kit.spread = spread;
  kit.screens.set("bed", (node, bed) => {
    const charts = make("div", "charts"), lane = make("div", "events"), note = make("p", "note"), rest = make("div", "under");
    const panel = make("section", "panel trends"), head = make("div", "head");
    // A link may name a time, as #from-to in ms: it is shown with a little before and after.
    const named = location.hash.match(/^#(\d+)-(\d+)$/), air = named ? Math.max(60000, named[2] - named[1]) : 0;
    let hours = 1, fixed = named ? [Number(named[1]) - air, Number(named[2]) + air] : null, plots = [], events = {alerts: [], annotations: [], observations: [], advice: []}, mode = "zoom", timer = null, gone = false, shown = [0, 1], loads = 0;
    const spans = kit.choice(say("span"), SPANS.map((h) => [h, h < 48 ? say("hours_n", {n: h}) : say("days_n", {n: h / 24})]), 1, (h) => { hours = h; fixed = null; load(); });
    const modes = kit.choice(say("drag"), [["zoom", say("drag_zoom")], ["annotate", say("drag_annotate")]], "zoom", (m) => { mode = m; });
    const live = kit.button(say("to_now"), () => { fixed = null; return load(); });
    live.hidden = true;
    head.append(make("h2", "", say("trends")), spans, kit.may("annotate") ? modes : "", live);
    panel.append(head, note, lane, charts);
    node.append(panel, rest);

    function window_() {
      const end = fixed ? fixed[1] : kit.now();
      return fixed || [end - hours * HOUR, end];
    }
    async function load() {
      clearTimeout(timer);
      live.hidden = !fixed;
      const turn = loads += 1, [since, until] = window_();
      const ask = new URLSearchParams({since: new Date(since).toISOString(), until: new Date(until).toISOString()});
      try {
        const [found, happened] = await Promise.all([kit.get(`/api/beds/${bed}/trend?${ask}`), kit.get(`/api/beds/${bed}/events?${ask}`), kit.labels(), kit.library("uPlot")]);
        if (gone || turn !== loads) return;  // another period was asked for meanwhile
        events = happened;
        shown = [since, until];
        draw(found);
        drawEvents();
        drawHistory();
        note.textContent = found.t.length ? "" : say("trend_empty");
        if (!bodies.get("scores").hidden) drawScores().catch(() => {});
      } catch (error) { if (!gone && turn === loads) note.textContent = error.message; }
      if (!gone && turn === loads && !fixed) timer = setTimeout(load, hours <= 6 ? LIVE_MS : OLD_MS);
    }
    function draw(found) {
      const {times, column} = spread(found), seconds = times.map((ms) => ms / 1000), [since, until] = shown;
      const there = PANELS.map((p) => ({...p, columns: p.series.map(([name, c, dots]) => [name, c, dots, column(name)]).filter((s) => s[3])}))
        .filter((p) => p.columns.length || ["hr", "spo2", "rr"].includes(p.title));
      for (const plot of plots) plot.destroy();
      plots = [];
      charts.replaceChildren();
      const height = Math.max(56, Math.floor((window.innerHeight - AROUND_PX) / there.length));
      there.forEach((p, i) => {
        const last = i === there.length - 1, series = [{}], data = [seconds], bands = [];
        for (const [name, css, dots, values] of p.columns) {
          const low = column(`${name}_min`), high = column(`${name}_max`);
          data.push(values);
          series.push({label: kit.vitalName(name), stroke: colour(css), width: 1.5, ...(dots ? {paths: () => null, points: {show: true, size: 5, fill: colour(css)}} : {points: {show: false}})});
          if (low && high && p.columns.length === 1) {
            data.push(high, low);
            bands.push({series: [data.length - 2, data.length - 1], fill: `${colour(css)}33`});
            for (const k of [0, 1]) series.push({stroke: "transparent", width: 0, points: {show: false}, label: k ? "min" : "max"});
          }
        }
        if (data.length === 1) { data.push(seconds.map(() => null)); series.push({}); }
        const range = (_, low, high) => {
          if (low === null || low === undefined) return [0, p.span];
          const air = Math.max(p.span - (high - low), 0.1 * p.span) / 2;
          return [low - air, high + air];
        };
        const box = make("div", "chart");
        box.append(make("span", "chart-name", kit.vitalName(p.title)));
        charts.append(box);
        plots.push(new uPlot({
          width: Math.max(280, charts.clientWidth), height: height + (last ? 22 : 0), padding: [6, RIGHT_PX, 0, 0], bands, series, legend: {show: false},
          cursor: {sync: {key: "trend"}, drag: {x: true, y: false, setScale: false}, points: {size: 6}},
          scales: {x: {time: true, range: () => [since / 1000, until / 1000]}, y: {range}},
          axes: [
            {stroke: colour("--dim"), grid: {stroke: colour("--line"), width: 1}, ticks: {show: false}, size: last ? 24 : 1,
             values: (_, ticks) => ticks.map((s) => (!last ? "" : until - since > 36 * HOUR ? kit.stamp(s * 1000) : until - since < HOUR / 6 ? kit.clock(s * 1000) : kit.minute(s * 1000))), space: until - since > 36 * HOUR ? 110 : 80},
            {stroke: colour("--dim"), grid: {stroke: colour("--line"), width: 1}, ticks: {show: false}, size: AXIS_PX, space: 26},
          ],
          hooks: {
            drawClear: [(u) => shade(u)],
            setSelect: [(u) => chosen(u)],
            setCursor: [(u) => tell(u)],
          },
        }, data, box));
      });
    }
    function shade(u) {
      u.ctx.save();
      u.ctx.fillStyle = `${colour("--spo2")}22`;
      for (const a of events.annotations) {
        const x0 = u.valToPos(a.start / 1000, "x", true), x1 = Math.max(x0 + 2, u.valToPos(a.end / 1000, "x", true));
        u.ctx.fillRect(x0, u.bbox.top, x1 - x0, u.bbox.height);
      }
      u.ctx.restore();
    }
    function chosen(u) {
      const {left, width} = u.select;
      if (u.over !== pressed || width < 5) return;  // the other charts are told of the same drag
      const start = Math.round(u.posToVal(left, "x") * 1000), end = Math.round(u.posToVal(left + width, "x") * 1000);
      if (mode === "annotate") {
        kit.annotate(bed, {start, end: Math.min(end, Math.round(kit.now())), signal: ""});
      } else if (end - start > 20000) { fixed = [start, end]; load(); }
      u.setSelect({left: 0, width: 0, top: 0, height: 0}, false);
    }
    function tell(u) {
      const i = u.cursor.idx;
      if (i === null || i === undefined) return;
      const values = plots.flatMap((p) => p.series.slice(1).map((s, k) => [s.label, p.data[k + 1][i]])).filter(([name, v]) => name && name !== "min" && name !== "max" && v !== null && v !== undefined);
      note.textContent = `${kit.stamp(u.data[0][i] * 1000)} · ${values.map(([name, v]) => `${name} ${v}`).join(" · ")}`;
    }
    let pressed = null, pressedAt = 0;
    charts.addEventListener("mousedown", (event) => { pressed = event.target.closest(".u-over"); pressedAt = event.clientX; }, {capture: true});
    charts.addEventListener("click", (event) => {
      if (mode !== "annotate" || !plots.length || Math.abs(event.clientX - pressedAt) >= 5) return;
      const u = plots[0], box = u.over.getBoundingClientRect(), at = Math.round(u.posToVal(event.clientX - box.left, "x") * 1000);
      kit.annotate(bed, {start: at, end: at, signal: ""});
    });
    /* What happened, on the axis of the trends: alerts, annotations, observations, advice. */
    function drawEvents() {
      const [since, until] = shown, items = [];
      const place = (ms) => `calc(${AXIS_PX}px + (100% - ${AXIS_PX + RIGHT_PX}px) * ${((ms - since) / (until - since)).toFixed(5)})`;
      const add = (ms, end, kind, mark, title, act) => {
        if (ms > until || (end || ms) < since) return;
        const node_ = make("button", `event ${kind}`, mark);
        node_.type = "button";
        node_.title = title;
        node_.setAttribute("aria-label", title);
        node_.style.left = place(Math.max(ms, since));
        if (end && end > ms) node_.style.width = `max(16px, calc((100% - ${AXIS_PX + RIGHT_PX}px) * ${((Math.min(end, until) - Math.max(ms, since)) / (until - since)).toFixed(5)}))`;
        node_.addEventListener("click", act);
        items.push(node_);
      };
      for (const a of events.alerts) {
        const at = Date.parse(a.onset_at), level = kit.level(a);
        add(at, 0, level, {high: "!", medium: "!", low: "·", technical: "⚙"}[level], `${kit.clock(at)} ${a[kit.lang]}`, () => kit.why(bed, a.rule, at));
      }
      for (const a of events.annotations) add(a.start, a.end, "annotation", kit.labelName(a.label), `${kit.labelName(a.label)} ${a.note} · ${a.by}`, () => kit.showAnnotation(a));
      for (const o of events.observations) add(o.at, 0, "observation", "◆", `${kit.clock(o.at)} ${said(o.values)} · ${o.by}`, () => kit.toast(`${kit.clock(o.at)} ${said(o.values)} · ${o.by}`));
      for (const a of events.advice) add(a.done || a.at, 0, "advice", a.done ? "✔" : "✎", `${kit.clock(a.done || a.at)} ${a.what} · ${say(`advice_${a.state}`)}`, () => kit.go(`/consults/${a.consult}`));
      lane.replaceChildren(make("span", "chart-name", say("events")), ...items);
    }
    const kindName = (kind) => kit.words[`obs_${kind}`] || kind;
    const asEntered = (kind, v) => (kind === "acvpu" ? "ACVPU"[v] : kind === "on_oxygen" ? say(v ? "yes" : "no") : v);
    const said = (values) => Object.entries(values).map(([kind, v]) => `${kindName(kind)} ${asEntered(kind, v)}`).join("，");

    /* ---- below: alerts, scores, disclosure, consults ---- */
    const tabs = ["history", "scores", "disclosure", "consults"], bodies = new Map();
    const bar = kit.choice(say("more"), tabs.map((t) => [t, say(`tab_${t}`)]), "history", openTab);
    const under = put("section", "panel", put("div", "head", bar, put("span", "spring"), kit.may("observe") ? kit.button(say("observe"), () => kit.observe(bed)) : "",
      kit.may("alerts") ? kit.button(say("alarm_pause"), () => kit.shelve(bed, "")) : "", kit.may("consult") ? kit.button(say(kit.may("advise") ? "consult_offer" : "consult_ask"), () => kit.openConsult(bed, null)) : ""));
    for (const t of tabs) { const body = make("div", `tab ${t}`); body.hidden = t !== "history"; bodies.set(t, body); under.append(body); }
    rest.append(under);
    function openTab(name) {
      for (const [t, body] of bodies) body.hidden = t !== name;
      if (name === "scores") drawScores().catch((error) => kit.toast(error.message, "bad"));
      if (name === "disclosure") disclosure(bodies.get("disclosure"), bed, (ms) => { fixed = [ms - 300000, ms + 300000]; load(); }).catch((error) => kit.toast(error.message, "bad"));
      if (name === "consults") drawConsults();
    }
    function drawHistory() {
      const items = events.alerts.map((a) => {
        const level = kit.level(a), at = Date.parse(a.onset_at);
        const state = ["resolved", "finding"].includes(a.kind) ? a.kind : a.latched ? "latched" : a.acknowledged_by ? "acknowledged" : "open";
        const item = put("li", "", make("span", "time", kit.clock(at)), kit.badge(level), make("span", "sentence", a[kit.lang]), make("span", `state ${state}`, say(state)));
        if (a.muted_by) item.append(make("span", "note", say("muted_by", {what: a.muted_by})));
        if (a.acknowledged_by) item.append(make("span", "note", say("by", {who: a.acknowledged_by})));
        item.append(kit.button(say("why"), () => kit.why(bed, a.rule, at), "link"));
        return item;
      });
      bodies.get("history").replaceChildren(items.length ? put("ul", "history", ...items) : make("p", "note", say("history_none")));
    }
    async function drawScores() {
      const body = bodies.get("scores"), found = await kit.get(`/api/beds/${bed}/scores`);
      const score = found.score, rows = score ? Object.entries(score.parts).map(([part, points]) => [say(`part_${part}`), points === null ? say("unknown") : points]) : [];
      const old = kit.now() - found.at > SCORE_OLD_MS;
      const title = !score || !found.at ? say("news2_none") : score.blocked ? `NEWS2 ${say("not_scored")} (${say(`blocked_${score.blocked}`)})` : score.total === null ? `NEWS2 ${say("partial", {n: score.partial})}` : `NEWS2 ${score.total} · ${say(`risk_${found.risk}`)}`;
      const observed = Object.entries(found.observed).map(([kind, o]) => [kindName(kind), asEntered(kind, o.value), kit.ago(kit.now() - o.at), o.by]);
      body.replaceChildren(make("h3", old ? "old" : "", old && found.at ? `${title} · ${say("as_of", {at: kit.stamp(found.at)})}` : title), score && !score.blocked ? kit.table([say("component"), say("points")], rows, "NEWS2") : "", make("p", "note", found.source),
        make("h3", "", say("observations")), observed.length ? kit.table([say("observation"), say("value"), say("age"), say("by_whom")], observed, say("observations")) : make("p", "note", say("none_yet")));
    }
    async function drawConsults() {
      const found = await kit.get(`/api/consults?bed=${encodeURIComponent(bed)}&days=30`);
      bodies.get("consults").replaceChildren(...(found.length ? found.map(kit.consultCard) : [make("p", "note", say("none_yet"))]));
    }

    /* ---- limits beside the numbers, who lies here, what the guard asks ---- */
    async function about() {
      const care = document.getElementById("patient");
      const [patient, rules, asked] = await Promise.all([kit.get(`/api/beds/${bed}/patient`), kit.get(`/api/rules?bed=${encodeURIComponent(bed)}`), kit.get("/api/questions")]);
      if (gone) return;
      showLimits(rules.limits);
      if (!care) return;
      care.replaceChildren(make("span", "who", patient ? [kit.who(patient), patient.pregnant ? say("pregnant") : "", patient.spo2_scale === 2 ? say("scale2", {who: patient.spo2_ordered_by}) : ""].filter(Boolean).join(" · ") : kit.who(null)),
        ...asked.filter((q) => q.bed === bed).map(kit.question));
    }
    function showLimits(limits) {
      for (const [vital, [low, high]] of Object.entries(limits || {})) {
        const key = vital.replace(/_mean$/, "").replace("abp", "bp").replace("nibp", "bp");
        const cell = document.querySelector(`#bed .cell.${key}`);
        if (!cell) continue;
        for (const old of cell.querySelectorAll(".limits")) old.remove();
        const text = [high === null ? "" : `↑${high}`, low === null ? "" : `↓${low}`].filter(Boolean).join(" ");
        const node_ = make("span", "limits", `${vital.includes("_") ? `${say("mean")} ` : ""}${text}`);
        node_.title = say("limits_title");
        cell.append(node_);
      }
    }

    const hear = (news) => {
      if (news === null || (news.bed === bed && ["annotation", "consult", "question", "care"].includes(news.what))) {
        if (news && news.what === "annotation" && news.annotation) {  // on the screen at once, without asking
          events.annotations = events.annotations.filter((a) => a.id !== news.id);
          if (!news.annotation.withdrawn) events.annotations.push(news.annotation);
          kit.labels().then(() => { drawEvents(); for (const plot of plots) plot.redraw(false, false); });
        } else if (news) load();
        if (!bodies.get("consults").hidden) drawConsults();
        if (!news || ["question", "care"].includes(news.what)) about().catch(() => {});
      }
    };
    kit.heard.add(hear);
    const resize = () => { for (const plot of plots) plot.setSize({width: Math.max(280, charts.clientWidth), height: plot.height}); };
    window.addEventListener("resize", resize);
    if (kit.numbers) { panel.hidden = true; drawHistory(); kit.get(`/api/beds/${bed}/events`).then((found) => { events = found; drawHistory(); }).catch(() => {}); } else load();
    about().catch((error) => kit.toast(error.message, "bad"));
    return () => { gone = true; clearTimeout(timer); kit.heard.delete(hear); window.removeEventListener("resize", resize); for (const plot of plots) plot.destroy(); };
  });

  /* A question of the wrong-bed guard, with its two answers. */
  kit.question = (q) => {
    const detail = q.kind === "jump" ? Object.keys(q.detail).filter((k) => k.endsWith("_was")).map((k) => k.slice(0, -4)).map((v) => `${kit.vitalName(v)} ${q.detail[`${v}_was`]} → ${q.detail[`${v}_is`]}`).join("，") : `${q.detail.was} → ${q.detail.is}`;
    const card = put("div", "question", make("b", "", `? ${say(`question_${q.kind}`)}`), make("span", "", `${kit.bedName(q.bed)} · ${kit.clock(q.asked_at)} · ${detail}`));
    if (kit.may("place")) {
      card.append(kit.button(say("same_patient"), async () => { await kit.post(`/api/questions/${q.id}`, {answer: "same"}); card.remove(); }),
        kit.button(say("other_patient"), async () => { await kit.post(`/api/questions/${q.id}`, {answer: "other"}); card.remove(); kit.toast(say("other_patient_next")); }));
    }
    return card;
  };

  /* ---- full disclosure: three days as a strip of minutes; a minute as six lines of ten seconds ---- */
  async function disclosure(body, bed, show) {
    if (body.dataset.ready) return;
    const end = kit.now(), minutes = await kit.get(`/api/beds/${bed}/waves/minutes`);
    const there = new Set(minutes), hoursBack = 72, strip = make("div", "hours"), sheet = make("div", "sheet");
    body.dataset.ready = "1";
    body.replaceChildren(make("p", "note", say("disclosure_says")), strip, sheet);
    for (let h = hoursBack - 1; h >= 0; h -= 1) {
      const at = Math.floor((end - h * HOUR) / HOUR) * HOUR;
      let count = 0;
      for (let m = 0; m < 60; m += 1) count += there.has(at + m * 60000);
      const hour_ = new Date(at).getHours(), cell = make("button", "hour", h === hoursBack - 1 || hour_ === 0 ? `${kit.day(at)} ${kit.minute(at).slice(0, 2)}` : kit.minute(at).slice(0, 2));
      cell.type = "button";
      cell.disabled = !count;
      cell.title = `${kit.stamp(at)} · ${say("minutes_n", {n: count})}`;
      cell.setAttribute("aria-label", cell.title);
      cell.style.setProperty("--full", (count / 60).toFixed(2));
      cell.addEventListener("click", () => hour(at, cell));
      strip.append(cell);
    }
    function hour(at, cell) {
      for (const other of strip.children) other.setAttribute("aria-pressed", String(other === cell));
      const row = make("div", "minutes");
      for (let m = 0; m < 60; m += 1) {
        const ms = at + m * 60000, button = make("button", "", String(m).padStart(2, "0"));
        button.type = "button";
        button.disabled = !there.has(ms);
        button.setAttribute("aria-label", kit.stamp(ms));
        button.addEventListener("click", () => { for (const b of row.children) b.setAttribute("aria-pressed", String(b === button)); minute(ms).catch((error) => kit.toast(error.message, "bad")); });
        row.append(button);
      }
      sheet.replaceChildren(row, make("div", "paper"));
    }
    async function minute(ms) {
      const segments = await kit.get(`/api/beds/${bed}/waves?since=${new Date(ms).toISOString()}&until=${new Date(ms + 60000).toISOString()}`);
      const paper = sheet.querySelector(".paper"), channels = [...new Set(segments.map((s) => s.channel))];
      const pick = kit.choice(say("channel"), channels.map((c) => [c, c.toUpperCase()]), channels[0], draw);
      const tools = put("div", "head", make("h3", "", kit.stamp(ms)), pick, kit.button(say("show_trend"), () => show(ms)),
        kit.may("annotate") ? kit.button(say("annotate"), () => kit.annotate(bed, {start: ms, end: ms + 60000, signal: pick.value})) : "",
        kit.may("consult") ? kit.button(say("to_consult"), () => kit.attach(bed, {start: ms, end: ms + 60000, signal: pick.value}, null)) : "");
      const lines = make("div", "lines");
      paper.replaceChildren(tools, lines);
      if (channels.length) draw(channels[0]);
      function draw(channel) {
        const mine = segments.filter((s) => s.channel === channel).map((s) => ({...s, values: new Int16Array(Uint8Array.from(atob(s.samples), (c) => c.charCodeAt(0)).buffer)}));
        let low = Infinity, high = -Infinity;
        for (const s of mine) for (const raw of s.values) if (raw !== -32768) { const v = raw * s.scale + s.zero; low = Math.min(low, v); high = Math.max(high, v); }
        lines.replaceChildren();
        for (let row = 0; row < 6; row += 1) {
          const canvas = document.createElement("canvas"), width = lines.clientWidth || 900, height = 64, from = ms + row * 10000;
          canvas.width = width; canvas.height = height;
          canvas.setAttribute("role", "img");
          canvas.setAttribute("aria-label", `${channel} ${kit.clock(from)}`);
          const pen = canvas.getContext("2d");
          pen.fillStyle = colour("--dim"); pen.font = "11px sans-serif"; pen.fillText(kit.clock(from), 2, 11);
          pen.strokeStyle = colour(channel.startsWith("ecg") ? "--hr" : "--spo2"); pen.lineWidth = 1; pen.beginPath();
          for (const s of mine) {
            let down = false;
            const step = 1000 / s.rate, first = Math.max(0, Math.floor((from - s.start) / step)), last = Math.min(s.values.length, Math.ceil((from + 10000 - s.start) / step));
            for (let i = first; i < last; i += 1) {
              if (s.values[i] === -32768) { down = false; continue; }
              const x = (s.start + i * step - from) / 10000 * width, y = height - 3 - (s.values[i] * s.scale + s.zero - low) / (high - low || 1) * (height - 16);
              if (down) pen.lineTo(x, y); else pen.moveTo(x, y);
              down = true;
            }
          }
          pen.stroke();
          lines.append(canvas);
        }
      }
    }
  }
})();
