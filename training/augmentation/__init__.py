"""How training images are varied on the device, and how probes strip them."""
