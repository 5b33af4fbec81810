// Sorting of tables, and the choice of what the spike maps show.
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    heads.forEach(each => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.key;
    const order = (a, b) => isNaN(key(a)) || isNaN(key(b)) ? key(a).localeCompare(key(b)) : key(a) - key(b);
    [...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b)).forEach(row => body.append(row));
  }));
});

const layerBox = document.getElementById("map-layer"), timeBox = document.getElementById("map-time");
const channelBox = document.getElementById("map-channel");
const decoded = new Map();
function bytes(layer) {
  if (!decoded.has(layer)) decoded.set(layer, Uint8Array.from(atob(layer.bits), c => c.charCodeAt(0)));
  return decoded.get(layer);
}
function style(title, x, y, square) {
  return {title: {text: title, font: {size: 13}}, height: 360, margin: {l: 45, r: 10, t: 40, b: 40},
          xaxis: {title: {text: x}}, template: "plotly_white",
          yaxis: {title: {text: y}, autorange: "reversed", ...(square ? {scaleanchor: "x", constrain: "domain"} : {})}};
}
function heat(id, z, layout, zmax) {
  Plotly.react(id, [{type: "heatmap", z: z, zmin: 0, zmax: zmax, showscale: false,
                     colorscale: [[0, "#f4f7fa"], [1, "#08306b"]]}], layout, {displaylogo: false, responsive: true});
}
function show() {
  const layer = REPORT.layers[layerBox.value], [T, C, H, W] = layer.shape, data = bytes(layer);
  const t = +timeBox.value, only = channelBox.value, N = H * W;
  const raster = [], tokens = Array.from({length: H}, () => new Array(W).fill(0));
  let count = 0;
  for (let c = 0; c < C; c++) {
    const row = new Uint8Array(N);
    for (let n = 0; n < N; n++) {
      const bit = (t * C + c) * N + n;
      row[n] = data[bit >> 3] >> (7 - (bit & 7)) & 1;
      count += row[n];
      if (only === "all" || +only === c) tokens[Math.floor(n / W)][n % W] += row[n];
    }
    raster.push(Array.from(row));
  }
  document.getElementById("map-now").textContent = `${t} (0 to ${T - 1})`;
  document.getElementById("map-count").textContent =
    `${count.toLocaleString("en")} spikes of ${(C * N).toLocaleString("en")} (${(100 * count / (C * N)).toFixed(2)} %)`;
  heat("map-raster", raster, style("Raster: channel by token", "token", "channel", false), 1);
  heat("map-tokens", tokens, style(only === "all" ? "Token map: channels that fire" : `Token map of channel ${only}`, "x", "y", true),
       Math.max(1, ...tokens.flat()));
}
function choose() {
  const [T, C] = REPORT.layers[layerBox.value].shape;
  timeBox.max = T - 1;
  if (+timeBox.value >= T) timeBox.value = 0;
  channelBox.replaceChildren(new Option("all", "all"), ...Array.from({length: C}, (_, c) => new Option(c, c)));
  show();
}
REPORT.layers.forEach((layer, index) => layerBox.append(new Option(layer.name, index)));
layerBox.addEventListener("change", choose);
timeBox.addEventListener("input", show);
channelBox.addEventListener("change", show);
heat("map-image", REPORT.image, style("Input", "x", "y", true), Math.max(1, ...REPORT.image.flat()));
choose();
