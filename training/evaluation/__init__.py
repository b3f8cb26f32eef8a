"""Trained weights measured: figures with intervals, plots, probes, comparisons, and the card that says it all."""
