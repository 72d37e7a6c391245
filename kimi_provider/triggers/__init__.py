"""Triggers: model calls that wait in the triggerer instead of holding a worker's slot."""
