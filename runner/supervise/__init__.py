"""One process per run: begins a run, or takes one over whose owner is gone; sees it to its end."""
