"""Old spellings: what Modal once had, for programs that still write it.

Begin at `names.accept_old_spelling`; `gpu.py` has the classes of ``modal.gpu``.
"""
