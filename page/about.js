// The list of contents. Addresses on this page begin at the server's root, so that "#data" would load it anew.
element.addEventListener("click", (event) => {
  const link = event.target.closest("nav a");
  if (!link) return;
  event.preventDefault();
  const heading = element.querySelector(link.hash);
  heading.scrollIntoView();
  heading.focus({ preventScroll: true });
});
