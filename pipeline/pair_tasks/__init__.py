"""What a pretrained network understands of two texts: a head on it that says how they relate, or how alike they are."""
