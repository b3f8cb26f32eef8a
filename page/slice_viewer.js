// The position in a volume: the chart answers to mouse and touch, the slider to the keyboard too.
const go = (slice) => { props.value = Math.min(props.count, Math.max(1, slice)); };
const follow = (event) => {
  const box = element.querySelector(".chart").getBoundingClientRect();
  go(1 + Math.floor((event.clientX - box.left) / box.width * props.count));
};
let following = false;
element.addEventListener("pointerdown", (event) => {
  const chart = event.target.closest(".chart");
  if (!chart) return;
  following = true;
  chart.setPointerCapture(event.pointerId);
  follow(event);
});
element.addEventListener("pointermove", (event) => { if (following) follow(event); });
for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { following = false; });
element.addEventListener("input", (event) => go(Number(event.target.value)));
element.addEventListener("click", (event) => {
  const suspect = event.target.closest("[data-slice]");
  if (suspect) go(Number(suspect.dataset.slice));
});
