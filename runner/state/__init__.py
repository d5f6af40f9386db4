"""EDGE disk: the run folder, its manifest, its events and the index over all of them."""
