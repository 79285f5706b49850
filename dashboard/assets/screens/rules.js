/* Rules: baseline and overlays side by side, what applies to a bed and from where, editing with
   validation, a trial on what is stored, publishing, history, roll back. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const CHECK_MS = 500, POLL_MS = 1000;

  kit.screens.set("rules", (node) => {
    let current = null, draft = {}, file = "", timer = null, gone = false, checked = null;
    const beds = Object.keys(kit.places).sort(), bedPick = kit.select([["", say("baseline")], ...beds.map((b) => [b, kit.bedName(b)])], ""), table = make("div"), find = kit.input("search", {placeholder: say("find_rule")});
    const state = make("p", "note"), files = make("div", "files"), editor = kit.area({spellcheck: false, rows: 18, className: "code"}), verdict = make("p", "verdict"), basis = make("pre", "code"), result = make("div"), history = make("div");
    bedPick.setAttribute("aria-label", say("applies_to"));
    find.setAttribute("aria-label", say("find_rule"));
    editor.setAttribute("aria-label", say("overlay_text"));
    basis.tabIndex = 0;
    verdict.setAttribute("role", "status");
    const actions = make("div", "row"), days = kit.choice(say("span"), [1, 7].map((d) => [d, say("days_n", {n: d})]), 7);
    if (kit.may("try")) actions.append(days, kit.button(say("try_rules"), tryIt));
    if (kit.may("rules")) actions.append(kit.button(say("new_overlay"), addFile), kit.button(say("publish"), publish, "primary"));
    node.append(put("div", "page", put("div", "title", make("h1", "", say("rules")), state),
      kit.panel(say("applies_to"), put("div", "tools", bedPick, find), table),
      kit.panel(say("overlays"), make("p", "note", say("overlays_say")), files, put("div", "columns", put("div", "", make("h3", "", say("overlay_text")), editor, verdict), put("div", "", make("h3", "", say("baseline_text")), basis)), actions, result),
      kit.panel(say("history"), history)));

    const ofWhat = (t) => `${kit.vitalName(t.of)} ${t.above ? ">" : "<"} ${t.trigger} (${say("recovers")} ${t.recovery})`;
    let rules = [];
    async function drawRules() {
      const found = await kit.get(`/api/rules${bedPick.value ? `?bed=${encodeURIComponent(bedPick.value)}` : ""}`);
      if (gone) return;
      rules = found.rules;
      filter();
    }
    function filter() {
      const words = find.value.toLowerCase();
      const some = rules.filter((r) => `${r.id} ${r.zh} ${r.en}`.toLowerCase().includes(words));
      table.replaceChildren(kit.table([say("rule"), say("priority"), say("limit"), say("hold"), say("floor"), say("from_where")], some.map((r) => [
        put("span", "", make("b", "", r[kit.lang]), make("code", "", ` ${r.id}`)), kit.badge(r.kind === "technical" || r.kind === "silence" ? "technical" : r.priority), r.terms.map(ofWhat).join(` ${say("and")} `) || "–",
        r.hold_s ? kit.span(r.hold_s) : "0", r.floor === null ? "–" : r.floor, r.overlay ? make("b", "overlay", r.overlay) : say("baseline")]), say("rules")));
    }
    async function load() {
      current = await kit.get("/api/rule-sets/current");
      draft = {...current.overlays};
      state.textContent = `${say("version")} ${current.version}${current.by ? ` · ${current.by} · ${current.reason} · ${kit.stamp(current.at / 1e6)}` : ` · ${say("from_files")}`}`;
      basis.textContent = current.baseline;
      file = Object.keys(draft)[0] || "";
      drawFiles();
      const past = await kit.get("/api/rule-sets/history");
      past.push({id: 0, at: null, version: "", by: "–", reason: say("from_files_row"), overlays: ""});
      history.replaceChildren(past.length > 1 ? kit.table([say("time"), say("version"), say("by_whom"), say("reason"), say("overlays"), ""], past.map((p, i) => [p.at ? kit.stamp(Date.parse(p.at)) : "–", make("code", "", p.version), p.by, p.reason, p.overlays || "–",
        i && kit.may("rules") ? kit.button(say("roll_back"), () => rollBack(p), "link") : i ? "" : say("in_force")]), say("history")) : make("p", "note", say("never_published")));
      await drawRules();
    }
    function drawFiles() {
      const names = Object.keys(draft).sort();
      files.replaceChildren(...(names.length ? [kit.choice(say("overlays"), names.map((n) => [n, n === file && draft[n] !== current.overlays[n] ? `${n} •` : n]), file, (n) => { file = n; drawFiles(); })] : [make("p", "note", say("no_overlays"))]));
      if (file && kit.may("rules")) files.append(kit.button(say("remove_overlay"), () => { delete draft[file]; file = Object.keys(draft)[0] || ""; drawFiles(); }, "link"));
      editor.value = file ? draft[file] : "";
      editor.readOnly = !file || !(kit.may("try") || kit.may("rules"));
      check();
    }
    function check() {
      clearTimeout(timer);
      if (!kit.may("try")) return;
      timer = setTimeout(async () => {
        if (gone) return;
        const asked = JSON.stringify(draft), found = await kit.post("/api/rule-sets/check", {overlays: draft});
        if (gone || asked !== JSON.stringify(draft)) return;
        checked = found;
        const same = checked.version === current.version;
        verdict.textContent = checked.ok ? (same ? say("unchanged") : say("good", {version: checked.version})) : checked.error;
        verdict.className = `verdict ${checked.ok ? "ok" : "problem"}`;
      }, CHECK_MS);
    }
    editor.addEventListener("input", () => { draft[file] = editor.value; checked = null; check(); });
    bedPick.addEventListener("change", () => drawRules().catch((error) => kit.toast(error.message, "bad")));
    find.addEventListener("input", filter);
    function addFile() {
      const name = kit.input("text", {placeholder: "kaihua-icu.toml", pattern: "[a-z0-9-]+\\.toml"});
      const scope = kit.select([...new Set(beds.flatMap((b) => [b.split("/")[0], b.split("/").slice(0, 2).join("/")]))].sort().map((s) => [s, s]));
      kit.dialog(say("new_overlay"), put("div", "form", kit.field(say("file_name"), name), kit.field(say("scope"), scope)), [[say("save"), () => {
        if (!/^[a-z0-9-]+\.toml$/.test(name.value)) throw new Error(say("file_name_bad"));
        draft[name.value] = say("overlay_template", {name: name.value.replace(".toml", ""), scope: scope.value});
        file = name.value;
        drawFiles();
      }, "primary"]]);
    }
    async function tryIt() {
      const {trial} = await kit.post("/api/rule-sets/trials", {overlays: draft, days: Number(days.value)});
      const bar = Object.assign(document.createElement("progress"), {max: 1, value: 0});
      bar.setAttribute("aria-label", say("trying"));
      const said = make("span", "note", say("trying"));
      result.replaceChildren(put("div", "row", bar, said));
      for (;;) {
        await new Promise((next) => { setTimeout(next, POLL_MS); });
        if (gone) return;
        const job = await kit.get(`/api/rule-sets/trials/${trial}`);
        bar.max = job.of || 1; bar.value = job.done;
        said.textContent = say("tried_n", {n: job.done, of: job.of});
        if (job.error) { result.replaceChildren(make("p", "problem", job.error)); return; }
        if (job.result) { drawTrial(job.result); return; }
      }
    }
    function drawTrial(t) {
      const names = [...new Set([...Object.keys(t.before.by_rule), ...Object.keys(t.after.by_rule)])];
      const most = Math.max(1e-9, ...names.flatMap((n) => [t.before.by_rule[n] || 0, t.after.by_rule[n] || 0]));
      const bar = (x, kind) => { const track = make("span", "track"), i = make("i", kind); i.style.width = `${100 * (x || 0) / most}%`; track.append(i); return put("span", "pair", track, make("span", "number", String(x || 0))); };
      const when = (s) => kit.stamp(s * 1000);
      const listed = (some) => (some.length ? kit.table([say("bed"), say("rule"), say("time"), say("lasted")], some.slice(0, 100).map((a) => [Object.assign(make("a", "", kit.bedName(a.bed)), {href: `/bed/${a.bed}`}), a.rule, when(a.at), kit.span(a.lasted_s)]), say("alerts")) : make("p", "note", say("none_yet")));
      result.replaceChildren(
        make("h3", "", say("trial_says", {beds: t.beds, days: t.bed_days, before: t.before.alerts_per_bed_day ?? "–", after: t.after.alerts_per_bed_day ?? "–"})),
        put("p", "legend", put("span", "", make("i", "before"), `${say("before")} ${t.before.version}`), put("span", "", make("i", "after"), `${say("after")} ${t.after.version}`)),
        kit.table([say("rule"), say("before"), say("after")], names.map((n) => [n, bar(t.before.by_rule[n], "before"), bar(t.after.by_rule[n], "after")]), say("try_rules")),
        make("h3", "", say("new_n", {n: t.new})), listed(t.new_alerts), make("h3", "", say("lost_n", {n: t.lost})), listed(t.lost_alerts));
    }
    function publish() {
      if (!checked || !checked.ok) throw new Error(checked ? checked.error : say("loading"));
      const reason = kit.input("text", {maxLength: 300});
      kit.dialog(say("publish"), put("div", "form", make("p", "", say("publish_says", {from: current.version, to: checked.version})), kit.field(say("reason"), reason)), [[say("publish"), async () => {
        const made = await kit.post("/api/rule-sets/publish", {overlays: draft, reason: reason.value, on: current.version});
        kit.toast(say("published", {version: made.version}));
        await load();
      }, "primary"]]);
    }
    function rollBack(past) {
      const reason = kit.input("text", {maxLength: 300});
      kit.dialog(say("roll_back"), put("div", "form", make("p", "", say("publish_says", {from: current.version, to: past.version || say("from_files_row")})), kit.field(say("reason"), reason)), [[say("roll_back"), async () => {
        await kit.post(`/api/rule-sets/history/${past.id}/roll-back`, {reason: reason.value});
        await load();
      }, "danger"]]);
    }
    load().catch((error) => { state.textContent = error.message; });
    return () => { gone = true; clearTimeout(timer); };
  });
})();
