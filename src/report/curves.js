(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("curve-data").textContent);
  const box = document.getElementById("curve-box"), legend = document.getElementById("curve-legend");
  const group = document.getElementById("curve-group"), measure = document.getElementById("curve-measure");
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#9a6fb8", "#8a8a8a"];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = i => dark.matches && i % colours.length === 0 ? "#3f9fe0" : colours[i % colours.length];  // as the page's own charts
  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const option = (select, value, text) => select.add(new Option(text, value));
  data.groups.forEach((g, i) => option(group, i, g.name));
  data.measures.forEach((name, i) => option(measure, i + 1, name));
  measure.value = String(data.first);
  // The library writes the names of the curves as markup.
  const safe = name => name.replace(/[&<>]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;"})[c]);
  let graph = null;
  function draw() {
    const runs = data.groups[group.value].runs, column = Number(measure.value);
    const steps = [...new Set(runs.flatMap(run => run.points.map(p => p[0])))].sort((a, b) => a - b);
    const values = runs.map(run => new Map(run.points.map(p => [p[0], p[column]])));
    const rows = steps.map(step => [step, ...values.map(of => of.has(step) ? of.get(step) : null)]);
    if (graph) graph.destroy();
    legend.textContent = "";
    if (rows.length === 0) return;
    graph = new Dygraph(box, rows, {
      labels: ["step", ...runs.map(run => safe(run.name))], colors: runs.map((run, i) => colour(i)),
      connectSeparatedPoints: true, drawPoints: true, pointSize: 2.5, strokeWidth: 2, highlightCircleSize: 5,
      highlightSeriesOpts: {strokeWidth: 3}, highlightSeriesBackgroundAlpha: 0.55, legend: "always", labelsDiv: legend,
      labelsSeparateLines: false, axisLabelColor: style("--text"), axisLineColor: style("--line"), gridLineColor: style("--line"),
      axisLabelFontSize: 12, xRangePad: 8, yRangePad: 8, digitsAfterDecimal: 4
    });
  }
  group.addEventListener("change", draw);
  measure.addEventListener("change", draw);
  dark.addEventListener("change", draw);
  document.getElementById("curve-panel").hidden = false;
  draw();
})();
