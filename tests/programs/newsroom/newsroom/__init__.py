"""A newsroom: writers, editors and a front page, as one Modal app."""

from .common import app
from .sections import culture, sport

__all__ = ["app", "culture", "sport"]
