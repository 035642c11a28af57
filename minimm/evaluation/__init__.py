"""How well a model does: measures that the papers use, computed the same way for all models."""
