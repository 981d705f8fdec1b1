"""What is promised of one container, held against each kind there is.

Each test is one promise of the design.  ``ways.py`` has the kinds of containers, and says
what a new one must provide; ``work.py`` has what they run.
"""
