"""Weights and the page on their way to the Hub: what is sent, what is checked first, and what to do when it fails."""
