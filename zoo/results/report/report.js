"use strict";
// Tables sort by their headings; buttons, so that keys do what a click does.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const numeric = heading.classList.contains("n");
      const before = heading.getAttribute("aria-sort");
      const up = before === "none" ? !numeric : before === "descending";
      const rows = [...table.tBodies[0].rows];
      const read = (row) => {
        const cell = row.cells[column];
        return numeric ? (cell.dataset.value === "" ? null : Number(cell.dataset.value)) : cell.textContent;
      };
      const compare = (a, b) => {
        const [one, other] = [read(a), read(b)];
        // What is not known stays at the end.
        if (one === null || other === null) return (one === null) - (other === null);
        const order = numeric ? one - other : one.localeCompare(other, undefined, { numeric: true });
        return up ? order : -order;
      };
      table.tBodies[0].append(...rows.sort(compare));
      headings.forEach((each) => each.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    });
  });
}
// A link to a result opens it; paper has nothing to click on.
const open = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.closest("details")) {
    target.closest("details").open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", open);
open();
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
