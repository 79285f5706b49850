/* Alarm sounds of IEC 60601-1-8: bursts of pulses, by priority, for what is open, not acknowledged
   and not muted. Only the worst priority sounds. A browser plays nothing before somebody has
   touched the page; then `state` is "blocked", and the page says so. */
"use strict";
(() => {
  // Seconds. High: 3 + 2 pulses, twice; medium: 3; low: 2.
  const PULSE = {high: 0.15, medium: 0.2, low: 0.2}, GAP = {high: 0.1, medium: 0.2, low: 0.2}, RAMP_S = 0.02;
  const REPEAT = {high: 10, medium: 25, low: 30}, BETWEEN_HALVES = 0.5;
  const step = (priority) => PULSE[priority] + GAP[priority];
  const fourth = 2 * step("high") + 2 * PULSE.high + 2 * GAP.high;  // the pause after the third: two gaps and a pulse
  const five = [0, step("high"), 2 * step("high"), fourth, fourth + step("high")];
  const again = five[4] + PULSE.high + BETWEEN_HALVES;
  const STARTS = {
    high: [...five, ...five.map((at) => at + again)],
    medium: [0, step("medium"), 2 * step("medium")],
    low: [0, step("low")],
  };
  const PITCH = {high: [523, 523, 523, 659, 784], medium: [523, 659, 784], low: [523, 440]};  // fundamentals, Hz
  const HARMONICS = new Float32Array([0, 1, 0.6, 0.4, 0.3, 0.2]);  // at least four harmonics carry further than a tone
  const LOG_KEPT = 200, KEY = "vigil_sound";
  let context = null, wave = null, level = "none", due = null, playing = [];
  const log = [];

  function ready() {
    if (!context) {
      context = new AudioContext();
      wave = context.createPeriodicWave(new Float32Array(HARMONICS.length), HARMONICS);
      context.addEventListener("statechange", tell);
    }
    return context.state === "running";
  }
  function stop() {
    for (const tone of playing) tone.stop();
    playing = [];
  }
  function burst(priority) {
    const begin = context.currentTime + 0.05;
    STARTS[priority].forEach((start, n) => {
      const tone = context.createOscillator(), volume = context.createGain(), pitch = PITCH[priority];
      const at = begin + start, width = PULSE[priority];
      tone.setPeriodicWave(wave);
      tone.frequency.value = pitch[n % pitch.length];
      volume.gain.setValueAtTime(0, at);
      volume.gain.linearRampToValueAtTime(0.4, at + RAMP_S);
      volume.gain.setValueAtTime(0.4, at + width - RAMP_S);
      volume.gain.linearRampToValueAtTime(0, at + width);
      tone.connect(volume).connect(context.destination);
      tone.start(at);
      tone.stop(at + width);
      tone.onended = () => { playing = playing.filter((other) => other !== tone); };
      playing.push(tone);
    });
    log.push({priority, pulses: STARTS[priority].length, at: Date.now()});
    if (log.length > LOG_KEPT) log.shift();
  }
  function round() {
    clearTimeout(due);
    due = null;
    if (level === "none" || !sound.on || !ready()) return;
    burst(level);
    due = setTimeout(round, REPEAT[level] * 1000);
  }
  const sound = {
    on: localStorage.getItem(KEY) !== "off",
    log,  // of the bursts that were played: what a sound check and the tests read
    listener: null,
    state() { return !sound.on ? "off" : ready() ? "on" : "blocked"; },
    /* Sound for the worst alert that nobody has taken: "high", "medium", "low" or "none". */
    want(worst) {
      if (worst === level) return;
      level = worst;
      stop();
      round();
    },
    /* Play one burst now: the sound check of a shift. */
    play(priority) { if (ready()) burst(priority); },
    set(on) {
      sound.on = on;
      localStorage.setItem(KEY, on ? "on" : "off");
      if (!on) stop();
      else if (!ready()) context.resume();
      round();
      tell();
    },
  };
  function tell() {
    if (due === null) round();
    if (sound.listener) sound.listener(sound.state());
  }
  // A browser allows sound only after a gesture; any will do.
  for (const gesture of ["pointerdown", "keydown"]) {
    document.addEventListener(gesture, () => { if (sound.on && !ready()) context.resume(); }, {capture: true});
  }
  window.vigilSound = sound;
})();
