/* One choice of a measure, and of a pair of groups, for all figures of a page. */
(function () {
  "use strict";

  var measure = document.getElementById("measure"), FIRST = "valence";

  function pairOf(box) {
    var select = document.getElementById(box.dataset.figure + "-pair");
    return select ? select.value : "0";
  }

  function frameOf(figure, pair) {
    var frames = figure.frames || [];
    function named(name) { return frames.find(function (one) { return one.name === name; }); }
    return named(measure.value) || named(measure.value + "/" + pair) || named(FIRST) || named(FIRST + "/" + pair);
  }

  function boxOf(figure) {
    return Array.prototype.find.call(document.querySelectorAll("[data-figure]"), function (box) {
      return box.figure === figure;
    });
  }

  window.figureTraces = function (figure) {
    var box = boxOf(figure), frame = frameOf(figure, box ? pairOf(box) : "0");
    var data = figure.data.map(function (trace) { return Object.assign({}, trace); });
    if (frame) frame.traces.forEach(function (index, k) { Object.assign(data[index], frame.data[k]); });
    return data;
  };

  function title(box) {
    var frame = frameOf(box.figure, pairOf(box));
    if (frame && Object.keys(frame.layout).length) Plotly.relayout(box, frame.layout);
  }

  function change() {
    window.redrawFigures();
    document.querySelectorAll('[data-state="drawn"]').forEach(title);
  }

  document.querySelectorAll(".controls[hidden]").forEach(function (one) { one.hidden = false; });
  document.querySelectorAll(".controls select").forEach(function (select) {
    select.addEventListener("change", change);
  });
  document.addEventListener("figure-drawn", function (event) { title(event.target); });
})();
