"use strict";
// Decodes a chosen z with the fitted network's own weights and draws E[x | z].
(() => {
  const spec = JSON.parse(document.getElementById("explorer-spec").textContent);
  const host = document.getElementById("explorer");

  const half = (h) => {
    const sign = h & 0x8000 ? -1 : 1, exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  };
  const floats = ({ dtype, base64 }) => {
    const raw = atob(base64), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return dtype === "f4" ? new Float32Array(bytes.buffer) : Float32Array.from(new Uint16Array(bytes.buffer), half);
  };

  const sigmoid = (v) => 1 / (1 + Math.exp(-v));
  const activations = {
    identity: (v) => v,
    tanh: Math.tanh,
    relu: (v) => Math.max(0, v),
    leaky_relu: (v) => (v > 0 ? v : 0.01 * v),
    elu: (v) => (v > 0 ? v : Math.expm1(v)),
    gelu: (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
    silu: (v) => v * sigmoid(v),
    softplus: (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v))),
    sigmoid,
  };
  const expectedCategory = (logits, classes) => {
    const rows = logits.length / classes, mean = new Float64Array(rows);
    for (let i = 0; i < rows; i++) {
      const row = logits.subarray(i * classes, (i + 1) * classes), top = Math.max(...row);
      let total = 0;
      row.forEach((v, k) => { const p = Math.exp(v - top); total += p; mean[i] += k * p; });
      mean[i] /= total;
    }
    return mean;
  };
  const outputs = {
    identity: (v) => v,
    sigmoid: (v) => v.map(sigmoid),
    affine: (v, o) => v.map((y, i) => o.shift[i] + o.scale[i] * y),
    expected_category: (v, o) => expectedCategory(v, o.classes),
  };

  const network = ({ layers, activation, output }) => {
    const f = activations[activation];
    const ready = layers.map((l) => ({ ...l, w: floats(l.weight), b: floats(l.bias) }));
    return (z) => {
      let h = Float64Array.from(z);
      ready.forEach((l, depth) => {
        const y = Float64Array.from(l.b);
        for (let o = 0; o < l.out; o++) {
          let sum = 0;
          for (let i = 0, at = o * l.in; i < l.in; i++) sum += l.w[at + i] * h[i];
          y[o] += sum;
        }
        h = depth + 1 < ready.length ? y.map(f) : y;
      });
      return outputs[output.name](h, output);
    };
  };
  // A net this page cannot run: look up between precomputed points.
  const lookup = ({ axes, points, out, values }) => {
    const table = floats(values);
    return (z) => {
      const at = axes.map((a) => {
        const unit = (z[a] - spec.center[a]) / spec.scale[a];
        return Math.min(Math.max(((unit + spec.reach) / (2 * spec.reach)) * (points - 1), 0), points - 1);
      });
      const low = at.map((v) => Math.min(Math.floor(v), points - 2));
      const x = new Float64Array(out);
      for (let corner = 0; corner < 2 ** axes.length; corner++) {
        let weight = 1, index = 0;
        at.forEach((v, k) => {
          const up = (corner >> k) & 1, t = v - low[k];
          weight *= up ? t : 1 - t;
          index = index * points + low[k] + up;
        });
        for (let d = 0; weight > 0 && d < out; d++) x[d] += weight * table[index * out + d];
      }
      return x;
    };
  };
  const decode = spec.net ? network(spec.net) : lookup(spec.grid);

  // ---- drawing ------------------------------------------------------------------------------------------
  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const short = (v) => (Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 0.01) ? v.toExponential(1) : Math.abs(v) >= 100 ? v.toFixed(0) : v.toPrecision(3));

  const missing = [86, 180, 233];  // the colour of a missing pixel, as in the other pictures
  const paint = (canvas, x) => {
    const [height, width, depth = 1] = spec.shape;
    canvas.width = width;
    canvas.height = height;
    const pen = canvas.getContext("2d"), image = pen.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) {
        const v = x[i * depth + Math.min(c, depth - 1)];
        image.data[4 * i + c] = Number.isNaN(v) ? missing[c] : Math.round((255 * (v - spec.low)) / (spec.high - spec.low || 1));
      }
      image.data[4 * i + 3] = 255;
    }
    pen.putImageData(image, 0, 0);
  };

  const bars = (canvas, x, shown) => {
    const line = x.length > 40 ? 8 : 20, named = line === 20, ratio = window.devicePixelRatio || 1;
    const wide = 560, high = x.length * line + 26, left = named ? 190 : 10, right = named ? 70 : 10;
    canvas.width = wide * ratio;
    canvas.height = high * ratio;
    canvas.style.width = wide + "px";
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    const names = spec.columns || [], span = wide - left - right;
    x.forEach((v, i) => {
      const [a, b] = spec.ranges ? spec.ranges[i] : [spec.low, spec.high];
      const place = (u) => left + span * Math.min(Math.max((u - a) / (b - a || 1), 0), 1);
      const y = i * line;
      pen.fillStyle = colour("--rule");
      pen.fillRect(left, y + line * 0.25, span, line * 0.5);
      pen.fillStyle = colour("--blue");
      pen.fillRect(left, y + line * 0.25, place(v) - left, line * 0.5);
      if (shown && !Number.isNaN(shown[i])) {
        pen.fillStyle = colour("--red");
        pen.fillRect(place(shown[i]) - 1.5, y + line * 0.1, 3, line * 0.8);
      }
      if (!named) return;
      pen.fillStyle = colour("--ink");
      pen.textBaseline = "middle";
      pen.textAlign = "right";
      const name = names[i] || "x" + (i + 1);
      pen.fillText(name.length > 25 ? name.slice(0, 24) + "…" : name, left - 8, y + line / 2);
      pen.textAlign = "left";
      pen.fillText(short(v), left + span + 8, y + line / 2);
    });
    pen.fillStyle = colour("--muted");
    pen.textBaseline = "alphabetic";
    pen.textAlign = "left";
    pen.fillText("data minimum", left, high - 6);
    pen.textAlign = "right";
    pen.fillText("data maximum", left + span, high - 6);
  };

  const canvas = make("canvas", { id: "decoded" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "the decoded mean of x at the chosen z");
  const beside = spec.shape && spec.examples ? make("canvas", { id: "input" }) : null;
  const examples = spec.examples && { ...spec.examples, z: floats(spec.examples.z), x: floats(spec.examples.x) };
  const width = examples ? examples.x.length / examples.rows.length : 0;
  const exampleX = (i) => examples.x.subarray(i * width, (i + 1) * width);

  const z = new Float64Array(spec.dim);
  let chosen = null;
  const redraw = () => {
    const x = decode(z);
    if (spec.shape) {
      paint(canvas, x);
      if (beside) beside.parentElement.hidden = chosen === null;
      if (beside && chosen !== null) paint(beside, exampleX(chosen));
    } else bars(canvas, x, chosen === null ? null : exampleX(chosen));
  };

  // ---- controls -----------------------------------------------------------------------------------------
  const controls = make("div", { className: "controls" });
  const refresh = [];
  const sync = () => { refresh.forEach((f) => f()); redraw(); };
  const sub = (n) => String(n).replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d]);
  const used = (d) => (spec.use ? `${spec.use.values[d].toFixed(2)}` : "");

  const slider = (d) => {
    const input = make("input", { type: "range", min: -spec.reach, max: spec.reach, step: 0.01 });
    input.dataset.dim = d;
    const value = make("output");
    const label = make("label", {}, make("span", { textContent: "z" + sub(d + 1) }), input, value);
    if (spec.use) label.append(make("small", { textContent: used(d), title: spec.use.unit }));
    input.addEventListener("input", () => { z[d] = spec.center[d] + spec.scale[d] * input.value; sync(); });
    refresh.push(() => { input.value = (z[d] - spec.center[d]) / spec.scale[d]; value.textContent = z[d].toFixed(2); });
    return label;
  };
  const toggle = (d) => {
    const button = make("button", { type: "button", textContent: "z" + sub(d + 1) });
    button.dataset.dim = d;
    button.addEventListener("click", () => { z[d] = 1 - z[d]; sync(); });
    refresh.push(() => button.setAttribute("aria-pressed", z[d] === 1));
    return button;
  };
  const choice = (block) => {
    const size = spec.dim / spec.blocks, row = make("div", { className: "choice" });
    if (spec.blocks > 1) row.append(make("span", { textContent: "z" + sub(block + 1) }));
    for (let k = 0; k < size; k++) {
      const d = block * size + k, button = make("button", { type: "button", textContent: String(k + 1) });
      button.dataset.dim = d;
      button.addEventListener("click", () => { z.fill(0, block * size, (block + 1) * size); z[d] = 1; sync(); });
      refresh.push(() => button.setAttribute("aria-pressed", z[d] === 1));
      row.append(button);
    }
    return row;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const start = (random) => {
    if (spec.kind === "continuous") z.forEach((_, d) => (z[d] = spec.center[d] + (random ? spec.scale[d] * normal() : 0)));
    else if (spec.kind === "binary") z.forEach((_, d) => (z[d] = random && Math.random() < 0.5 ? 1 : 0));
    else {
      const size = spec.dim / spec.blocks;
      z.fill(0);
      for (let b = 0; b < spec.blocks; b++) z[b * size + (random ? Math.floor(Math.random() * size) : 0)] = 1;
    }
    chosen = null;
    sync();
  };

  if (spec.kind === "continuous") {
    const dims = spec.grid ? spec.grid.axes : spec.order;
    if (spec.use) controls.append(make("p", { className: "hint", textContent: `right-hand number: ${spec.use.unit === "nats" ? "KL of the dimension, nats per datum" : "variance of the posterior means"}` }));
    dims.slice(0, spec.sliders).forEach((d) => controls.append(slider(d)));
    if (dims.length > spec.sliders) {
      const more = make("details", {}, make("summary", { textContent: `${dims.length - spec.sliders} less used dimensions` }));
      dims.slice(spec.sliders).forEach((d) => more.append(slider(d)));
      controls.append(more);
    }
  } else if (spec.kind === "binary") {
    const row = make("div", { className: "choice" });
    for (let d = 0; d < spec.dim; d++) row.append(toggle(d));
    controls.append(row);
  } else for (let b = 0; b < spec.blocks; b++) controls.append(choice(b));

  const press = (text, action) => {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", action);
    return button;
  };
  const first = spec.kind === "continuous" ? "prior mean" : spec.kind === "binary" ? "all zero" : "first category";
  controls.append(make("div", { className: "choice" }, press(first, () => start(false)), press("random z", () => start(true))));
  if (examples) {
    const row = make("div", { className: "examples" });
    examples.rows.forEach((number, i) => {
      const title = `row ${number + 1}${examples.labels[i] ? ", label " + examples.labels[i] : ""}`;
      const button = make("button", { type: "button", title });
      button.dataset.example = i;
      if (spec.shape) { const thumb = make("canvas"); paint(thumb, exampleX(i)); button.append(thumb); }
      else button.textContent = String(number + 1);
      button.addEventListener("click", () => {
        for (let d = 0; d < spec.dim; d++) z[d] = examples.z[i * spec.dim + d];
        chosen = i;
        sync();
      });
      refresh.push(() => button.setAttribute("aria-pressed", chosen === i));
      row.append(button);
    });
    controls.append(make("p", { className: "hint", textContent: "start from a row of data:" }), row);
  }

  const pictures = make("div", { className: "pictures" });
  const framed = (node, text) => make("figure", {}, node, make("figcaption", { textContent: text }));
  if (spec.shape) {
    pictures.append(framed(canvas, "E[x | z]"));
    if (beside) pictures.append(framed(beside, "the row it began from"));
  } else pictures.append(framed(canvas, "E[x | z], each column within the data's range" + (examples ? "; red: the row it began from" : "")));
  host.append(pictures, controls);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.jensen = { decode: (v) => Array.from(decode(v)), z };
  if (examples) host.querySelector("[data-example]").click();
  else start(false);
})();
