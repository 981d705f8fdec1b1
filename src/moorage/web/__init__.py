"""Web endpoints: the decorators that mark them.  Serving them comes with a later version."""
