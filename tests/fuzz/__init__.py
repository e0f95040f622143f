"""Odd input for everything that reads what others have written: `python -m tests.fuzz --help`.

A `Target` is one reader and a maker of its inputs. `texts`, `trees` and `blobs` make them: pieces that mean something
to the reader, mutations of valid examples, texts of Hypothesis, and shapes that cost quadratic time. Every input
follows from the seed, the target's name and its number, so that each can be made again.

The rule: a reader returns, or raises an error of the project's own; within `measure.MOST_MS` of CPU time for an input
of ordinary length, and `measure.MOST_MS_PER_MEGABYTE` for one of a megabyte; with bounded memory.
"""
