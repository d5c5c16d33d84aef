"""Learning: recipes and presets, varied pictures, the network's stages, the loop with its checkpoints."""
