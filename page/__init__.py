"""The parts of the page: what it says, draws and remembers. HTML, CSS, JavaScript; no decoding, no model."""
