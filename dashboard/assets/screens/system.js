/* System: how every part is, how late numbers are, whose clock is off, what was refused. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const PERIOD_MS = 10000;

  kit.screens.set("system", (node) => {
    const at = make("span", "note"), top = make("div", "numbers"), body = make("div", "multi"), problems = make("div");
    node.append(put("div", "page", put("div", "title", make("h1", "", say("system")), at), problems, top, body));
    let gone = false, timer = null;
    const figure = (title, value, note, bad) => put("div", `figure ${bad ? "bad" : ""}`, make("span", "note", title), make("b", "", value), make("span", "note", note || ""));
    const ms = (x) => (x === undefined || x === null ? "–" : x >= 10000 ? kit.span(x / 1000) : `${Math.round(x)} ms`);
    async function load() {
      const [s, screens, rejected] = await Promise.all([kit.get("/api/system"), kit.get("/api/system/screens"), kit.get("/api/system/rejected").catch(() => [])]);
      if (gone) return;
      const called = (name) => (name.startsWith("gateway-") ? `${say("service_gateway")} ${kit.hospitalName(name.slice(8))}` : say(`service_${name}`));
      const gateways = Object.keys(s.services).filter((n) => n.startsWith("gateway-"));
      const service = (name) => (s.services[name] || {state: "unknown", counters: {}});
      problems.replaceChildren(...s.problems.map((p) => make("p", "problem", `⚠ ${p}`)));
      top.replaceChildren(
        figure(say("broker"), s.broker.error ? say("away") : say("ok"), `${s.broker.version || ""} ${s.broker.journal_mb !== undefined ? `· ${say("journal")} ${s.broker.journal_mb} MB` : ""}`, s.broker.error),
        figure(say("database"), s.database.error ? say("away") : say("ok"), s.database.error || `PostgreSQL ${s.database.version} · ${s.database.size_mb} MB · ${s.database.tables}`, s.database.error),
        figure(say("disk"), `${s.disk.free_gb} GB`, say("free_of", {n: s.disk.total_gb}), s.disk.free_gb < 2),
        ...["intake", "recorder", "dashboard", ...gateways].map((n) => figure(called(n), say(`state_${service(n).state}`), service(n).detail || `v${service(n).version || "?"}`, service(n).state !== "running")),
        figure(say("backlog"), String(service("recorder").counters.backlog ?? service("recorder").counters.waiting ?? "–"), say("backlog_says")));
      const table = (title, heads, rows) => kit.panel(title, rows.length ? kit.table(heads, rows, title) : make("p", "note", say("none_yet")));
      const counters = Object.entries(s.services).flatMap(([n, x]) => Object.entries(x.counters).map(([k, v]) => [called(n), make("code", "", k), Number(v).toLocaleString()]));
      body.replaceChildren(
        table(say("delays"), [say("hospital"), "p50", "p99", say("readings")], Object.entries(s.delays).map(([h, d]) => [kit.hospitalName(h), ms(d.p50_ms), ms(d.p99_ms), d.readings])),
        table(say("lines"), [say("hospital"), say("state"), say("last_heard"), say("line_backlog"), say("line_oldest"), say("clock_of")], Object.entries(s.lines || {}).map(([h, l]) => [kit.hospitalName(h), say(l.up ? "line_up" : "line_down"), kit.ago(kit.now() - l.said), l.backlog, l.oldest ? kit.stamp(l.oldest) : "–", ms(l.clock_ms)])),
        table(say("screens"), [say("who"), say("role"), say("looks_at"), say("receives"), `${say("paint")} p50`, "p99"], screens.map((x) => [x.username, say(`role_${x.role}`), x.bed ? kit.bedName(x.bed) : say("wall"), say(x.receives ? "yes" : "no"), ms(x.paint_p50_ms), ms(x.paint_p99_ms)])),
        table(say("clocks"), [say("device"), say("bed"), say("offset"), say("since")], (s.database.device_clocks || []).map((c) => [c.device, c.bed && kit.bedName(c.bed), ms(c.offset_ms), kit.stamp(Date.parse(c.since))])),
        table(say("devices"), [say("bed"), say("last_heard")], (s.database.beds || []).map((b) => [kit.bedName(b.name), b.last_received ? kit.ago(kit.now() - Date.parse(b.last_received)) : say("never")])),
        table(say("rejected"), [say("device"), say("reason"), say("count"), say("last"), say("detail")], rejected.map((r) => [r.device, r.reason, r.count, kit.stamp(Date.parse(r.last_at)), r.detail])),
        table(say("counters"), [say("part"), say("counter"), say("value")], counters));
      at.textContent = say("as_of", {at: kit.clock(kit.now())});
    }
    async function follow() {
      try { await load(); } catch (error) { problems.replaceChildren(make("p", "problem", error.message)); }
      if (!gone) timer = setTimeout(follow, PERIOD_MS);
    }
    follow();
    return () => { gone = true; clearTimeout(timer); };
  });
})();
