"""Running a plan: its batches become runs. The conductor is the program of the plan's own run, so a plan is
started, watched, paused and cancelled like any run.
"""
