"""Model and data code of the reproduction; the notebooks tell the story."""
