/* The sweeping waveforms of one bed. Samples come from a socket of their own, in the device's time;
   a playback clock runs behind them by as much as their arrival is uneven (the buffer, which is
   shown), so that the trace moves evenly. Each animation frame draws only what is new, behind an
   erase bar. What did not arrive is a gap; an old trace never looks live. */
"use strict";
(() => {
  const SPEED_MM_S = 25, PX_PER_MM = 96 / 25.4, KEEP_MS = 40000, STATS_MS = 15000, MARGIN_MS = 25, IN_TIME = 0.97, RETRY_MAX_MS = 5000;
  const LANES_MAX = 5, ERASE_PX = 16, NO_SAMPLE = -32768, LOST_MS = 2500, RESYNC_MS = 4000;
  const COLOURS = {ecg: "--hr", pleth: "--spo2", pressure: "--bp", resp: "--rr", co2: "--temp", other: "--text"};
  const FIXED = {ecg: 1.2};  // mV: the least that a lane spans, so that noise does not look like a beat
  const stats = {draws: 0, underruns: 0, buffer_ms: 0, chunks: 0, gaps: 0, heard: -1e9};
  window.vigilWaves = stats;  // what the benchmark and the tests read
  let view = null;

  const words = (v, key, fields = {}) =>
    Object.entries(fields).reduce((text, [k, x]) => text.replace(`{${k}}`, x), v.words[key] || key);

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
    node.append(canvas, label, range, state);
    const colour = getComputedStyle(document.documentElement).getPropertyValue(COLOURS[known.kind] || "--text").trim();
    label.style.color = colour;
    const lane = {channel, kind: known.kind, order: known.order, node, label, range, state, canvas, colour,
                  pen: canvas.getContext("2d"), chunks: [], low: 0, high: 1, scaled: 0, drawn: null, width: 0, height: 0, spoke: ""};
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
  const windowMs = (lane) => lane.width / (SPEED_MM_S * PX_PER_MM) * 1000;
  const place = (lane, t) => { const w = windowMs(lane); return ((t % w) + w) % w / w * lane.width; };
  const level = (lane, value) => lane.height - 6 - (value - lane.low) / (lane.high - lane.low) * (lane.height - 22);

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
    lane.state.textContent = say ? words(v, say) : "";
  }

  function frame(now) {
    const v = view;
    if (!v) return;
    v.raf = requestAnimationFrame(frame);
    const t = tick(v.clock, now);
    if (t === null) return;
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
      const state = now - stats.heard > LOST_MS ? words(v, "wave_lost") : words(v, "wave_buffer", {n: (stats.buffer_ms / 1000).toFixed(1)});
      v.delay.textContent = `${words(v, "wave_speed")} · ${state}`;
      for (const lane of v.lanes.values()) speak(v, lane, t);
    }
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
    while (lane.chunks.length && endOf(lane.chunks[0]) < endOf(chunk) - KEEP_MS) lane.chunks.shift();
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

  /* ---- attach to what Dash drew ---- */
  function leave() {
    if (!view) return;
    cancelAnimationFrame(view.raf);
    if (view.socket) { view.socket.onclose = null; view.socket.close(); }
    view = null;
  }
  function attach() {
    const node = document.getElementById("waves"), context = document.getElementById("context");
    if (view && view.node === node) return;
    leave();
    if (!node || !context) return;
    const text = JSON.parse(context.dataset.words), head = document.createElement("div"), title = document.createElement("h2");
    const delay = document.createElement("span"), note = document.createElement("p"), box = document.createElement("div");
    head.className = "head"; delay.className = "note"; note.className = "note"; box.className = "lanes";
    title.textContent = text.waves; note.textContent = text.no_waves;
    head.append(title, delay);
    node.replaceChildren(head, note, box);
    view = {node, box, delay, note, words: text, channels: JSON.parse(context.dataset.channels), bed: context.dataset.bed,
            lanes: new Map(), clock: makeClock(), socket: null, retry: 0, spoken: 0, raf: 0};
    stats.draws = stats.underruns = stats.chunks = stats.gaps = 0;
    connect(view);
    view.raf = requestAnimationFrame(frame);
  }
  new MutationObserver(attach).observe(document.documentElement, {childList: true, subtree: true});
  attach();
})();
