// Many scans: a click on a scan opens it, a click on a column's name sorts by it, a second one in reverse.
const sortBy = (header) => {
  const column = header.cellIndex;
  const order = header.ariaSort === "ascending" ? -1 : 1;
  for (const other of header.parentElement.cells) if (other.ariaSort) other.ariaSort = "none";
  header.ariaSort = order === 1 ? "ascending" : "descending";
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const compare = (a, b) => (a - b) || (isNaN(a - b) ? a.localeCompare(b, undefined, {numeric: true}) : 0);
  const body = element.querySelector("tbody");
  const rows = [...body.rows].sort((a, b) => order * compare(key(a), key(b)));
  body.append(...rows);
};
element.addEventListener("click", (event) => {
  const header = event.target.closest("th[aria-sort]");
  if (header) return sortBy(header);
  const scan = event.target.closest("[data-case]") ?? event.target.closest("tr")?.querySelector("[data-case]");
  if (scan) trigger("select", {case: Number(scan.dataset.case)});
});
