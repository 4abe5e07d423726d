"""`make bench`: ratios against raw loops and foreign programs, taken in one run; absolute figures are no targets.

Each comparison (`rows.py`) has entrants: a server and a client, each in a process of its own (`process.py`). Rounds are
interleaved: in every round each entrant makes its operations once, in an order that rotates, and its ratio is taken
against the baseline of the same round; the table shows the median of the ratios with their quartiles. Two placements:
both processes on one CPU, or on two.
"""
