"use strict";
/* Films picked by a reader, and the ten that each of three models recommends, with the reasons.

   The weights come from films.js, which the run of the chapter on autoencoders writes; recsys_lib/web.py
   explains its format. Everything happens on the page. */

(() => {
  const LENGTH = 10;
  const LEVELS = 45;

  // ------------------------------------------------------------------ the models

  /** Weights from characters: see recsys_lib/web.py. */
  function unpack(characters) {
    const values = new Float64Array(characters.length);
    for (let i = 0; i < characters.length; i++) {
      const code = characters.charCodeAt(i);
      const q = code - (code > 92 ? 1 : 0) - 35 - LEVELS;
      values[i] = (q * Math.abs(q)) / LEVELS ** 2;
    }
    return values;
  }

  /** The sum over all x of a matrix's row times a vector; one sum for each row. */
  function multiply(table, vector) {
    const width = vector.length;
    return Float64Array.from(table.bias, (start, row) => {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += table.weights[row * width + i] * vector[i];
      return start + table.scales[row] * sum;
    });
  }

  const positive = (vector) => vector.map((value) => Math.max(0, value));

  class Popularity {
    constructor(data) {
      this.counts = data.counts;
    }
    scores() {
      return this.counts;
    }
    reasons() {
      return null;
    }
  }

  class Ease {
    constructor({ given, asked, weights }) {
      this.given = given;
      this.asked = asked;
      this.weights = unpack(weights);
    }
    /** How much having film i adds to the score of film j. */
    weight(i, j) {
      if (i === j) return 0;
      const [low, high] = i < j ? [i, j] : [j, i];
      const above = (low * (2 * this.given.length - low - 1)) / 2; // entries in the rows above
      return this.given[i] * this.asked[j] * this.weights[above + high - low - 1];
    }
    scores(picks) {
      return this.asked.map((_, j) => picks.reduce((sum, i) => sum + this.weight(i, j), 0));
    }
    reasons(picks, films) {
      return films.map((j) => picks.map((i) => this.weight(i, j)));
    }
  }

  class Autoencoder {
    constructor(tables) {
      for (const name of ["first", "middle", "last"]) {
        this[name] = { ...tables[name], weights: unpack(tables[name].weights) };
      }
    }
    /** The code of a list of films: what the last layer makes scores of. */
    code(picks) {
      const { weights, scales, bias } = this.first;
      const sum = Float64Array.from(bias);
      for (const film of picks) {
        for (let d = 0; d < sum.length; d++) sum[d] += scales[film] * weights[film * sum.length + d];
      }
      return positive(multiply(this.middle, positive(sum)));
    }
    scores(picks) {
      return multiply(this.last, this.code(picks));
    }
    /** How much the score of each film falls when one pick is left out. */
    reasons(picks, films) {
      const width = this.middle.bias.length;
      const part = {
        bias: films.map((film) => this.last.bias[film]),
        scales: films.map((film) => this.last.scales[film]),
        weights: films.flatMap((film) => [...this.last.weights.subarray(film * width, (film + 1) * width)]),
      };
      const whole = multiply(part, this.code(picks));
      const without = picks.map((left) => multiply(part, this.code(picks.filter((film) => film !== left))));
      return films.map((_, n) => without.map((scores) => whole[n] - scores[n]));
    }
  }

  const MODELS = {
    net: { name: "Autoencoder", make: (data) => new Autoencoder(data.net) },
    ease: { name: "EASE", make: (data) => new Ease(data.ease) },
    popularity: { name: "Popularity", make: (data) => new Popularity(data) },
  };

  class Recommender {
    constructor(data) {
      this.data = data;
      this.made = {};
    }
    /** The model of that name; its weights are unpacked when it is first asked. */
    model(name) {
      return (this.made[name] ??= MODELS[name].make(this.data));
    }
    /** The best films that are not among the picks; among equal scores the lower number comes first. */
    recommend(name, picks, length = LENGTH) {
      // Of those of whom nothing is known, only the most popular can be said: as in the library.
      const scores = this.model(picks.length ? name : "popularity").scores(picks);
      const taken = new Set(picks);
      const films = [...this.data.titles.keys()].filter((film) => !taken.has(film));
      films.sort((a, b) => scores[b] - scores[a] || a - b);
      return films.slice(0, length).map((film) => ({ film, score: scores[film] }));
    }
  }

  // ------------------------------------------------------------------ titles

  /** Small letters without accents, so that "amelie" finds "Amélie". */
  const plain = (text) =>
    text
      .normalize("NFD")
      .replace(/\p{M}/gu, "")
      .toLowerCase();

  /** Films whose title has all the words; those first that begin so, then those that more people saw. */
  function search(data, text, taken, length = 8) {
    const words = plain(text).split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    data.plain ??= data.titles.map(plain);
    const begins = (film) => (data.plain[film].startsWith(words.join(" ")) ? 1 : 0);
    return [...data.titles.keys()]
      .filter((film) => !taken.includes(film) && words.every((word) => data.plain[film].includes(word)))
      .sort((a, b) => begins(b) - begins(a) || data.counts[b] - data.counts[a])
      .slice(0, length);
  }

  // ------------------------------------------------------------------ the page

  /** An element with attributes and children. Text stays text: no markup is ever read from it. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

  const NOTES = {
    net: "The number beside a film of yours says how much the score falls when it is left out.",
    ease: "The number beside a film of yours is what it adds to the score.",
    popularity: "The same list for everybody, without the films that you picked.",
    nobody: "Nothing is known of you yet, so all three models show what most people saw.",
  };

  /** The widget within one element of the page. */
  function start(root, recommender, number) {
    const { data } = recommender;
    const id = (name) => `film-search-${number}-${name}`;
    const picks = [];
    let model = "net";
    let found = [];
    let active = -1;

    const input = element("input", {
      id: id("input"),
      type: "text",
      role: "combobox",
      autocomplete: "off",
      spellcheck: "false",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": id("options"),
      oninput: () => {
        open(search(data, input.value, picks));
        if (input.value.trim()) {
          status.textContent = found.length ? `${found.length} films found.` : "No film found.";
        }
      },
      onkeydown: press,
      onblur: close,
    });
    const options = element("ul", {
      id: id("options"),
      role: "listbox",
      "aria-label": "Films found",
      hidden: "",
      // The field keeps the focus, so that the list stays open until the click has ended.
      onmousedown: (event) => event.preventDefault(),
    });
    const chosen = element("ul", { class: "film-search-picks", "aria-label": "Films you picked" });
    const choice = element("fieldset", {}, element("legend", {}, "The model"));
    for (const [name, { name: label }] of Object.entries(MODELS)) {
      const radio = element("input", {
        type: "radio",
        name: id("model"),
        value: name,
        onchange: () => {
          model = name;
          show();
        },
      });
      radio.checked = name === model;
      choice.append(element("label", {}, radio, ` ${label}`));
    }
    const list = element("ol", { class: "film-search-list", "aria-label": "Recommended films" });
    const note = element("p", { class: "film-search-note" });
    const status = element("p", { role: "status", "aria-live": "polite", class: "film-search-status" });

    function open(films) {
      found = films;
      active = -1;
      options.replaceChildren(
        ...films.map((film, n) =>
          element(
            "li",
            { id: id(`option-${n}`), role: "option", "aria-selected": "false", onclick: () => pick(film) },
            data.titles[film]
          )
        )
      );
      options.hidden = !films.length;
      input.setAttribute("aria-expanded", String(films.length > 0));
      input.removeAttribute("aria-activedescendant");
    }

    function close() {
      open([]);
    }

    function move(to) {
      active = (to + found.length) % found.length;
      [...options.children].forEach((one, n) => one.setAttribute("aria-selected", String(n === active)));
      input.setAttribute("aria-activedescendant", id(`option-${active}`));
      options.children[active].scrollIntoView({ block: "nearest" });
    }

    function press(event) {
      const { key } = event;
      if (key === "ArrowDown" || key === "ArrowUp") {
        if (!found.length) open(search(data, input.value, picks));
        if (found.length) move(key === "ArrowDown" ? active + 1 : Math.max(active, 0) - 1);
      } else if (key === "Enter" && found.length) {
        pick(found[Math.max(active, 0)]);
      } else if (key === "Escape") {
        if (found.length) close();
        else input.value = "";
      } else {
        return;
      }
      event.preventDefault();
    }

    function pick(film) {
      picks.push(film);
      input.value = "";
      close();
      show();
    }

    function remove(film) {
      picks.splice(picks.indexOf(film), 1);
      show();
      input.focus(); // the button that had the focus is gone
    }

    function because(film, values) {
      if (!values) return `${data.counts[film]} people saw it`;
      const best = values
        .map((value, n) => ({ value, title: data.titles[picks[n]] }))
        .filter(({ value }) => value >= 0.005)
        .sort((a, b) => b.value - a.value)
        .slice(0, 3);
      if (!best.length) return "none of your films speaks for it";
      return `because of ${best.map(({ title, value }) => `${title} ${signed(value)}`).join(", ")}`;
    }

    function show() {
      chosen.replaceChildren(
        ...picks.map((film) =>
          element(
            "li",
            {},
            data.titles[film],
            element("button", {
              type: "button",
              "aria-label": `Remove ${data.titles[film]}`,
              onclick: () => remove(film),
            }, "×")
          )
        )
      );
      const ranked = recommender.recommend(model, picks).map(({ film }) => film);
      const reasons = picks.length ? recommender.model(model).reasons(picks, ranked) : null;
      list.replaceChildren(
        ...ranked.map((film, n) =>
          element(
            "li",
            { "data-film": film },
            element("span", { class: "film-search-title" }, data.titles[film]),
            " ",
            element("span", { class: "film-search-why" }, because(film, reasons?.[n]))
          )
        )
      );
      note.textContent = NOTES[picks.length ? model : "nobody"];
      status.textContent =
        `${MODELS[model].name}, ${picks.length} ${picks.length === 1 ? "film" : "films"} picked. ` +
        `First: ${ranked.slice(0, 3).map((film) => data.titles[film]).join("; ")}.`;
    }

    root.replaceChildren(
      element("label", { for: id("input") }, "Add films that you like"),
      element("div", { class: "film-search-field" }, input, options),
      chosen,
      choice,
      list,
      note,
      status
    );
    show();
  }

  const data = window.filmModels;
  const recommender = data && new Recommender(data);
  window.filmSearch = { recommender, search };
  document.querySelectorAll(".film-search").forEach((root, number) => {
    if (recommender) start(root, recommender, number);
    else root.textContent = "The trained models are not part of these pages: only a full run of the book adds them.";
  });
})();
