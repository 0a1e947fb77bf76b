"""Seeded fault runs over the labelling part of the fault matrix: `make chaos RUNS=100 SEED=0`.

A run is a small pool, a job with a slow labeler, one or two faults that its seed draws, the same command again until it ends with 0, and
a verdict. Each seed s meets the kind of fault s modulo 20, so that any 20 seeds in a row meet all of them; the second round takes the
next variant of each. Faults are real (signals to real processes, a proxy before a real S3 store, a full disk) and come at a named
place or after so many calls of the labeler, never after so many seconds.

    cases.py    pool, job and labeler of a seed, and what an undisturbed run makes of them
    places.py   where pool and root lie: this disk, or S3
    watched.py  `distill …` as a process whose output and commits are timed
    runs.py     one run: its folder, processes, what happened, and the verdict
    faults.py   the kinds of faults that stop processes         stored.py   those of stores, inputs, jobs and stored bytes
    results.py  one JSON line a run, and the table of them

The verdict asks twice, by the product (`distill verify`, the label hash) and by ourselves (the commits' row ranges against the pool
that we wrote). Whole is: nothing doubled, nothing missing, rows in = labelled + rejected, the label hash of the undisturbed run, no
more than 60 s without a line or a commit, exit codes as documented, no traceback of ours.
"""
