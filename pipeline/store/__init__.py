"""The store of artifacts: each appears whole or not at all, and knows what it was made of."""
