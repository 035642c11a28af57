"""Where a model looks: attention recorded, turned into maps, scored."""

from .recording import Recording, attention_layers, record

__all__ = ["Recording", "attention_layers", "record"]
