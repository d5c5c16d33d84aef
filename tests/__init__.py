"""Tests of fer-batch. Clips with known answers come from :mod:`tests.clips` and :mod:`tests.damage`."""
