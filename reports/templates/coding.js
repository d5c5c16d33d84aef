/* Codes faces one by one, by keys or buttons, keeps the answers in this browser, and saves them as CSV. */
(function () {
  "use strict";

  var data = JSON.parse(document.getElementById("data").textContent);
  var NAME = /^[\p{L}\p{N}][\p{L}\p{N}_ .\-]{0,39}$/u;
  var keys = {}, codes = {}, coder = "", at = 0;
  data.answers.forEach(function (answer) { keys[answer.key] = answer.code; });

  function part(id) { return document.getElementById(id); }
  function place() { return "fer-batch codes " + data.sample + " " + coder; }

  function load() {
    try {
      var kept = JSON.parse(window.localStorage.getItem(place()) || "{}");
      data.items.forEach(function (item) {
        if (data.answers.some(function (answer) { return answer.code === kept[item]; })) codes[item] = kept[item];
      });
    } catch (error) {
      part("unkept").hidden = false;
    }
  }

  function keep() {
    try {
      window.localStorage.setItem(place(), JSON.stringify(codes));
    } catch (error) {
      part("unkept").hidden = false;
    }
  }

  function firstUncoded(from) {
    for (var step = 0; step < data.items.length; step += 1) {
      var index = (from + step) % data.items.length;
      if (!(data.items[index] in codes)) return index;
    }
    return -1;
  }

  function csv() {
    // The name was checked: it holds nothing that CSV or a spreadsheet would read as more than text.
    var lines = data.items.map(function (item) { return [item, codes[item] || "", coder].join(","); });
    return ["item,code,coder"].concat(lines).join("\r\n") + "\r\n";
  }

  function show(index) {
    at = index;
    var item = data.items[at], coded = Object.keys(codes).length, total = data.items.length;
    part("missing").hidden = true;
    part("face").src = "images/" + item + ".jpg";
    if (data.strips) part("strip").src = "images/" + item + "-strip.jpg";
    if (at + 1 < total) new Image().src = "images/" + data.items[at + 1] + ".jpg";
    part("position").textContent = "Face " + (at + 1) + " of " + total;
    part("progress").value = coded;
    part("count").textContent = coded + " of " + total + " coded";
    part("done").hidden = coded < total;
    part("back").disabled = at === 0;
    part("forward").disabled = at === total - 1;
    part("uncoded").disabled = coded === total;
    part("clear").disabled = !(item in codes);
    part("text").value = csv();
    document.querySelectorAll("[data-code]").forEach(function (button) {
      button.setAttribute("aria-pressed", String(button.dataset.code === codes[item]));
    });
  }

  function answer(code) {
    codes[data.items[at]] = code;
    keep();
    if (at + 1 < data.items.length) return show(at + 1);
    var left = firstUncoded(0);
    show(left < 0 ? at : left);
  }

  function start(name) {
    coder = name;
    codes = {};
    load();
    part("welcome").hidden = true;
    part("work").hidden = false;
    part("coder").textContent = coder;
    show(Math.max(0, firstUncoded(0)));
    window.scrollTo(0, 0);
  }

  function save() {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "codes-" + coder.replace(/ /g, "-") + ".csv";
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 60000);
  }

  part("who").addEventListener("submit", function (event) {
    event.preventDefault();
    var name = String(new FormData(part("who")).get("coder") || "").trim().normalize("NFC");
    var isName = NAME.test(name);
    part("name-error").hidden = isName;
    part("name-error").textContent = isName ? "" : "Use letters, digits, spaces, dots and hyphens, at most 40.";
    if (isName) start(name);
  });

  document.querySelectorAll("[data-code]").forEach(function (button) {
    button.addEventListener("click", function () { answer(button.dataset.code); });
  });
  part("back").addEventListener("click", function () { show(at - 1); });
  part("forward").addEventListener("click", function () { show(at + 1); });
  part("uncoded").addEventListener("click", function () { show(firstUncoded(at)); });
  part("clear").addEventListener("click", function () { delete codes[data.items[at]]; keep(); show(at); });
  part("save").addEventListener("click", save);
  part("leave").addEventListener("click", function () {
    part("work").hidden = true;
    part("welcome").hidden = false;
  });
  part("face").addEventListener("error", function () { part("missing").hidden = false; });

  document.addEventListener("keydown", function (event) {
    // A key held down would code face after face unseen.
    if (part("work").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLTextAreaElement) return;
    if (event.key in keys) {
      answer(keys[event.key]);
    } else if (event.key === "ArrowLeft" && at > 0) {
      show(at - 1);
    } else if (event.key === "ArrowRight" && at + 1 < data.items.length) {
      show(at + 1);
    } else {
      return;
    }
    event.preventDefault();
  });
})();
