// The address holds what is open, so that a copied one opens it again: ?tab=about, ?example=NAME. After dropzone.js.
const setQuery = (query) => history.replaceState(history.state, "", location.pathname + query);
const tabs = () => [...document.querySelectorAll("#tabs [role=tab]")];
const examples = () => [...document.querySelectorAll("#examples .grid-container button")];
const asked = new URLSearchParams(location.search);
const open = () => {
  if (asked.get("tab") === "about") return tabs().at(-1);
  return examples()[props.names.indexOf(asked.get("example"))];
};
if (asked.has("example") && !props.names.includes(asked.get("example")))
  props.value = problem(asked.get("example"), props.no_such_example);
else if (asked.get("tab") === "about" || asked.has("example")) {
  const wait = setInterval(() => {  // Gradio is still building them
    if (!open()) return;
    clearInterval(wait);
    open().click();
  }, 50);
}
document.addEventListener("click", (event) => {
  const tab = event.target.closest("#tabs [role=tab]"), example = event.target.closest("#examples .grid-container button");
  if (tab) setQuery(tab === tabs().at(-1) ? "?tab=about" : "");
  if (example) setQuery(`?example=${props.names[examples().indexOf(example)]}`);
});
for (const sent of ["change", "drop"])
  document.addEventListener(sent, (event) => { if (zone()?.contains(event.target)) setQuery(""); }, true);
