// The opacity of the evidence, and figures that fill the screen. Nothing here asks the server.
const show = () => {
  const slider = element.querySelector(".opacity input");
  if (!slider) return;
  element.style.setProperty("--opacity", slider.value / 100);
  element.querySelector(".opacity output").textContent = `${slider.value} %`;
};
element.addEventListener("input", show);
watch("value", show);  // another slice: the slider stands where it stood
show();
element.addEventListener("click", (event) => {
  const figure = event.target.closest(".enlarge")?.closest("figure");
  if (figure) document.fullscreenElement ? document.exitFullscreen() : figure.requestFullscreen();
});
