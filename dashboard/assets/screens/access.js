/* Access: seeing beyond one's scope in an emergency, one's open sign-ins, and the audit. */
"use strict";
(() => {
  const kit = window.vigilKit, {say, make, put} = kit;
  const PERIOD_MS = 15000, MINUTES = [15, 30, 60, 120], LINES = 100;

  kit.screens.set("access", (node, argument) => {
    const glass = make("div"), mine = make("div"), audit = make("div");
    node.append(put("div", "page", put("div", "title", make("h1", "", say("access"))), put("div", "access-grid", glass, mine, audit)));
    let gone = false, timer = null, verdictOnce = null;

    function form() {
      const scope = kit.input("text", {value: argument, maxLength: 97, placeholder: "quzhou-kaihua/icu"}), reason = kit.area({maxLength: 300});
      let minutes = 60;
      const choose = kit.choice(say("for_how_long"), MINUTES.map((n) => [n, say("for_m", {n})]), minutes, (n) => { minutes = Number(n); });
      const box = put("div", "form", make("p", "", say("glass_says")), kit.field(say("glass_scope"), scope), kit.field(say("glass_reason"), reason), choose,
        put("div", "row", kit.button(say("glass_open"), async () => {
          await kit.post("/api/access/break-glass", {scope: scope.value.trim(), reason: reason.value.trim(), minutes});
          location.href = "/";
        }, "danger")));
      return box;
    }
    function drawGlass(rows) {
      const table = rows.length ? kit.table([say("who"), say("glass_scope"), say("glass_reason"), say("from"), say("until_when"), ""], rows.map((r) => [
        `${r.username} · ${say(`role_${r.role}`)}`, r.scope, r.reason, kit.stamp(r.from_at), r.ended_by ? say("ended_by", {by: r.ended_by}) : kit.stamp(r.until_at),
        r.open && (r.username === kit.me.username || kit.may("lead")) ? kit.button(say("end_now"), async () => { await kit.api("DELETE", `/api/access/break-glass/${r.id}`); await load(); }) : ""]), say("glass")) : make("p", "note", say("none_yet"));
      const before = glass.querySelector(".form");
      glass.replaceChildren(kit.panel(say("glass"), ...(kit.may("break-glass") ? [before || form()] : []), table));
    }
    function drawSessions(rows) {
      mine.replaceChildren(kit.panel(say("sign_ins"), kit.table([say("who"), say("since"), say("until_when"), say("address"), ""], rows.map((r) => [
        r.username, kit.stamp(r.opened_at), kit.stamp(r.expires_at), r.address,
        kit.button(say("end_now"), async () => { await kit.api("DELETE", `/api/access/sessions/${r.id}`); await load(); })]), say("sign_ins")),
      put("div", "row", kit.button(say("end_others"), async () => { await kit.api("DELETE", "/api/access/sessions"); await load(); }),
        Object.assign(make("a", "button", say("password_change")), {href: "/password"}))));
    }
    function drawAudit(verdict, lines) {
      audit.replaceChildren(kit.panel(say("audit"),
        make("p", verdict.ok ? "note" : "problem", verdict.ok ? say("audit_ok", {n: verdict.lines}) : `${say("audit_bad")}: ${verdict.problems.join("; ")}`),
        kit.table([say("at_time"), say("who"), say("done_what"), say("about"), say("outcome"), say("address")], lines.map((l) => [kit.stamp(l.at), l.who, l.what, l.object, l.outcome, l.address]), say("audit"))));
    }
    async function load() {
      const may = kit.may("audit");
      const [open, sessions, verdict, lines] = await Promise.all([
        kit.get("/api/access/break-glass"), kit.get("/api/access/sessions"),
        may ? (verdictOnce = verdictOnce || kit.get("/api/access/audit/verdict")) : null, may ? kit.get(`/api/access/audit?limit=${LINES}`) : null]);
      if (gone) return;
      drawGlass(open);
      drawSessions(sessions);
      if (may) drawAudit(verdict, lines);
    }
    async function follow() {
      try { await load(); } catch (error) { kit.toast(error.message, "bad"); }
      if (!gone) timer = setTimeout(follow, PERIOD_MS);
    }
    const hear = (news) => { if (news && news.what === "break_glass") load().catch(() => {}); };
    kit.heard.add(hear);
    follow();
    return () => { gone = true; clearTimeout(timer); kit.heard.delete(hear); };
  });
  kit.heard.add((news) => { if (news && news.what === "break_glass") kit.toast(say("glass_news"), "bad"); });
})();
