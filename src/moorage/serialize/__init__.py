"""``app.run(serialize=True)``: arguments and results as copies, through cloudpickle.

Begin at `serializing.SerializingTarget`; `culprits.py` finds which part of a value does not pickle.
"""
