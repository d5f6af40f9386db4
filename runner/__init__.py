"""Run agent CLIs in the background, and tell the truth about them."""
