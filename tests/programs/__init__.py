"""Programs as users of Modal write them, and tests that run each of them as it stands.

The programs were written from the documentation alone, by authors who had not read the source.
They import nothing but ``modal``, public packages and the standard library.  The tests start
them by the command, as a user does, and assert what the author expects.

A program must not be simplified, or changed in any other way, for the sake of a test: what is
odd about a program is what users do.  A program that fails shows a fault of moorage or of its
documentation, unless it fails with Modal, too.  The fault also has a test of its own, beside the
code that was wrong.

``running.py`` runs the command; the other files without ``test_`` are programs.
"""
