"""The speed of fxq and of its peers, side by side, in one run: ``tox -e bench``.

In the order in which a run passes through them:

    cli         what is asked for
    models      the networks, in plain torch
    run         for one network after the other: start the systems, take turns, stop them
    process     a worker process, seen from outside
    worker      the same from inside; knows nothing of other systems
    systems     how each system quantizes, and how it is called
    memory      what a process holds
    rounds      taking turns, burst by burst
    stats       medians, quartiles and ratios
    machine     what it ran on
    tables      Markdown of the results
    chart       SVG of the results
    page        docs/performance.md
"""
