"""A plan, carried out: its batches become runs, one after the other or side by side.

The conductor is the program of a plan's own run, so a plan is started, watched, paused and cancelled as any
other run is. What it knows stands in that run's folder, and whoever goes on with the plan reads it there.
"""
