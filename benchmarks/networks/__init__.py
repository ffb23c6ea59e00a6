"""Races whole networks: inference, and training steps, through ``fastconv.nn`` and its peers."""
