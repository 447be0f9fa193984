"use strict";
/* Tables that a reader can sort and filter. Without this script they are plain tables, and whole.

   A table of the class "sortable" gets a button in each heading and a field that keeps the rows with some
   words. A heading with data-choose gets a list of the values of its column as well. A cell is ordered by its
   data-value, or else by its text; a column is one of numbers when all its cells are. */

(() => {
  let count = 0;

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  const text = (cell) => (cell.dataset.value ?? cell.textContent).trim();

  /** The number in a cell; null where it has none. */
  function number(cell) {
    const words = text(cell).replaceAll(",", "").replace("−", "-");
    return words === "" || Number.isNaN(Number(words)) ? null : Number(words);
  }

  function start(table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const name = table.caption?.textContent.trim() ?? "table";
    const id = `board-${count++}`;
    const numeric = heads.map((_, n) =>
      rows.every((row) => text(row.cells[n]) === "" || number(row.cells[n]) !== null)
    );
    const chosen = new Map(); // column -> the value that rows must have

    const field = element("input", { id: `${id}-words`, type: "search", autocomplete: "off", oninput: filter });
    const status = element("span", { role: "status", "aria-live": "polite" });
    const bar = element(
      "div",
      { class: "board-bar", role: "group", "aria-label": `Filter: ${name}` },
      element("label", { for: field.id }, "Filter"),
      field
    );
    heads.forEach((head, n) => {
      if (!("choose" in head.dataset)) return;
      const values = [...new Set(rows.map((row) => text(row.cells[n])))].filter(Boolean).sort();
      if (values.length < 2) return;
      const list = element(
        "select",
        { id: `${id}-${n}`, onchange: () => (chosen.set(n, list.value), filter()) },
        element("option", { value: "" }, "all"),
        ...values.map((value) => element("option", { value }, value))
      );
      bar.append(element("label", { for: list.id }, head.textContent.trim()), list);
    });
    bar.append(status);

    function filter() {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const line = row.textContent.toLowerCase();
        row.hidden =
          !words.every((word) => line.includes(word)) ||
          [...chosen].some(([n, value]) => value && text(row.cells[n]) !== value);
        if (!row.hidden) shown++;
      }
      status.textContent = `${shown} of ${rows.length} rows`;
    }

    function sort(n) {
      const head = heads[n];
      // Numbers begin with the largest, words with A; rows without a value stay last.
      const first = numeric[n] ? "descending" : "ascending";
      const other = numeric[n] ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      const sign = order === "ascending" ? 1 : -1;
      const value = numeric[n] ? (row) => number(row.cells[n]) : (row) => text(row.cells[n]) || null;
      const before = numeric[n] ? (a, b) => a - b : (a, b) => a.localeCompare(b);
      const key = new Map(rows.map((row) => [row, value(row)]));
      rows.sort((a, b) => {
        const [x, y] = [key.get(a), key.get(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * before(x, y);
      });
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      body.append(...rows);
    }

    heads.forEach((head, n) => {
      const button = element("button", { type: "button", onclick: () => sort(n) }, ...head.childNodes);
      head.replaceChildren(button);
    });
    const box = table.closest(".board-box") ?? table;
    box.before(bar);
    filter();
  }

  document.querySelectorAll("table.sortable").forEach(start);
  // A box that scrolls must be reachable by keyboard; one that does not need not be.
  document.querySelectorAll(".board-box").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", box.querySelector("caption")?.textContent ?? "table");
    }
  });
})();
