"""The engine: runs inputs in containers.  Knows no decorator and no app."""
