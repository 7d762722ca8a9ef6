"""Conversations and preference pairs: read from any file, cleaned, a part held back."""
