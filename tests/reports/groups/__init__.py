"""Tests of comparisons between people, conditions and stimuli."""
