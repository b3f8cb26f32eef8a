// A file that is too large is named here and never sent; the others chosen with it are. A folder stands for its files.
const zone = () => document.querySelector("#upload");
const files = async (entry) => {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader(), found = [];
  for (let some = null; some === null || some.length; found.push(...some))  // a folder is listed in portions
    some = await new Promise((done, failed) => reader.readEntries(done, failed));
  return (await Promise.all(found.map(files))).flat();
};
const problem = (name, sentence) => {
  const box = document.createElement("div");
  box.className = "problem";
  box.setAttribute("role", "alert");
  const title = box.appendChild(document.createElement("b"));
  title.textContent = name.slice(0, 80);
  box.append(" ", sentence);
  return box.outerHTML;
};
const send = (chosen) => {
  const small = chosen.filter((file) => file.size <= props.limit);
  const large = chosen.filter((file) => file.size > props.limit);
  if (large.length) props.value = problem(large.length === 1 ? large[0].name : `${large.length} files`, props.too_large);
  if (!small.length) return;
  const kept = new DataTransfer();
  small.forEach((file) => kept.items.add(file));
  const input = zone().querySelector("input[type=file]");
  input.files = kept.files;
  input.dispatchEvent(new CustomEvent("change", {bubbles: true, detail: "checked"}));
};
document.addEventListener("change", (event) => {
  const chosen = [...event.target.files ?? []];
  if (event.detail === "checked" || !zone()?.contains(event.target)) return;
  if (chosen.every((file) => file.size <= props.limit)) return;
  event.stopImmediatePropagation();
  event.target.value = "";
  send(chosen);
}, true);
document.addEventListener("drop", async (event) => {
  if (!zone()?.contains(event.target)) return;
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...event.dataTransfer.files].every((file) => file.size <= props.limit);
  if (plain && !entries.some((entry) => entry.isDirectory)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const loose = entries.length ? [] : [...event.dataTransfer.files];
  send(loose.concat(...await Promise.all(entries.map(files))));
}, true);
document.addEventListener("paste", (event) => {
  const pasted = [...event.clipboardData?.files ?? []];
  if (!pasted.length || !zone()) return;
  event.preventDefault();
  document.querySelector("#tabs [role=tab]").click();  // the answer is shown in the first one
  send(pasted);
});
