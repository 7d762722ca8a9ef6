"""A made-up village: text in Korean and English whose every sentence is known to be true of a small world.

The world (`world.py`) is drawn from a seed: people, their families, homes, work, pets, habits, and what happened on
which day. Sentences are patterns with slots (`patterns.py`, `korean.py`, `english.py`), so that what was written can
also be read back: `checker.py` parses a story and says whether it is grammatical and whether it contradicts the world.
Nothing here comes from elsewhere, and everything is labelled as made up.
"""

LICENSE = "made up"
