"""All that makes and measures weights."""
