// A picture of the case is asked for, and saved as it arrives. Paper is the browser's: print.html.
element.addEventListener("click", (event) => {
  if (event.target.closest(".print")) window.print();
  if (!event.target.closest(".save") || props.status === props.waiting) return;
  props.status = props.waiting;
  trigger("select");
});
watch("value", () => {
  if (!props.value) return;
  const link = document.createElement("a");
  link.href = props.value;
  link.download = "report.png";
  link.click();
  props.value = "";
});
