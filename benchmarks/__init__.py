"""How fast both builds of the queue are, next to what could be used in its place.

Nothing here compares times of different runs. Rivals take turns of a millisecond or so in one
process, and what is kept is the ratio of turns that were neighbours (`measure.py`).
"""
