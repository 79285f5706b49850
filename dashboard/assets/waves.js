/* The sweeping waveforms of one bed. Samples come from a socket of their own, in the device's time;
   a playback clock runs behind them by as much as their arrival is uneven (the buffer, which is
   shown), so that the trace moves evenly. Each animation frame draws only what is new, behind an
   erase bar. What did not arrive is a gap; an old trace never looks live. Speed and gain are chosen;
   frozen, the picture stands and a drag measures time and height. */
"use strict";
(() => {
  const kit = window.vigilKit, SPEEDS = [6.25, 12.5, 25, 50], GAINS = [0.5, 1, 2, 4], PX_PER_MM = 96 / 25.4, KEEP_MS = 90000, FROZEN_KEEP_MS = 900000, STATS_MS = 15000, MARGIN_MS = 25, IN_TIME = 0.97, RETRY_MAX_MS = 5000;
  const LANES_MAX = 5, ERASE_PX = 16, NO_SAMPLE = -32768, LOST_MS = 2500, RESYNC_MS = 4000;
  const COLOURS = {ecg: "--hr", pleth: "--spo2", pressure: "--bp", resp: "--rr", co2: "--temp", other: "--text"};
  const FIXED = {ecg: 1.2};  // mV: the least that a lane spans, so that noise does not look like a beat
  const stats = {draws: 0, underruns: 0, buffer_ms: 0, chunks: 0, gaps: 0, heard: -1e9};
  window.vigilWaves = stats;  // what the benchmark and the tests read
  let view = null;

  const chosen = {speed: 25, gain: 1, ...JSON.parse(localStorage.getItem("vigil_waves") || "{}")};
  function choose(v, changes) {
    Object.assign(chosen, changes);
    localStorage.setItem("vigil_waves", JSON.stringify(chosen));
    for (const lane of v.lanes.values()) lane.drawn = null;
    if (v.frozen !== null) redraw(v);
  }

  /* ---- a chunk off the socket: docs/wire.md ---- */
  function readChunk(buffer) {
    const bytes = new Uint8Array(buffer), n = bytes[0] & 0x7f, at = 1 + n;
    const channel = new TextDecoder().decode(bytes.subarray(1, at));
    const head = new DataView(buffer, at);
    const names = head.getUint8(5) + head.getUint8(6) + head.getUint8(7);
    const from = at + 60 + names, count = head.getUint32(56, true);
    return {
      channel, stored: bytes[0] > 0x7f, rate: head.getFloat64(32, true), scale: head.getFloat64(40, true), zero: head.getFloat64(48, true),
      start: Number(head.getBigInt64(8, true)) / 1e6, samples: new Int16Array(buffer.slice(from, from + 2 * count)),
    };
  }
  const endOf = (chunk) => chunk.start + chunk.samples.length * 1000 / chunk.rate;

  /* ---- the playback clock: device time shown = performance.now() - behind ---- */
  function makeClock() { return {behind: null, arrivals: [], last: 0}; }
  function hear(clock, chunk, now) {
    const late = now - endOf(chunk), span = chunk.samples.length * 1000 / chunk.rate;
    if (clock.behind !== null && Math.abs(late - clock.behind) > RESYNC_MS) { clock.arrivals.length = 0; clock.behind = null; }
    clock.arrivals.push({at: now, late, span, channel: chunk.channel});
    while (clock.arrivals[0].at < now - STATS_MS) clock.arrivals.shift();
    if (clock.behind === null) clock.behind = wanted(clock);
  }
  function wanted(clock) {  // all but the latest few in a hundred: those fill their gap when they come
    const needs = new Map();  // by channel: one whose chunks are long and few needs as much as any
    for (const a of clock.arrivals) {
      if (!needs.has(a.channel)) needs.set(a.channel, []);
      needs.get(a.channel).push(a.late + a.span);
    }
    let most = -Infinity;
    for (const list of needs.values()) {
      list.sort((a, b) => a - b);
      most = Math.max(most, list[Math.floor((list.length - 1) * IN_TIME)]);
    }
    return most + MARGIN_MS;
  }
  function tick(clock, now) {
    if (clock.behind === null) return null;
    const passed = Math.min(100, now - clock.last), aim = clock.arrivals.length ? wanted(clock) : clock.behind;
    clock.last = now;
    const slip = aim - clock.behind;  // later at once gently, sooner very gently: no jump is seen
    clock.behind += Math.sign(slip) * Math.min(Math.abs(slip), passed * (slip > 0 ? 0.15 : 0.02));
    return now - clock.behind;
  }
  function buffered(clock) {
    let least = Infinity;
    for (const a of clock.arrivals) least = Math.min(least, a.late);
    return Math.max(0, clock.behind - least);
  }

  /* ---- lanes ---- */
  function makeLane(v, channel) {
    const known = v.channels[channel] || {name: channel.toUpperCase(), kind: "other", order: 99};
    const node = document.createElement("div"), label = document.createElement("span"), range = document.createElement("span");
    const state = document.createElement("span"), canvas = document.createElement("canvas");
    node.className = "lane"; label.className = "lane-name"; range.className = "lane-range"; state.className = "lane-state";
    node.dataset.channel = channel;
    label.textContent = known.name;
    const calliper = document.createElement("div");
    calliper.className = "calliper";
    calliper.hidden = true;
    calliper.append(document.createElement("span"));
    node.append(canvas, label, range, state, calliper);
    const colour = getComputedStyle(document.documentElement).getPropertyValue(COLOURS[known.kind] || "--text").trim();
    label.style.color = colour;
    const lane = {channel, kind: known.kind, order: known.order, node, label, range, state, canvas, colour, calliper, unit: {ecg: "mV", pressure: "mmHg"}[known.kind] || "",
                  pen: canvas.getContext("2d"), chunks: [], low: 0, high: 1, scaled: 0, drawn: null, width: 0, height: 0, spoke: ""};
    canvas.addEventListener("pointerdown", (event) => measure(v, lane, event));
    v.lanes.set(channel, lane);
    const order = [...v.lanes.values()].sort((a, b) => a.order - b.order || (a.channel < b.channel ? -1 : 1));
    order.forEach((l, i) => { l.node.hidden = i >= LANES_MAX; v.box.append(l.node); });
    v.note.hidden = true;
    return lane;
  }
  function size(lane) {
    const ratio = window.devicePixelRatio || 1, width = lane.canvas.clientWidth, height = lane.canvas.clientHeight;
    if (lane.width === width && lane.height === height) return;
    lane.width = width; lane.height = height; lane.drawn = null;
    lane.canvas.width = Math.round(width * ratio); lane.canvas.height = Math.round(height * ratio);
    lane.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    lane.pen.lineWidth = 1.6; lane.pen.lineJoin = "round"; lane.pen.strokeStyle = lane.colour;
  }
  const windowMs = (lane) => lane.width / (chosen.speed * PX_PER_MM) * 1000;
  const place = (lane, t) => { const w = windowMs(lane); return ((t % w) + w) % w / w * lane.width; };
  const level = (lane, value) => {
    const share = (value - lane.low) / (lane.high - lane.low);
    return lane.height - 6 - (0.5 + (share - 0.5) * chosen.gain) * (lane.height - 22);
  };
  const valueAt = (lane, y) => lane.low + (0.5 + ((lane.height - 6 - y) / (lane.height - 22) - 0.5) / chosen.gain) * (lane.high - lane.low);
  // When frozen: the device time under a place of the lane; right of the newest stands the sweep before.
  function timeAt(lane, x, t) { const w = windowMs(lane); return t - (((place(lane, t) - x) % lane.width) + lane.width) % lane.width / lane.width * w; }

  /* Choose the lane's range from what it holds; only when it no longer fits, so that it stands still. */
  function fit(lane, now) {
    if (now - lane.scaled < 2000 && lane.scaled) return;
    let low = Infinity, high = -Infinity;
    const since = lane.chunks.length ? endOf(lane.chunks[lane.chunks.length - 1]) - 8000 : 0;
    for (const c of lane.chunks) if (endOf(c) > since) for (const s of c.samples) if (s !== NO_SAMPLE) {
      const value = s * c.scale + c.zero;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) return;
    lane.scaled = now;
    const least = FIXED[lane.kind] || 1e-9, span = Math.max(high - low, least), fits = low >= lane.low && high <= lane.high;
    if (fits && span > 0.45 * (lane.high - lane.low)) return;
    const air = 0.12 * span, middle = (low + high) / 2;
    lane.low = Math.min(low, middle - span / 2) - air;
    lane.high = Math.max(high, middle + span / 2) + air;
    if (lane.kind === "pressure") { lane.low = Math.floor(lane.low / 10) * 10; lane.high = Math.ceil(lane.high / 10) * 10; }
    lane.range.textContent = lane.kind === "pressure" ? `${lane.low}–${lane.high} mmHg` : lane.kind === "ecg" ? `${(lane.high - lane.low).toFixed(1)} mV` : "";
    lane.drawn = null;  // draw all of it again in the new range
  }

  /* Draw the trace between two device times. A step over a gap, a missing sample or the edge lifts the pen. */
  function trace(lane, from, to) {
    const pen = lane.pen;
    let down = false, lastX = 0, lastEnd = null, some = false;
    pen.beginPath();
    for (const c of lane.chunks) {
      const step = 1000 / c.rate;
      if (endOf(c) < from - step || c.start > to) { lastEnd = endOf(c); down = false; continue; }
      if (lastEnd === null || Math.abs(c.start - lastEnd) > Math.max(2 * step, 45)) down = false;
      lastEnd = endOf(c);
      const first = Math.max(0, Math.floor((from - c.start) / step)), last = Math.min(c.samples.length - 1, Math.floor((to - c.start) / step));
      for (let i = first; i <= last; i++) {
        const raw = c.samples[i];
        if (raw === NO_SAMPLE) { down = false; continue; }
        const x = place(lane, c.start + i * step), y = level(lane, raw * c.scale + c.zero);
        if (down && x >= lastX) pen.lineTo(x, y); else pen.moveTo(x, y);
        down = true; lastX = x; some = true;
      }
    }
    pen.stroke();
    return some;
  }
  function draw(lane, t, now) {
    size(lane);
    if (!lane.width || !lane.chunks.length) return;
    fit(lane, now);
    const w = windowMs(lane);
    if (lane.drawn === null || t < lane.drawn || t - lane.drawn > w / 2) {
      lane.pen.clearRect(0, 0, lane.width, lane.height);
      trace(lane, t - w + ERASE_PX / lane.width * w, t);
    } else {
      const x0 = place(lane, lane.drawn), x1 = place(lane, t) + ERASE_PX;
      if (x1 >= x0) lane.pen.clearRect(x0 + 1, 0, x1 - x0, lane.height);
      else { lane.pen.clearRect(x0 + 1, 0, lane.width - x0, lane.height); lane.pen.clearRect(0, 0, x1, lane.height); }
      trace(lane, lane.drawn, t);
    }
    lane.drawn = t;
    const x = place(lane, t);
    lane.pen.clearRect(x + 1, 0, ERASE_PX, lane.height);
    if (x + ERASE_PX > lane.width) lane.pen.clearRect(0, 0, x + ERASE_PX - lane.width, lane.height);
  }
  function speak(v, lane, t) {
    const newest = lane.chunks[lane.chunks.length - 1];
    let say = "";
    if (!newest || t > endOf(newest) + LOST_MS) say = "wave_lost";
    else if (newest.samples[newest.samples.length - 1] === NO_SAMPLE && newest.samples[0] === NO_SAMPLE) say = "wave_off";
    if (say === lane.spoke) return;
    lane.spoke = say;
    lane.node.dataset.state = say || "ok";
    lane.state.textContent = say ? kit.say(say) : "";
  }

  function frame(now) {
    const v = view;
    if (!v) return;
    v.raf = requestAnimationFrame(frame);
    const t = tick(v.clock, now);
    if (t === null) return;
    v.t = t;
    if (v.frozen !== null) return;
    let any = false;
    for (const lane of v.lanes.values()) if (!lane.node.hidden) {
      draw(lane, t, now);
      any = true;
      const newest = lane.chunks[lane.chunks.length - 1];
      if (newest && t > endOf(newest) && !lane.dry) { lane.dry = true; stats.underruns += 1; }
      else if (newest && t <= endOf(newest)) lane.dry = false;
    }
    if (any) stats.draws += 1;
    if (now - v.spoken > 500) {
      v.spoken = now;
      stats.buffer_ms = Math.round(buffered(v.clock));
      const state = now - stats.heard > LOST_MS ? kit.say("wave_lost") : kit.say("wave_buffer", {n: (stats.buffer_ms / 1000).toFixed(1)});
      v.delay.textContent = state;
      for (const lane of v.lanes.values()) speak(v, lane, t);
    }
  }

  /* ---- frozen: the picture stands, a drag measures ---- */
  function redraw(v) {
    for (const lane of v.lanes.values()) {
      if (lane.node.hidden) continue;
      lane.drawn = null;
      draw(lane, v.frozen, performance.now());
    }
  }
  function freeze(v) {
    v.frozen = v.frozen === null ? v.t : null;
    v.box.classList.toggle("frozen", v.frozen !== null);
    v.held.textContent = v.frozen === null ? "" : kit.say("frozen_at", {at: kit.clock(v.frozen)});
    v.freeze.setAttribute("aria-pressed", String(v.frozen !== null));
    v.freeze.textContent = kit.say(v.frozen === null ? "freeze" : "unfreeze");
    v.actions.hidden = true;
    v.span = null;
    for (const lane of v.lanes.values()) { lane.drawn = null; lane.calliper.hidden = true; }
  }
  function measure(v, lane, event) {
    if (v.frozen === null || event.button !== 0) return;
    const box = lane.canvas.getBoundingClientRect(), x0 = event.clientX - box.left, y0 = event.clientY - box.top;
    lane.canvas.setPointerCapture(event.pointerId);
    for (const other of v.lanes.values()) other.calliper.hidden = true;
    const move = (e) => {
      const x1 = Math.min(box.width, Math.max(0, e.clientX - box.left)), y1 = Math.min(box.height, Math.max(0, e.clientY - box.top));
      const [left, right] = x0 < x1 ? [x0, x1] : [x1, x0], ms = (right - left) / lane.width * windowMs(lane);
      const height = Math.abs(valueAt(lane, y1) - valueAt(lane, y0));
      lane.calliper.hidden = false;
      Object.assign(lane.calliper.style, {left: `${left}px`, width: `${right - left}px`});
      const rate = ms > 150 ? ` · ${Math.round(60000 / ms)} /min` : "";
      lane.calliper.firstChild.textContent = `${Math.round(ms)} ms${rate}${lane.unit ? ` · ${height.toFixed(lane.unit === "mV" ? 2 : 0)} ${lane.unit}` : ""}`;
      const start = timeAt(lane, left, v.frozen);  // across the erase bar the measured length counts, not the other sweep
      v.span = {start: Math.round(start), end: Math.round(Math.min(start + ms, v.frozen)), signal: lane.channel, ms};
    };
    const up = () => {
      lane.canvas.removeEventListener("pointermove", move);
      lane.canvas.removeEventListener("pointerup", up);
      v.actions.hidden = !v.span;
    };
    lane.canvas.addEventListener("pointermove", move);
    lane.canvas.addEventListener("pointerup", up);
  }
  /* A picture of the lanes as they stand, for a consult. */
  async function picture(v) {
    const lanes = [...v.lanes.values()].filter((l) => !l.node.hidden && l.width);
    if (!lanes.length) return null;
    const sheet = document.createElement("canvas"), pen = sheet.getContext("2d"), style = getComputedStyle(document.documentElement);
    sheet.width = lanes[0].canvas.width;
    sheet.height = lanes.reduce((sum, l) => sum + l.canvas.height, 0) + 26;
    pen.fillStyle = style.getPropertyValue("--bg");
    pen.fillRect(0, 0, sheet.width, sheet.height);
    let y = 0;
    pen.font = "14px sans-serif";
    for (const lane of lanes) {
      pen.drawImage(lane.canvas, 0, y);
      pen.fillStyle = lane.colour;
      pen.fillText(lane.label.textContent, 6, y + 16);
      y += lane.canvas.height;
    }
    pen.fillStyle = style.getPropertyValue("--text");
    const at = v.frozen ?? v.t ?? 0;
    pen.fillText(`${kit.bedName(v.bed)} · ${kit.stamp(at)} · ${chosen.speed} mm/s`, 6, y + 18);
    return new Promise((done) => { sheet.toBlob(done, "image/png"); });
  }
  stats.picture = () => (view ? picture(view) : null);
  function makeTools(v) {
    const tools = document.createElement("div");
    tools.className = "wave-tools";
    const speeds = kit.choice(kit.say("speed"), SPEEDS.map((s) => [s, `${s}`]), chosen.speed, (speed) => choose(v, {speed}));
    const gains = kit.choice(kit.say("gain"), GAINS.map((g) => [g, `×${g}`]), chosen.gain, (gain) => choose(v, {gain}));
    v.freeze = kit.button(kit.say("freeze"), () => freeze(v));
    v.freeze.setAttribute("aria-pressed", "false");
    v.freeze.id = "freeze";
    v.held = kit.make("span", "held");
    v.actions = kit.make("span", "span-actions");
    v.actions.hidden = true;
    if (kit.may("annotate")) v.actions.append(kit.button(kit.say("annotate"), () => kit.annotate(v.bed, v.span)));
    if (kit.may("consult")) v.actions.append(kit.button(kit.say("to_consult"), () => kit.attach(v.bed, v.span, () => picture(v))));
    tools.append(speeds, kit.make("span", "note", "mm/s"), gains, v.freeze, v.held, v.actions);
    return tools;
  }

  /* ---- the socket ---- */
  function take(v, buffer) {
    const chunk = readChunk(buffer), now = performance.now();
    const lane = v.lanes.get(chunk.channel) || makeLane(v, chunk.channel);
    stats.chunks += 1;
    const chunks = lane.chunks, last = chunks[chunks.length - 1];
    if (last && !chunk.stored && chunk.start < endOf(last) - RESYNC_MS) chunks.length = 0;  // the device's clock was set back
    let at = chunks.length;
    while (at > 0 && chunks[at - 1].start > chunk.start) at -= 1;
    if (at > 0 && chunk.start < endOf(chunks[at - 1]) - 45) return;  // it came twice
    if (at === chunks.length && last && chunk.start > endOf(last) + 45) stats.gaps += 1;
    chunks.splice(at, 0, chunk);
    if (lane.drawn !== null && chunk.start < lane.drawn) lane.drawn = null;  // it fills a gap: draw again
    const keep = v.frozen === null ? endOf(chunk) - KEEP_MS : Math.max(v.frozen - KEEP_MS, endOf(chunk) - FROZEN_KEEP_MS);
    while (lane.chunks.length && endOf(lane.chunks[0]) < keep) lane.chunks.shift();
    if (!chunk.stored) { hear(v.clock, chunk, now); stats.heard = now; }
  }
  function connect(v) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = v.socket = new WebSocket(`${scheme}://${location.host}/ws/waves/${v.bed}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { v.retry = 0; };
    socket.onmessage = (event) => { if (view === v) take(v, event.data); };
    socket.onclose = (event) => {
      if (view !== v || event.code === 4401) return;
      v.retry += 1;
      setTimeout(() => { if (view === v) connect(v); }, Math.min(RETRY_MAX_MS, 250 * 2 ** v.retry) * (0.5 + Math.random() / 2));
    };
  }

  /* ---- a page has come ---- */
  function leave() {
    if (!view) return;
    cancelAnimationFrame(view.raf);
    if (view.socket) { view.socket.onclose = null; view.socket.close(); }
    view = null;
  }
  function attach() {
    leave();
    const node = document.getElementById("waves");
    if (!node || kit.numbers) return;
    const head = document.createElement("div"), title = document.createElement("h2");
    const delay = document.createElement("span"), note = document.createElement("p"), box = document.createElement("div");
    head.className = "head"; delay.className = "note"; note.className = "note"; box.className = "lanes";
    const context = document.getElementById("context");
    title.textContent = kit.say("waves"); note.textContent = kit.say("no_waves");
    view = {node, box, delay, note, channels: JSON.parse(context.dataset.channels), bed: context.dataset.bed,
            lanes: new Map(), clock: makeClock(), socket: null, retry: 0, spoken: 0, raf: 0, frozen: null, t: null, span: null};
    delay.className = "note delay";
    head.append(title, makeTools(view), delay);
    node.replaceChildren(head, note, box);
    stats.draws = stats.underruns = stats.chunks = stats.gaps = 0;
    connect(view);
    view.raf = requestAnimationFrame(frame);
  }
  kit.enter.push(attach);
})();
