/* The report's own behaviour: a list of videos that sorts, filters and searches; figures of one track or of raw
   samples; peaks to jump to. Text from files is only ever set as text, never as HTML. */
(function () {
  "use strict";

  function at(id) { return document.getElementById(id); }
  function element(name, className, text) {
    var made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function clock(ms) {
    if (ms === null) return "\u2013";
    var s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60);
    function two(n) { return String(n).padStart(2, "0"); }
    return h ? h + ":" + two(m % 60) + ":" + two(s % 60) : m + ":" + two(s % 60);
  }
  function number(n) { return n === null ? "\u2013" : n.toLocaleString("en"); }

  // The list of videos

  function ledger(source) {
    var data = JSON.parse(source.textContent), C = {};
    data.columns.forEach(function (name, index) { C[name] = index; });
    var order = new Intl.Collator(undefined, { numeric: true });
    var body = document.querySelector(".ledger tbody");
    var state = { search: "", status: "", emotion: "", key: "status", down: false, page: 0 };
    var rows = data.rows, searched = rows.map(function (row) {
      var reason = row[C.reason] === null ? "" : data.reasons[row[C.reason]];
      return [data.folders[row[C.folder]] + row[C.name], row[C.code] || "", reason].join("\n").toLowerCase();
    });

    function chosen() {
      var words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
      var status = data.statuses.indexOf(state.status);
      var emotion = state.emotion === "none" ? null : data.emotions.indexOf(state.emotion);
      var found = [];
      rows.forEach(function (row, index) {
        if (state.status && row[C.status] !== status) return;
        if (state.emotion && row[C.emotion] !== emotion) return;
        if (!words.every(function (word) { return searched[index].indexOf(word) >= 0; })) return;
        found.push(index);
      });
      var key = C[state.key], sign = state.down ? -1 : 1;
      found.sort(function (i, j) {
        var a = rows[i][key], b = rows[j][key];
        if (a === b && state.key === "emotion") { a = -rows[i][C.share]; b = -rows[j][C.share]; }
        if (a === b) return i - j;
        if (a === null) return 1;  // what is unknown stands last either way
        if (b === null) return -1;
        if (typeof a === "string") return sign * order.compare(a, b);
        return sign * (a - b);
      });
      return found;
    }

    function cell(row, label, text, className, isEmpty) {
      var made = element("td", className + (isEmpty ? " none" : ""), text);
      if (label) made.dataset.label = label;
      row.appendChild(made);
      return made;
    }

    function strip(text) {
      var picture = element("span", "strip"), used = parseInt(text[0], 36), columns = (text.length - 1) / used;
      picture.setAttribute("role", "img");
      for (var layer = used - 1; layer >= 0; layer--) {
        var points = ["0 100%"], isSeen = false, last = -1;
        for (var column = 0; column < columns; column++) {
          var place = 1 + column * used + layer, top = parseInt(text[place], 36);
          isSeen = isSeen || top > (layer ? parseInt(text[place - 1], 36) : 0);
          var level = (100 - 100 * top / data.levels) + "%";
          if (last >= 0 && top !== last) points.push(100 * column / columns + "% " + (100 - 100 * last / data.levels) + "%");
          if (top !== last) points.push(100 * column / columns + "% " + level);
          last = top;
        }
        points.push("100% " + (100 - 100 * last / data.levels) + "%", "100% 100%");
        if (!isSeen) continue;
        var name = data.layers[layer];
        var area = element("i", data.emotions.indexOf(name) >= 0 ? "e-" + name : name);
        area.style.clipPath = "polygon(" + points.join(",") + ")";
        picture.appendChild(area);
      }
      return picture;
    }

    function line(row) {
      var status = data.statuses[row[C.status]], made = element("tr", status);
      var head = element("th", "name wide"), place = head;
      head.scope = "row";
      if (row[C.page]) {
        place = head.appendChild(element("a"));
        place.href = "videos/" + encodeURIComponent(row[C.page]) + ".html";
      }
      place.appendChild(element("bdi", "", row[C.name]));
      var folder = data.folders[row[C.folder]];
      if (folder) head.appendChild(element("div", "small muted")).appendChild(element("bdi", "", folder));
      if (row[C.original]) {
        var copy = head.appendChild(element("div", "small muted", "same content as "));
        copy.appendChild(element("bdi", "", row[C.original]));
      }
      if (row[C.reason] !== null) {
        var reason = head.appendChild(element("div", "reason"));
        reason.appendChild(element("b", "", row[C.code] || status));
        reason.appendChild(document.createTextNode(" "));
        reason.appendChild(element("bdi", "", data.reasons[row[C.reason]]));
      }
      made.appendChild(head);
      cell(made, "Status", undefined, "").appendChild(element("span", "chip " + status, status));
      cell(made, "Length", clock(row[C.length]), "r", row[C.length] === null);
      cell(made, "Faces", number(row[C.faces]), "r", row[C.faces] === null);
      cell(made, "Tracks", number(row[C.tracks]), "r", row[C.tracks] === null);
      cell(made, "Coverage", data.percents[row[C.coverage_read]], "r", row[C.coverage] === null);
      var mean = cell(made, "Highest mean", undefined, "mean", row[C.emotion] === null);
      if (row[C.emotion] === null) {
        mean.textContent = "\u2013";
      } else {
        var name = data.emotions[row[C.emotion]], words = element("span", "nowrap");
        words.appendChild(element("i", "swatch c-" + name)).setAttribute("aria-hidden", "true");
        words.appendChild(document.createTextNode(name + " "));
        words.appendChild(element("span", "muted", data.percents[row[C.share_read]]));
        mean.appendChild(words);
      }
      var last = cell(made, "", undefined, "wide", !row[C.strip]);
      if (row[C.strip]) {
        var picture = last.appendChild(strip(row[C.strip]));
        picture.setAttribute("aria-label", row[C.emotion] === null ? "No face was scored." :
          "A face in " + data.percents[row[C.coverage_read]] + " of the sampled time; highest mean " +
          data.emotions[row[C.emotion]] + ", " + data.percents[row[C.share_read]] + ".");
      }
      return made;
    }

    function none() {
      var row = element("tr", "nothing"), only = element("td", "wide", "No video matches.");
      only.colSpan = document.querySelectorAll(".ledger thead th").length;
      row.appendChild(only);
      return row;
    }

    function show() {
      var found = chosen(), pages = Math.max(1, Math.ceil(found.length / data.page));
      state.page = Math.min(state.page, pages - 1);
      var first = state.page * data.page, shown = found.slice(first, first + data.page);
      body.replaceChildren.apply(body, shown.length ? shown.map(function (index) { return line(rows[index]); }) : [none()]);
      at("matches").textContent = found.length === rows.length ? number(rows.length) + " videos" :
        number(found.length) + " of " + number(rows.length) + " videos";
      at("pager").hidden = pages < 2;
      at("place").textContent = number(first + 1) + "\u2013" + number(first + shown.length) + " of " + number(found.length);
      at("previous").disabled = state.page === 0;
      at("next").disabled = state.page === pages - 1;
      document.querySelectorAll(".ledger th[data-key]").forEach(function (head) {
        if (head.dataset.key === state.key) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      at("sort").value = state.key;
      // The button says what it does; the arrow in the table's head says how the list stands.
      at("direction").textContent = state.down ? "Sort ascending \u2191" : "Sort descending \u2193";
      at("direction").setAttribute("aria-label", state.down ? "Sort ascending; the list now descends" :
        "Sort descending; the list now ascends");
    }

    function change(values) { Object.assign(state, { page: 0 }, values); show(); }

    function turn(step) {
      state.page += step;
      show();
      at("videos").scrollIntoView();
    }

    document.querySelectorAll(".ledger th[data-key]").forEach(function (head) {
      var button = element("button", "sort", head.textContent);
      button.type = "button";
      head.dataset.title = head.textContent;  // a repeated head on paper shows no buttons, see report.css
      head.replaceChildren(button);
      button.addEventListener("click", function () {
        change({ key: head.dataset.key, down: state.key === head.dataset.key && !state.down });
      });
    });
    at("controls").addEventListener("submit", function (event) { event.preventDefault(); });
    at("search").addEventListener("input", function () { change({ search: this.value }); });
    at("by-status").addEventListener("change", function () { change({ status: this.value }); });
    at("by-emotion").addEventListener("change", function () { change({ emotion: this.value }); });
    at("sort").addEventListener("change", function () { change({ key: this.value }); });
    at("direction").addEventListener("click", function () { change({ down: !state.down }); });
    at("previous").addEventListener("click", function () { turn(-1); });
    at("next").addEventListener("click", function () { turn(1); });
    // A browser that comes back keeps what was typed.
    Object.assign(state, { search: at("search").value, status: at("by-status").value, emotion: at("by-emotion").value });
    at("controls").hidden = at("matches").hidden = false;
    document.querySelectorAll(".pager").forEach(function (pager) { if (!pager.id) pager.hidden = true; });
    show();
  }

  // The figures of a video

  var DAY = 86400000;
  var EMOTIONS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
  var WITHOUT = ["", "No face", "Faces too small", "Picture damaged", "This track not seen"];
  var who = "all", mode = "smooth", range = null, mark = null;

  function readings(packed) {
    var bytes = Uint8Array.from(atob(packed.bdata), function (character) { return character.charCodeAt(0); }), texts = [];
    for (var row = 0; row < bytes.length; row += 9) {
      var faces = bytes[row + 7], values = [];
      if (!faces) { texts.push(WITHOUT[bytes[row + 8]]); continue; }
      for (var i = 0; i < 7; i++) if (bytes[row + i]) values.push([bytes[row + i], EMOTIONS[i]]);
      values.sort(function (a, b) { return b[0] - a[0]; });
      var lines = values.map(function (pair) { return pair[1] + " " + pair[0] + "\u00a0%"; });
      texts.push(lines.concat(faces > 1 ? "mean of " + faces + " faces" : []).join("<br>"));
    }
    return texts;
  }

  window.figureTraces = function (figure) {
    var frames = figure.frames || [];
    var frame = frames.find(function (one) { return one.name === who + "/" + mode; }) ||
      frames.find(function (one) { return one.name === who; });
    var data = figure.data.map(function (trace) { return Object.assign({}, trace); });
    if (frame) frame.traces.forEach(function (index, k) { Object.assign(data[index], frame.data[k]); });
    var link = getComputedStyle(document.documentElement).getPropertyValue("--link").trim();
    data.forEach(function (trace) {
      if (trace.meta === "readings") { trace.text = readings(trace.customdata); delete trace.customdata; }
      if (trace.meta === "chosen") trace.line = Object.assign({}, trace.line, { color: link });
    });
    return data;
  };

  function figures() {
    return Array.prototype.filter.call(document.querySelectorAll("[data-figure]"), function (box) {
      return box.dataset.state === "drawn" && box.layout.xaxis.type === "date";
    });
  }

  function date(ms) { return new Date(ms + DAY).toISOString().replace("T", " ").replace("Z", ""); }

  function place(box) {
    var change = { "xaxis.range": (range || box.whole).slice() };
    if (box.dataset.figure === "figure-timeline") {
      var ink = getComputedStyle(document.documentElement).getPropertyValue("--text").trim();
      change.shapes = mark === null ? [] : [{ type: "line", xref: "x", yref: "paper", x0: date(mark), x1: date(mark),
        y0: 0, y1: 1, line: { color: ink, width: 1.5, dash: "dot" } }];
    }
    box.placing = true;
    Plotly.relayout(box, change).then(function () { box.placing = false; });
  }

  function placeAll() {
    figures().forEach(place);
    at("whole").disabled = range === null && mark === null;
  }

  function say() {
    var person = at("person"), raw = mode === "raw" ? "raw samples" : "smoothed";
    var whom = person ? person.options[person.selectedIndex].text : "all tracks";
    at("shown").textContent = who === "all" && mode === "smooth" ? "" : "Shown: " + whom + "; " + raw + ".";
  }

  function view(newWho, newMode) {
    var isNew = newWho !== who || newMode !== mode;
    who = newWho;
    mode = newMode;
    if (at("person")) at("person").value = who;
    at("raw").setAttribute("aria-pressed", String(mode === "raw"));
    say();
    if (isNew) window.redrawFigures();
  }

  function jump(button) {
    var track = button.dataset.track, time = Number(button.dataset.at);
    var from = Number(button.dataset.from), to = Number(button.dataset.to), room = 10000;
    var person = at("person");
    var isThere = person && Array.prototype.some.call(person.options, function (o) { return o.value === track; });
    var box = document.querySelector('[data-figure="figure-timeline"]');
    at("timeline").scrollIntoView();
    at("timeline").focus({ preventScroll: true });
    function go() {
      view(isThere ? track : "all", "smooth");
      var end = Date.parse(box.whole[1].replace(" ", "T") + "Z") - DAY;
      range = [date(Math.max(0, from - room)), date(Math.min(end, to + room))];
      mark = time;
      placeAll();
    }
    if (box.dataset.state === "drawn") go();
    else box.addEventListener("figure-drawn", go, { once: true });
  }

  function video() {
    at("views").hidden = false;
    if (at("person")) at("person").addEventListener("change", function () { view(this.value, mode); });
    if (at("raw")) {
      at("raw").addEventListener("click", function () { view(who, mode === "raw" ? "smooth" : "raw"); });
    }
    at("whole").addEventListener("click", function () { range = mark = null; placeAll(); });
    document.querySelectorAll(".jump").forEach(function (button) {
      button.disabled = false;
      button.addEventListener("click", function () { jump(button); });
    });
    document.addEventListener("figure-drawn", function (event) {
      var box = event.target;
      if (box.layout.xaxis.type !== "date") return;
      box.whole = box.layout.xaxis.range.slice();
      if (range) place(box);
      // All figures show the same time.
      box.on("plotly_relayout", function (change) {
        if (box.placing || !Object.keys(change).some(function (key) { return key.indexOf("xaxis.") === 0; })) return;
        range = box.layout.xaxis.range.map(String);
        if (range.join() === box.whole.join()) range = null;
        placeAll();
      });
    });
  }

  if (at("ledger-data")) ledger(at("ledger-data"));
  if (at("views")) video();
})();
