"""Real collections in their published layout, and where they come from (data/sources.json)."""

from . import nlvr
