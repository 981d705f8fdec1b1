"""Programs of users of Modal, run as they stand by the command.

The folder owns programs that their authors wrote from Modal's and moorage's documentation alone,
and the tests that run each of them by `python -m moorage` as a process of its own, with real
clients, and compare what it does with what its author expected.

A program is never changed to make its test pass, and never simplified: if moorage does something
else than its author expected, moorage is wrong, or its documentation is.  A program is changed only
if it would be wrong with the real Modal too.  Each fault that a program has found also has a
test of its own beside the code that was wrong.
"""
