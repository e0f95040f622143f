"""Grids: one file that names several values of some options of a run, and the runs of all their combinations.

`grid_file` reads the file, `grid_plan` makes plans of it, `grid_estimate` says what they take, `grid_run` executes
them, and `members` remembers which stored runs belong to a grid.
"""
