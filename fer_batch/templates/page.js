/* Draws the figures of a page when they come near the screen, in the page's own colours, and makes the legend a switch.
   Everything that must be readable without this script is in the HTML. A page's own script, loaded before this one, may
   choose the traces of a figure (window.figureTraces) and have all figures drawn anew (window.redrawFigures). */
(function () {
  "use strict";

  var CONFIG = {
    responsive: true,
    displaylogo: false,
    // Named one by one: Plotly's own choice has a button that sends the data to its cloud.
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };
  var drawn = [];

  function config(box) {
    return Object.assign({}, CONFIG, { displayModeBar: box.classList.contains("full") });
  }

  function style(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function colours() {
    return {
      "font.color": style("--text"),
      "hoverlabel.bgcolor": style("--panel"),
      "hoverlabel.bordercolor": style("--muted"),
      "hoverlabel.font.color": style("--text"),
      "modebar.bgcolor": "rgba(0,0,0,0)",
      "modebar.color": style("--muted"),
      "modebar.activecolor": style("--text"),
    };
  }

  function forScreen(layout, width) {
    layout.hoverlabel = { align: "left" };
    if (width < 560 && layout.xaxis && layout.xaxis.type === "date") layout.xaxis.nticks = 5;
    // A finger that draws over a figure wants to scroll the page, not to zoom.
    if (window.matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
    Object.entries(colours()).forEach(function (entry) {
      var keys = entry[0].split("."), place = layout;
      keys.slice(0, -1).forEach(function (key) { place = place[key] = place[key] || {}; });
      place[keys[keys.length - 1]] = entry[1];
    });
    return layout;
  }

  function traces(figure) {
    var hidden = hiddenEmotions();
    return (window.figureTraces ? window.figureTraces(figure) : figure.data).map(function (trace) {
      var shown = Object.assign({}, trace);
      if (trace.meta === "emotion") shown.visible = hidden.indexOf(trace.name) < 0;
      // These have no colour of their own: they are written in the page's ink.
      if (trace.meta === "ink") {
        ["line", "marker", "error_x"].forEach(function (part) {
          if (trace[part]) shown[part] = Object.assign({}, trace[part], { color: style("--text") });
        });
      }
      return shown;
    });
  }

  /* Figures hold equal arrays once; where one comes again stands its number. */
  function parsed(text) {
    var arrays = [];
    return JSON.parse(text, function (_key, value) {
      if (value === null || typeof value !== "object") return value;
      if (value.bdata !== undefined) arrays.push(value);
      return value.same === undefined ? value : arrays[value.same];
    });
  }

  function draw(box) {
    if (drawn.indexOf(box) >= 0 || !window.Plotly) return;
    drawn.push(box);
    box.figure = parsed(document.getElementById(box.dataset.figure).textContent);
    box.textContent = "";
    // When the window changes, Plotly forgets the layout's height and takes that of the box.
    if (box.figure.layout.height) {
      box.dataset.height = box.figure.layout.height;
      box.style.height = box.dataset.height + "px";
    }
    var layout = forScreen(box.figure.layout, box.clientWidth);
    Plotly.newPlot(box, traces(box.figure), layout, config(box)).then(function () {
      box.dataset.state = "drawn";
      box.dispatchEvent(new CustomEvent("figure-drawn", { bubbles: true }));
    });
  }

  function redraw() {
    drawn.forEach(function (box) {
      if (box.layout) Plotly.react(box, traces(box.figure), box.layout, config(box));
    });
  }
  window.redrawFigures = redraw;

  function hiddenEmotions() {
    return Array.prototype.map.call(
      document.querySelectorAll('.legend button[aria-pressed="false"]'),
      function (button) { return button.dataset.emotion; });
  }

  /* For paper: a width, null for the screen's own, and the share of the figure's height. */
  function resize(box, width, share) {
    var height = share * parseFloat(box.dataset.height), change = { width: width };
    if (height) {
      box.style.height = height + "px";
      change.height = height;
    }
    if (width === null) change.autosize = true;
    Plotly.relayout(box, change);
  }

  function recolour() {
    redraw();
    drawn.forEach(function (box) { Plotly.relayout(box, colours()); });
  }

  var boxes = Array.prototype.slice.call(document.querySelectorAll("[data-figure]"));
  if ("IntersectionObserver" in window) {
    var watcher = new IntersectionObserver(function (seen) {
      seen.forEach(function (one) {
        if (one.isIntersecting) { watcher.unobserve(one.target); draw(one.target); }
      });
    }, { rootMargin: "400px" });
    boxes.forEach(function (box) { watcher.observe(box); });
  } else {
    boxes.forEach(draw);
  }

  document.querySelectorAll(".legend button").forEach(function (button) {
    button.disabled = false;
    button.addEventListener("click", function () {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "true" ? "false" : "true");
      redraw();
    });
  });

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  window.addEventListener("beforeprint", function () {
    boxes.forEach(draw);
    recolour();
    drawn.forEach(function (box) { resize(box, 680, box.classList.contains("full") ? 0.8 : 1); });
  });
  window.addEventListener("afterprint", function () {
    recolour();
    drawn.forEach(function (box) { resize(box, null, 1); });
  });
})();
