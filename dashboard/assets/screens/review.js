/* Alarm review: what the alerts were and cost; the ledger with filters. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const DAYS = [1, 7, 30], LEVELS = ["high", "medium", "low", "technical"], SHOWN = 300;

  kit.screens.set("review", (node) => {
    let days = 7, rows = [], gone = false;
    const filters = {level: "", hospital: "", rule: "", find: ""};
    const numbers = make("div", "numbers"), charts = make("div", "multi"), ledger = make("div"), count = make("p", "note");
    const span = kit.choice(say("span"), DAYS.map((d) => [d, say("days_n", {n: d})]), days, (d) => { days = d; load(); });
    const level = kit.select([["", say("all_levels")], ...LEVELS.map((l) => [l, say(l)])]), hospital = kit.select([["", say("all_hospitals")], ...kit.hospitals()]);
    const rule = kit.select([["", say("all_rules_short")]]), find = kit.input("search", {placeholder: say("find_alert")});
    for (const [select, key, label] of [[level, "level", "priority"], [hospital, "hospital", "hospital"], [rule, "rule", "rule"]]) {
      select.setAttribute("aria-label", say(label));
      select.addEventListener("change", () => { filters[key] = select.value; drawLedger(); });
    }
    find.setAttribute("aria-label", say("find_alert"));
    find.addEventListener("input", () => { filters.find = find.value.toLowerCase(); drawLedger(); });
    node.append(put("div", "page", put("div", "title", make("h1", "", say("review")), span), numbers, charts,
      kit.panel(say("ledger"), put("div", "tools", level, hospital, rule, find, kit.button(say("as_csv"), save)), count, ledger)));

    const number = (title, value, note) => put("div", "figure", make("span", "note", title), make("b", "", value === null || value === undefined ? "–" : String(value)), make("span", "note", note || ""));
    async function load() {
      const since = new Date(kit.now() - days * 86400000).toISOString();
      numbers.replaceChildren(make("p", "note", say("loading")));
      const [burden, alerts] = await Promise.all([kit.get(`/api/burden?since=${since}`), kit.get(`/api/alerts?since=${since}&limit=2000`)]);
      if (gone) return;
      rows = alerts;
      numbers.replaceChildren(number(say("alerts_per_bed_day"), burden.alerts_per_bed_day, say("bed_days_n", {n: burden.bed_days})), number(say("alerts"), burden.alerts, `${say("muted")} ${burden.muted}`),
        number(say("physiological"), burden.physiological), number(say("alarm_hours"), burden.alarm_hours_per_bed_day, say("per_bed_day")),
        number(say("ack_median"), kit.span(burden.acknowledged_after_median_s), `${burden.acknowledged} ${say("acknowledged")}`));
      const chart = (title, bars) => kit.panel(title, bars);
      charts.replaceChildren(
        chart(say("by_day"), stacked(burden.by_day)),
        chart(say("ack_times"), kit.bars(Object.entries(burden.waits).map(([k, n]) => [k === "later" ? say("wait_later") : k === "never" ? say("wait_never") : `≤ ${kit.span(Number(k))}`, n, k === "never" ? "medium" : ""]), say("ack_times"))),
        chart(say("top_rules"), kit.bars(burden.top_rules.map((r) => [ruleName(r.rule), r.alerts]), say("top_rules"))),
        chart(say("top_beds"), kit.bars(burden.top_beds.map((b) => [kit.bedName(b.bed), b.alerts, "", kit.isPlace(b.bed) ? "" : `/bed/${b.bed}`]), say("top_beds"))),
        chart(say("by_hospital"), kit.table([say("hospital"), say("alerts_per_bed_day"), say("ack_median")], Object.entries(burden.by_hospital).map(([h, s]) => [kit.hospitalName(h), s.alerts_per_bed_day, kit.span(s.acknowledged_after_median_s)]), say("by_hospital"))),
        chart(say("by_shift"), kit.table([say("shift"), say("alerts_per_bed_day"), say("ack_median")], Object.entries(burden.by_shift).map(([s, x]) => [say(`shift_${s}`), x.alerts_per_bed_day, kit.span(x.acknowledged_after_median_s)]), say("by_shift"))));
      const kept = rule.value;
      rule.replaceChildren(new Option(say("all_rules_short"), ""), ...[...new Set(rows.map((r) => r.rule.split("/")[0]))].sort().map((r) => new Option(ruleName(r), r)));
      rule.value = kept;
      drawLedger();
    }
    function ruleName(name) {
      const known = rows.find((r) => r.rule.split("/")[0] === name);
      return (known && kit.ruleName(known)) || name;
    }
    /* Days as bars of priorities; the numbers stand beside them for who cannot see colours. */
    function stacked(days_) {
      const list = make("ul", "bars stacked"), most = Math.max(1, ...Object.values(days_).map((d) => Object.values(d).reduce((a, b) => a + b, 0)));
      list.setAttribute("aria-label", say("by_day"));
      for (const [day, levels] of Object.entries(days_)) {
        const total = Object.values(levels).reduce((a, b) => a + b, 0), track = make("span", "track");
        for (const l of LEVELS) if (levels[l]) { const bar = make("i", l); bar.style.width = `${(100 * levels[l] / most).toFixed(1)}%`; bar.title = `${say(l)} ${levels[l]}`; track.append(bar); }
        list.append(put("li", "", make("span", "name", day.slice(5)), track, make("span", "number", String(total))));
      }
      return put("div", "", list, put("p", "legend", ...LEVELS.map((l) => put("span", "", make("i", l), say(l)))));
    }
    const wanted = () => rows.filter((r) => (!filters.level || kit.level(r) === filters.level) && (!filters.hospital || r.bed.startsWith(`${filters.hospital}/`)) && (!filters.rule || r.rule.split("/")[0] === filters.rule)
      && (!filters.find || `${r.zh} ${r.en} ${r.bed} ${r.acknowledged_by || ""}`.toLowerCase().includes(filters.find)));
    function drawLedger() {
      const found = wanted();
      count.textContent = say("shown_of", {n: Math.min(SHOWN, found.length), all: found.length}) + (rows.length >= 2000 ? ` · ${say("newest_2000")}` : "");
      ledger.replaceChildren(kit.table([say("time"), say("priority"), say("what"), say("state"), say("who"), ""], found.slice(0, SHOWN).map((r) => {
        const at = Date.parse(r.onset_at), bedLink = Object.assign(make("a", "", r[kit.lang]), {href: kit.isPlace(r.bed) ? "/" : `/bed/${r.bed}`});
        return [kit.stamp(at), kit.badge(kit.level(r)), bedLink, ["resolved", "finding"].includes(r.kind) ? say(r.kind) : r.latched ? say("latched") : say("open"), r.acknowledged_by || (r.muted_by ? say("muted") : "–"),
          kit.isPlace(r.bed) ? "" : kit.button(say("why"), () => kit.why(r.bed, r.rule, at), "link")];
      }), say("ledger")));
    }
    function save() {
      const heads = ["onset_at", "bed", "rule", "priority", "technical", "kind", "acknowledged_by", "muted_by", "pack_version", "zh", "en"];
      const quote = (x) => `"${String(x ?? "").replaceAll('"', '""')}"`;
      const text = [heads.join(","), ...wanted().map((r) => heads.map((h) => quote(r[h])).join(","))].join("\n");
      Object.assign(document.createElement("a"), {href: URL.createObjectURL(new Blob(["\ufeff", text], {type: "text/csv"})), download: `vigil-alerts-${days}d.csv`}).click();
    }
    load().catch((error) => numbers.replaceChildren(make("p", "problem", error.message)));
    return () => { gone = true; };
  });
})();
