"""How fast the queue is, next to what could be used in its place.

``python -m benchmarks`` measures everything on every Python of the machine and
writes the results and the plots for the docs; ``python -m benchmarks.cycle``
prints the handful of ratios that matter most, in half a minute.

Nothing here compares times of different runs. Rivals take turns of a
millisecond or so in one process, and what is kept is the ratio of turns that
were neighbours (`measure.py`).
"""
