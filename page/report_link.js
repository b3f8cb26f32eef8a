// A report is asked for, and saved as it arrives.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-kind]");
  if (!button || props.said === props.waiting) return;
  props.said = props.waiting;
  trigger("select", {kind: button.dataset.kind});
});
watch("value", () => {
  if (!props.value) return;
  const [head, content] = props.value.split(",");
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt());
  const kind = head.slice("data:".length, head.indexOf(";"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], {type: kind}));
  link.download = `report.${kind.split("/")[1]}`;
  link.click();
  URL.revokeObjectURL(link.href);
  props.value = "";
});
