"""Notifiers: who is told, from callbacks, deadlines and approvals."""
