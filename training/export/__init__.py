"""From trained weights to a model bundle with its card, and from a bundle to files for other programs."""
